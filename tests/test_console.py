"""The console: plain lines, JSON events, the log, redaction and errors."""

from __future__ import annotations

import io
import re
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import factory.console
from factory.console import Console
from factory.console.plain import PlainFace, SafeStream
from factory.errors import BuildError, HostError, StepFailed
from factory.redact import LONGEST_LINE, Redactor, clean
from tests.console_streams import events, parsed, plain, without_stamps

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize(
    "make", [Console.quiet, lambda: plain()[0], lambda: events()[0]], ids=["quiet", "text", "json"]
)
def test_an_interrupt_at_any_step_of_a_stage_leaves_a_whole_tree(make: Callable[[], Console]) -> None:
    """An interrupt is raised at the first step inside the console, then at the second, and so on to the last."""
    folder = str(Path(factory.console.__file__).parent)
    seen = set()
    for number in range(1, 10_000):
        console, steps = make(), iter(range(number))

        def step(frame: FrameType, event: str, _: object, steps: Iterator[int] = steps) -> Any:
            if not frame.f_code.co_filename.startswith(folder):
                return None
            if event in ("call", "line") and next(steps, None) is None:
                seen.add(frame.f_code.co_name)
                sys.settrace(None)
                raise KeyboardInterrupt
            return step

        try:
            with console.stage("outer"):
                sys.settrace(step)
                with console.stage("inner") as stage:
                    stage.note("something")
                    stage.progress(1, 2)
                sys.settrace(None)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            sys.settrace(None)
        with console.stage("cleaning up"):
            pass
        records = {record.path: record for record in console.timeline()}
        assert set(records) - {"outer/inner"} == {"outer", "cleaning up"}, number
        assert (records["outer"].state, records["outer"].note) == ("failed", "interrupted")
        assert not any(stage.running for stage in console._all()), number
    assert number > 60 and {"__enter__", "_begin", "__exit__", "_end", "settle"} <= seen
