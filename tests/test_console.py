"""The console: plain lines, JSON events, the log, redaction and errors."""

from __future__ import annotations

import io
import json
import re
import resource
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.console import Console, StageRecord, summary, timeline_chart
from factory.console_plain import PlainFace, SafeStream
from factory.console_text import cells, fit, progress_parts, seconds_text, size_text
from factory.errors import BuildError, FactoryError, Fault, HostError, RecipeError, StepFailed
from factory.redact import LONGEST_LINE, Redactor, clean

ROOT = Path(__file__).parents[1]


def plain() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console.create("text", stream), stream


def events() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console.create("json", stream), stream


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def without_stamps(stream: io.StringIO) -> list[str]:
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), lines
    return [line[9:] for line in lines]


# -- stages ----------------------------------------------------------------------------------------------------------


def test_plain_lines_tell_start_and_end_of_each_stage() -> None:
    console, stream = plain()
    with console.stage("base") as base:
        base.cached("debian-12, 2 days old")
    with console.stage("convert") as stage:
        stage.note("zlib")
        stage.progress(3 << 20, 3 << 20)
        console.output("half done")
    with pytest.raises(ZeroDivisionError), console.stage("check"):
        _ = 1 / 0
    assert without_stamps(stream) == [
        "base ...",
        "base cached 0.0 s (debian-12, 2 days old)",
        "convert ...",
        "convert: zlib",
        "  convert | half done",
        "convert ok 0.0 s 3.0 MiB (zlib)",
        "check ...",
        "check failed 0.0 s",
    ]


def test_a_stage_nests_below_the_open_one_of_its_thread_or_the_named_one() -> None:
    console = Console.quiet()
    with console.stage("customise"), console.stage("packages: nginx"):
        pass
    with console.stage("boot test") as boots:

        def boot(name: str) -> None:
            with boots.stage(name), console.stage("login"):
                barrier.wait(10)

        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=boot, args=(name,)) for name in ("bios", "uefi")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = {record.path: record for record in console.timeline()}
    assert set(records) == {
        "customise",
        "customise/packages: nginx",
        "boot test",
        "boot test/bios",
        "boot test/bios/login",
        "boot test/uefi",
        "boot test/uefi/login",
    }
    assert records["boot test/uefi/login"].depth == 2
    assert console.timeline()[0].path == "customise"
    assert len(console.timeline(under=boots)) == 5


def test_a_record_has_utc_times_seconds_state_and_note() -> None:
    console = Console.quiet()
    with console.stage("upload") as stage:
        assert console.timeline() == []  # what still runs has no record
        stage.progress(5, 10)
        stage.skipped("no --publish")
    [record] = console.timeline()
    assert record.start.tzinfo is UTC and record.start <= record.end
    assert (record.state, record.note, record.bytes) == ("skipped", "no --publish", 5)
    with pytest.raises(BuildError), console.stage("fails") as stage:
        stage.cached("was there")
        raise BuildError("no")
    assert console.timeline()[-1].state == "failed"


def test_json_is_one_event_a_line() -> None:
    console, stream = events()
    with console.stage("boot test") as boots, boots.stage("bios") as stage:
        stage.progress(10, 100)
        stage.progress(90, 100)  # too soon after the first to be told
        console.output("a line", source="guest")
        console.warn("slow")
        console.say("two\nlines")
    console.summary([["image", "a.qcow2"]])
    console.chart()
    told = parsed(stream)
    assert [event["event"] for event in told] == [
        "stage",
        "stage",
        "progress",
        "output",
        "warning",
        "message",
        "message",
        "stage",
        "stage",
        "summary",
    ]
    assert told[1].items() >= {"stage": "boot test/bios", "state": "running"}.items()
    assert told[2].items() >= {"bytes": 10, "total": 100}.items()
    assert told[7].items() >= {"stage": "boot test/bios", "state": "ok", "bytes": 90}.items()
    assert told[7]["seconds"] >= 0
    for event in told:
        assert datetime.fromisoformat(event["time"]).tzinfo is not None


