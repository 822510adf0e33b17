"""What the console says: errors, tables and charts, and streams that fail."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.console import Console, StageRecord, summary, timeline_chart
from factory.console.text import cells, fit, progress_parts, seconds_text, size_text
from factory.errors import FactoryError, Fault, RecipeError
from tests.console_streams import events, parsed, plain

ROOT = Path(__file__).parents[1]


# -- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_is_one_paragraph_with_the_output_below() -> None:
    console, stream = plain()
    error = FactoryError(
        "It failed",
        cause="The disk is full.",
        hint="Free some",
        code="host.disk-full",
        output="\n".join(f"line {number}" for number in range(30)),
    )
    console.error(error)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "error: It failed. The disk is full. Free some. [host.disk-full]"
    assert lines[1:] == [f"    | line {number}" for number in range(10, 30)]


def test_each_fault_of_a_recipe_has_its_own_line() -> None:
    faults = [
        Fault("recipes/a.yaml", 12, "provision[2].copy.mode", "0999 is no mode", "0644"),
        Fault("recipes/a.yaml", 3, "", "a tab"),
        Fault("recipes/b.yaml", 0, "", "is not there"),
    ]
    console, stream = plain()
    console.error(RecipeError(faults))
    assert stream.getvalue().splitlines() == [
        "recipes/a.yaml:3: a tab",
        "recipes/a.yaml:12: provision[2].copy.mode: 0999 is no mode (0644)",
        "recipes/b.yaml: is not there",
        "error: 3 faults in recipes/a.yaml, recipes/b.yaml. Mend the lines named above and run it again. "
        "[recipe.invalid]",
    ]
    console, stream = events()
    console.error(RecipeError(faults))
    [event] = parsed(stream)
    assert (event["event"], event["code"], event["status"], len(event["faults"])) == ("error", "recipe.invalid", 2, 3)


# -- texts, tables, charts -------------------------------------------------------------------------------------------


def test_times_and_sizes() -> None:
    assert [seconds_text(value) for value in (-1, 0.04, 15.94, 119.9, 204.4, 3599.6, 7500)] == [
        "0.0 s",
        "0.0 s",
        "15.9 s",
        "119.9 s",
        "3 min 24 s",
        "1 h 00 min",
        "2 h 05 min",
    ]
    assert [size_text(value) for value in (0, 1023, 1024, 276_365_312, 10 << 30, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "263.6 MiB",
        "10.0 GiB",
        "5.0 TiB",
    ]


def test_progress_says_percent_amount_rate_and_what_is_left() -> None:
    assert progress_parts(50 << 20, 100 << 20, "bytes", 5 << 20) == [
        "50 %",
        "50.0 of 100.0 MiB",
        "5.0 MiB/s",
        "10 s left",
    ]
    assert progress_parts(1 << 10, 100 << 20, "bytes", None) == ["0 %", "1.0 KiB of 100.0 MiB"]
    assert progress_parts(3, 7, "packages", 0.0) == ["42 %", "3 of 7 packages"]
    assert progress_parts(7, None, "bytes", 2.0) == ["7 B", "2 B/s"]
    assert progress_parts(9, 7, "bytes", 2.0) == ["100 %", "9 B", "2 B/s"]
    assert progress_parts(0, 0, "bytes", None) == ["0 B"]


def records() -> list[StageRecord]:
    start = datetime(2026, 5, 1, tzinfo=UTC)

    def record(name: str, depth: int, begin: float, seconds: float, state: Any = "ok") -> StageRecord:
        first = start + timedelta(seconds=begin)
        return StageRecord(name, name, first, first + timedelta(seconds=seconds), seconds, state, depth=depth)

    return [
        record("base", 0, 0, 0, "cached"),
        record("boot test", 0, 0, 100),
        record("bios, virtio-blk, NoCloud 中文", 1, 0, 50),
        record("uefi", 1, 50, 50, "failed"),
    ]


def test_the_chart_shows_when_each_stage_ran() -> None:
    assert timeline_chart(records(), width=61, ascii_only=True).splitlines() == [
        "base                 #........................   0.0 s cached",
        "boot test            ######################### 100.0 s",
        "  bios, virtio-blk,~ ############.............  50.0 s",
        "  uefi               ............############.  50.0 s failed",
    ]


@pytest.mark.parametrize("width", [1, 5, 10, 20, 33, 40, 50, 80, 200])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_chart_fits_any_width(width: int, ascii_only: bool) -> None:
    chart = timeline_chart(records(), width=width, ascii_only=ascii_only)
    assert all(cells(line) <= width for line in chart.splitlines())
    assert timeline_chart([], width=width) == ""


def test_a_summary_is_in_columns_and_cuts_nothing_unasked() -> None:
    rows = [["image", "out/" + "x" * 100], ["findings", "2 pass", "0 fail"], ["中文", "wide"], []]
    lines = summary(rows).splitlines()
    assert lines[0] == "image     out/" + "x" * 100
    assert lines[2] == "中文      wide"
    assert all(cells(line) <= 12 for line in summary(rows, width=12).splitlines())
    assert summary([]) == summary([], width=12) == ""


def test_a_summary_is_folded_to_the_width_of_the_terminal_and_loses_nothing() -> None:
    rows = [["name", "what", "state"], ["debian-12", "Debian 12, built from the archive", "made 9 days ago, 605 MB"]]
    assert summary(rows, width=80) == summary(rows)
    assert summary(rows, width=50).splitlines() == [
        "name       what                state",
        "debian-12  Debian 12, built    made 9 days ago,",
        "           from the archive    605 MB",
    ]
    assert summary(rows, width=24).splitlines() == [
        "debian-12", "  what: Debian 12, built", "  from the archive", "  state: made 9 days", "  ago, 605 MB",
    ]  # fmt: skip
    for width in range(1, 90):
        folded = summary(rows, width=width)
        assert all(cells(line) <= width for line in folded.splitlines())
        if width >= 24:
            assert sorted("".join(rows[1]).replace(" ", "")) == sorted(
                "".join(folded.split()).removeprefix("namewhatstate").replace("what:", "").replace("state:", "")
            )


@given(st.text(max_size=60), st.integers(-2, 30), st.booleans())
def test_fitted_text_is_never_wider(text: str, width: int, ascii_only: bool) -> None:
    assert cells(fit(text, width, ascii_only=ascii_only)) <= max(width, 0)


# -- streams that fail -----------------------------------------------------------------------------------------------

REPORTING = """
import sys
from factory.console import Console
console = Console.create(sys.argv[1])
for number in range(3000):
    with console.stage(f"stage {number}") as stage:
        console.output("a line that nobody reads")
assert len(console.timeline()) == 3000
print("done")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("redirection", ["2>&-", "2> >(true)", "2>/dev/full", "2> >(head -n 3 >/dev/null)"])
def test_nobody_reading_does_not_stop_the_work(log_format: str, redirection: str) -> None:
    command = f'exec "$1" -c "$2" {log_format} {redirection}'
    done = subprocess.run(
        ["bash", "-c", command, "bash", sys.executable, REPORTING], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_an_encoding_that_lacks_a_character_gets_a_question_mark() -> None:
    raw = io.BytesIO()
    console = Console.create("text", io.TextIOWrapper(raw, encoding="ascii", errors="strict"))
    console.say("café ✔")
    assert raw.getvalue().endswith(b" caf? ?\n")


def test_rich_is_loaded_for_a_terminal_only() -> None:
    code = (
        "import sys; from factory.console import Console; Console.create().say('x'); assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stderr=subprocess.DEVNULL, timeout=30)
