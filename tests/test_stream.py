"""Programs of the host whose output is followed, or that are talked with: they never outlive the call."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from factory import run
from factory.errors import CommandFailed, HostError


def ignore(_: str) -> None:
    """What is printed does not matter here."""


def test_output_comes_as_it_is_written() -> None:
    times: list[float] = []
    done = run.stream(
        ["sh", "-c", "printf a; sleep 0.3; printf b; echo e >&2"],
        on_output=lambda _: times.append(time.monotonic()),
        reason="to test",
    )
    assert (done.status, done.stdout, done.stderr) == (0, "ab", "e\n")
    assert times[-1] - times[0] > 0.2


def test_failures() -> None:
    with pytest.raises(CommandFailed, match="ended with status 3") as caught:
        run.stream(["sh", "-c", "echo why >&2; exit 3"], on_output=ignore, reason="to test")
    assert caught.value.cause == "why"
    assert run.stream(["sh", "-c", "exit 3"], on_output=ignore, reason="to test", allowed=(0, 3)).status == 3
    with pytest.raises(HostError, match="needed to test"):
        run.stream(["no-such-program-here"], on_output=ignore, reason="to test")


def test_nothing_runs_on_after_a_time_out_or_an_error(tmp_path: Path) -> None:
    words = ["sh", "-c", f"echo $$ > {tmp_path}/pid; echo x; exec sleep 60"]
    with pytest.raises(CommandFailed, match="did not end within"):
        run.stream(words, on_output=ignore, reason="to test", timeout=0.5)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()

    def fail(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.stream(words, on_output=fail, reason="to test")
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_child_has_only_the_environment_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    child = run.start(["env"], reason="to test", env={"GIVEN": "y"})
    assert child.stdout is not None
    lines = child.stdout.read().splitlines()
    assert [line for line in lines if not line.startswith(b"IMAGE_FACTORY_OWNER=")] == [b"GIVEN=y"]
    run.end(child)
    run.end(child)


def test_a_program_that_takes_more_than_it_may_is_ended() -> None:
    limits = ("--cpu=1", f"--data={1 << 30}")
    with pytest.raises(CommandFailed, match=r"^sh ended with status -\d+ \(SIG(XCPU|KILL)\)") as caught:
        run.run(["sh", "-c", "while :; do :; done"], reason="to test", limits=limits, timeout=60)
    assert caught.value.command == "sh -c 'while :; do :; done'"
    assert run.run(["sh", "-c", "ulimit -t; ulimit -d"], reason="to test", limits=limits).stdout == "1\n1048576\n"
    with pytest.raises(HostError, match="no-such-program-here is not installed"):
        run.run(["no-such-program-here"], reason="to test", limits=limits)