def test_many_threads_do_not_mix_their_lines() -> None:
    console, stream = events()

    def report(number: int) -> None:
        with console.stage(f"stage {number}") as stage:
            for count in range(100):
                stage.progress(count, 100)
                stage.output(f"{number}/{count}")

    threads = [threading.Thread(target=report, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [event["line"] for event in parsed(stream) if event["event"] == "output"]
    assert sorted(lines) == sorted(f"{number}/{count}" for number in range(8) for count in range(100))
    assert len(console.timeline()) == 8


def test_output_of_a_thread_without_a_stage_goes_to_the_one_it_names() -> None:
    console, stream = events()
    with console.stage("bios"), console.stage("uefi"):
        thread = threading.Thread(target=lambda: console.output("Booting", source="bios"))
        thread.start()
        thread.join()
    assert next(event["stage"] for event in parsed(stream) if event["event"] == "output") == "bios"


def test_progress_is_told_from_time_to_time() -> None:
    stream = io.StringIO()
    console = Console(PlainFace(SafeStream(stream), progress_every=0.2))
    with console.stage("download") as stage:
        for done in range(60):
            stage.progress(done << 20, 100 << 20)
            time.sleep(0.01)
    told = [line for line in without_stamps(stream) if line.startswith("download: ")]
    assert 1 <= len(told) <= 4
    assert re.fullmatch(r"download: \d+ %, \d+\.0 of 100\.0 MiB(, \d+\.\d MiB/s, \d+ s left)?", told[-1])
    assert ", " in told[-1] and told[-1].endswith(" s left")
    console, stream = events()
    with console.stage("packages") as stage:
        stage.progress(3, 7, "packages")
    assert parsed(stream)[1].items() >= {"done": 3, "total": 7, "unit": "packages", "rate": None}.items()


# -- hostile text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended, hides the rest", "0;never ended, hides the rest"),
        ("\x1bPdcs\x1b\\after", "after"),
        ("\x9b2Jcleared\x9d0;x\x9c", "cleared"),
        ("\x1bcreset", "reset"),
        ("10%\r50%\r100%", "100%"),
        ("line\r\n", "line"),
        ("bell\x07 back\x08space nul\x00", "bell backspace nul"),
        ("\u202egnirts\u202c \u200bzero\ufeff", "gnirts zero"),
        ("a\tb", "a       b"),
        ("bad \udcff byte", "bad \ufffd byte"),
        ("a\u2028b", "a b"),
        ("[bold red]markup[/] :smile:", "[bold red]markup[/] :smile:"),
    ],
)
def test_what_a_guest_prints_cannot_drive_the_terminal(line: str, shown: str) -> None:
    assert clean(line) == shown


@given(st.text(alphabet=st.characters(), max_size=300))
def test_clean_text_is_one_printable_line(line: str) -> None:
    shown = clean(line)
    assert shown.isprintable()
    assert clean(shown) == shown


def test_a_very_long_line_is_cut() -> None:
    shown = clean("x" * 1_000_000)
    assert len(shown) < LONGEST_LINE + 60 and shown.endswith(f"({1_000_000 - LONGEST_LINE} more characters)")


def test_every_way_in_is_cleaned(tmp_path: Path) -> None:
    console, stream = plain()
    evil = "\x1b[2J\x07\u202e\rshown"
    with console.log_to(tmp_path / "build.log"), console.stage(evil) as stage:
        stage.note(evil)
        console.say(evil)
        console.warn(evil)
        console.output(evil, source=evil)
        console.summary([[evil]])
        console.error(BuildError(evil, cause=evil, hint=evil, output=f"{evil}\n{evil}"))
    for text in (stream.getvalue(), (tmp_path / "build.log").read_text("utf-8")):
        assert "shown" in text and not re.search(r"[^\n\x20-\x7e]", text)


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_shows_nowhere(tmp_path: Path) -> None:
    secret = 's3cr"t word/+='
    for console, stream in (plain(), events()):
        log = tmp_path / "build.log"
        console.redact(secret)
        with console.log_to(log), console.stage(f"stage {secret}") as stage:
            stage.note(f"note {secret}")
            console.say(f"say {secret}")
            console.warn(f"warn {secret}")
            console.output(f'output {secret} and s3\x1b[0mcr"t word/+=', source=secret)
            console.summary([["key", secret]])
            console.error(StepFailed(f"what {secret}", cause=secret, hint=secret, output=f"a\n{secret}\n"))
        [record] = console.timeline()
        for text in (stream.getvalue(), log.read_text("utf-8"), record.name, record.note, record.path):
            assert "***" in text and "s3cr" not in text


