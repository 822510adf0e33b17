"""Locks: who waits is told for whom, and a dead process holds nothing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from factory.cache import lock
from factory.console import Console
from factory.errors import HostError
from factory.locking import holder


class Told(Console):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


HOLD = """
    import sys, time
    from pathlib import Path
    from factory.cache import lock
    from factory.console import Console
    with lock(Path(sys.argv[1]), what="the base x", console=Console.quiet()):
        print("held", flush=True)
        time.sleep(float(sys.argv[2]))
"""


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the lock *path* for some seconds."""
    argv = [sys.executable, "-c", textwrap.dedent(HOLD), str(path), str(seconds)]
    other = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    return other


def test_whoever_waits_is_told_for_whom(tmp_path: Path) -> None:
    console = Told()
    with hold(tmp_path / "l", 1) as other, lock(tmp_path / "l", what="the base x", console=console):
        assert other.wait(5) == 0
    assert len(console.lines) == 1
    assert "the base x" in console.lines[0]
    assert f"process {other.pid} (since " in console.lines[0]


def test_a_free_lock_says_nothing_and_leaves_no_name(tmp_path: Path) -> None:
    console = Told()
    for _ in range(2):
        with lock(tmp_path / "locks" / "l", what="x", console=console):
            assert f"process {os.getpid()}" in holder(tmp_path / "locks" / "l")
    assert console.lines == []
    assert holder(tmp_path / "locks" / "l") == "another process"


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    with hold(tmp_path / "l", 60) as other:
        other.kill()
        other.wait(5)
        console = Told()
        with lock(tmp_path / "l", what="x", console=console, timeout=5):
            pass
        assert console.lines == []


def test_waiting_ends_with_who_holds_it(tmp_path: Path) -> None:
    with hold(tmp_path / "l", 60) as other:
        with (
            pytest.raises(HostError, match="still in use") as caught,
            lock(tmp_path / "l", what="x", console=Console.quiet(), timeout=0.3),
        ):
            pass
        other.kill()
    assert str(other.pid) in caught.value.cause


def test_the_lock_is_released_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock(tmp_path / "l", what="x", console=Console.quiet()):
        raise RuntimeError
    with (tmp_path / "l").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_where_no_lock_can_be(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    with pytest.raises(HostError, match="cannot be taken"), lock(tmp_path / "l", what="x", console=Console.quiet()):
        pass
