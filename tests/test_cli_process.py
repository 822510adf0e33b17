"""The command line as a process: how quick it is, interrupts, pipes that nobody reads, terminals, and defects."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import bases, locking
from factory.console import Console
from tests import command_line
from tests.command_line import TOP, program, run
from tests.recipe_files import HEAD, write


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.own_places(tmp_path, monkeypatch)


def test_help_is_quick_and_loads_no_heavy_library() -> None:
    heavy = ("boto3", "cryptography", "dfvfs", "jinja2", "libvirt", "paramiko", "pydantic", "requests", "rich", "yaml")
    before = (
        f"import atexit, sys\natexit.register(lambda: print([n for n in {heavy} if n in sys.modules], file=sys.stderr))"
    )
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = usage.ru_utime + usage.ru_stime
    assert run("--help", before=before).stderr == "[]\n"
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert usage.ru_utime + usage.ru_stime - start < 1.0


@pytest.mark.real
def test_the_doctor_leaves_nothing_but_its_answer(tmp_path: Path) -> None:
    done = run("doctor", "--json")
    checks = json.loads(done.stdout)["checks"]
    assert done.returncode == (3 if any(check["state"] == "fail" for check in checks) else 0)
    assert {"qemu-img", "accelerator", "libvirt", "cache", "state", "memory"} <= {check["what"] for check in checks}
    assert done.stderr == ""
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []


# -- defects


def test_a_defect_shows_where_it_is() -> None:
    done = run("doctor", before="from factory import doctor\ndoctor.examine = lambda: 1 / 0")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


def test_a_pipe_that_breaks_elsewhere_is_no_success() -> None:
    before = (
        "from factory import doctor\ndef fail():\n    raise BrokenPipeError(32, 'a child went away')\n"
        "doctor.examine = fail"
    )
    done = run("doctor", before=before)
    assert done.returncode == 1
    assert "a child went away" in done.stderr


# -- where the output goes


@pytest.mark.parametrize("words", ["--help", "bases list", "schema recipe"])
def test_whoever_reads_no_further_is_no_error(words: str) -> None:
    process = subprocess.Popen(
        program(*words.split()), cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("closed", "words", "status"),
    [(">&-", "bases list", 0), ("2>&-", "bases list", 0), (">&- 2>&- <&-", "bases list", 0), ("2>&-", "plan nope", 2)],
)
def test_closed_descriptors(closed: str, words: str, status: int) -> None:
    argv = ["sh", "-c", f'"$@" {closed}', "sh", *program(*words.split())]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_a_limit_of_the_cache_that_is_none_is_told_before_any_work(tmp_path: Path) -> None:
    done = run("build", write(tmp_path, HEAD), "--output", tmp_path / "out", FACTORY_CACHE_LIMIT="40 apples")
    assert done.returncode == 2 and "FACTORY_CACHE_LIMIT" in done.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "state").exists()


def test_a_verdict_is_the_status_though_nobody_reads_the_answer(tmp_path: Path) -> None:
    junk = tmp_path / "junk.img"
    junk.write_bytes(b"x" * 4096)
    recipe = write(tmp_path, HEAD)
    failing = (
        "from factory import build\nfrom factory.errors import StepFailed\n"
        "def fail(*_): raise StepFailed('step 1 failed')\nbuild.build = fail"
    )
    for status, words, before in (
        (5, ("check", junk, "--format", "json"), ""),
        (4, ("build", recipe, "--json", "--jobs", "1", "--junit", tmp_path / "a.xml"), failing),
    ):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            program(*words, before=before), stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, text=True, check=False
        )
        os.close(writer)
        assert done.returncode == status
        assert "error" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "a.xml").exists()


def test_a_full_disk_under_standard_output_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            program("schema", "recipe"), cwd=TOP, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode not in (0, 130)
    assert "No space left" in done.stderr


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "🐧"), ("latin-1", r"\U0001f427")])
def test_a_locale_without_utf_8_is_no_reason_to_fail(tmp_path: Path, encoding: str, shown: str) -> None:
    file = write(tmp_path, HEAD + "provision: [{shell: echo 🐧}]\n")
    done = run("plan", file, PYTHONIOENCODING=encoding, LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, "")
    assert shown in done.stdout


@pytest.mark.parametrize("colours", [True, False])
def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch, colours: bool) -> None:
    before = (
        "from factory import build\nfrom factory.errors import StepFailed\n"
        "def fail(plan, options, console):\n"
        "    with console.stage('a stage'):\n        raise StepFailed('step 1 failed')\n"
        "build.build = fail"
    )
    monkeypatch.delenv("CI")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    leader, follower = pty.openpty()
    words = program("build", "nginx", before=before)
    done = subprocess.run(words, cwd=TOP, stdin=follower, stdout=follower, stderr=follower, timeout=60, check=False)
    os.close(follower)
    text = b""
    with contextlib.suppress(OSError):  # the terminal's other end is closed
        while piece := os.read(leader, 65536):
            text += piece
    os.close(leader)
    assert done.returncode == 4
    assert b"step 1 failed" in text
    assert bool(re.search(rb"\x1b\[(\d+;)*3[0-7](;\d+)*m", text)) is colours


# -- interrupts


@contextlib.contextmanager
def waiting(*words: str, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """The command line in the middle of a wait, which it announces on standard error."""
    process = subprocess.Popen(
        program(*words, before=before), cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr
        assert any("Waiting for" in line for line in process.stderr)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_with_130_and_without_a_traceback(tmp_path: Path, number: signal.Signals) -> None:
    """The wait is a real one: another process, this one, makes the base."""
    (tmp_path / "cache").mkdir(mode=0o700)
    lock = tmp_path / "cache/locks" / f"base-{bases.resolve('debian-12').key}.lock"
    holding = locking.lock(lock, what="the base", console=Console.quiet())
    with holding, waiting("bases", "build", "debian-12") as process:
        time.sleep(0.2)
        process.send_signal(number)
        output, said = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "")
    assert "Traceback" not in said
    assert said.endswith("interrupted; everything is cleaned up\n")


@pytest.mark.real
def test_an_interrupt_is_an_event_where_events_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    lock = tmp_path / "cache/locks" / f"base-{bases.resolve('debian-12').key}.lock"
    holding = locking.lock(lock, what="the base", console=Console.quiet())
    with holding, waiting("--log-format", "json", "bases", "build", "debian-12") as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    events = [json.loads(line) for line in said.splitlines()]
    assert process.returncode == 130 and events[-1]["event"] == "message"
    assert events[-1]["text"] == "interrupted; everything is cleaned up"


@pytest.mark.real
def test_what_nohup_ignores_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    lock = tmp_path / "cache/locks" / f"base-{bases.resolve('debian-12').key}.lock"
    before = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)"  # what nohup leaves to us
    holding = locking.lock(lock, what="the base", console=Console.quiet())
    with holding, waiting("bases", "build", "debian-12", before=before) as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in said


def test_an_interrupt_of_a_build_leaves_its_log_and_nothing_else(tmp_path: Path) -> None:
    before = (
        "import time\nfrom factory import build, preflight\npreflight.check = lambda *_, **__: None\n"
        "def wait(plan, options, chosen, workspace, publication, console):\n"
        "    (workspace.work / 'disk').touch()\n"
        "    console.say('Waiting for the test')\n"
        "    for _ in range(600):\n"  # a signal just before one long sleep would be seen after it
        "        time.sleep(0.1)\n"
        "build._run = wait\n"
        "build.accelerator.choose = lambda wanted: build.accelerator.Accelerator('tcg', 'asked for')"
    )
    with waiting("build", "minimal", "--output", str(tmp_path / "out"), before=before) as process:
        process.send_signal(signal.SIGTERM)
        output, said = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "")
    assert "Traceback" not in said
    assert list((tmp_path / "state/builds").iterdir()) == []
    assert list((tmp_path / "state/ledger").iterdir()) == []
    (left,) = (tmp_path / "out/minimal").iterdir()
    assert left.name.endswith(".failed")
    assert [path.name for path in left.iterdir()] == ["build.log"]