@pytest.mark.parametrize(
    "form", ["pass word&x/y", "pass%20word%26x%2Fy", "cGFzcyB3b3JkJngveQ==", "'pass word&x/y'", "PASS=pass word&x/y;"]
)
def test_a_secret_is_known_in_its_usual_encodings(form: str) -> None:
    redactor = Redactor()
    assert redactor.add("pass word&x/y") == ""
    assert redactor(f"before {form} after").startswith("before ")
    assert "pass" not in redactor(form) and "cGFz" not in redactor(form)


def test_a_secret_of_several_lines_is_hidden_line_by_line() -> None:
    redactor = Redactor()
    redactor.add("-----BEGIN KEY-----\nAAAAB3NzaC1\nBBBBB3NzaC2\n-----END KEY-----\n")
    assert redactor("x AAAAB3NzaC1 BBBBB3NzaC2 -----BEGIN KEY-----") == "x *** *** -----BEGIN KEY-----"


def test_the_longest_secret_is_taken_first() -> None:
    redactor = Redactor()
    redactor.add("abcd")
    redactor.add("abcdefgh")
    assert redactor("abcdefgh abcd") == "*** ***"


def test_a_secret_at_the_cut_of_a_long_line_does_not_show() -> None:
    console, stream = plain()
    console.redact("topsecretvalue")
    console.output("x" * (LONGEST_LINE - 6) + "topsecretvalue")
    assert "topse" not in stream.getvalue()


def test_a_short_secret_is_refused_with_the_reason() -> None:
    console, stream = plain()
    console.redact("")
    assert stream.getvalue() == ""
    console.redact("abc")
    assert "warning: A secret cannot be hidden" in stream.getvalue() and "shorter than 4" in stream.getvalue()
    assert "abc" not in stream.getvalue()
    console.say("abc")
    assert "abc" in stream.getvalue()


# -- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_has_utc_stamps_and_is_readable_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "build.log"
    console = Console.quiet()
    with pytest.raises(StepFailed), console.log_to(path), console.stage("customise"):
        console.output("Unable to locate package nginz")
        assert path.stat().st_mode & 0o777 == 0o600
        raise StepFailed("Step 1 failed", output="the end of it")
    assert path.stat().st_mode & 0o777 == 0o644
    text = path.read_text("utf-8")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    assert re.fullmatch(
        f"{stamp}customise \\.\\.\\.\n{stamp}  customise \\| Unable to locate package nginz\n"
        f"{stamp}customise failed 0.0 s\nerror: Step 1 failed. \\[step.failed\\]\n    \\| the end of it\n",
        text,
    )
    console.say("later")
    assert "later" not in path.read_text("utf-8")


def test_two_builds_side_by_side_have_a_log_each(tmp_path: Path) -> None:
    console = Console.quiet()
    with console.stage("nginx") as one, console.log_to(tmp_path / "1.log", under=one):
        with console.stage("minimal", parent=None):
            pass
        done = threading.Event()

        def other() -> None:
            with console.stage("other") as two, console.log_to(tmp_path / "2.log", under=two):
                console.say("from two")
            done.set()

        threading.Thread(target=other).start()
        assert done.wait(10)
    assert "from two" not in (tmp_path / "1.log").read_text() and "nginx/minimal" in (tmp_path / "1.log").read_text()
    assert "from two" in (tmp_path / "2.log").read_text() and "nginx" not in (tmp_path / "2.log").read_text()


def test_a_log_that_cannot_be_opened_is_an_error_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file") as caught, Console.quiet().log_to(tmp_path / "no" / "b.log"):
        pass
    assert caught.value.code == "host.log" and str(tmp_path / "no" / "b.log") in str(caught.value)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(HostError), Console.quiet().log_to(tmp_path / "link"):
        pass


def test_a_log_that_cannot_grow_warns_once_and_the_work_goes_on(tmp_path: Path) -> None:
    console, stream = plain()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with console.log_to(tmp_path / "build.log"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
        try:
            for number in range(50):
                console.say(f"line {number}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stream.getvalue().count("is not complete: [Errno 27] File too large") == 1
    assert "line 49" in stream.getvalue()


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
    assert summary([]) == ""


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
