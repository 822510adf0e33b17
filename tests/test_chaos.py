"""``make chaos`` in short: real builds are killed and nothing is left; and that it would see what is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import Chaos
from tests.command_line import TOP

SEED = os.environ.get("CHAOS_SEED", "short")


@pytest.mark.real
def test_two_real_builds_are_killed_and_nothing_is_left(tmp_path: Path) -> None:
    """In a process of its own, which inherits whatever is left."""
    argv = [sys.executable, "-m", "tests.chaos", "--short", "--rounds", "2", "--within", "40", "--seed", SEED]
    done = subprocess.run(
        [*argv, "--work", str(tmp_path)], cwd=TOP, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("all well") == 2 and done.stdout.count(", killed ") == 2


@pytest.mark.real
def test_chaos_sees_what_is_left(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, "1")
    for folder in (chaos.tmp, chaos.state / "builds", chaos.cache / "work" / "debian-12-0", chaos.out):
        folder.mkdir(parents=True)
    (chaos.cache / "work" / "debian-12-0").rmdir()
    assert chaos.strays() == []
    for stray in (
        chaos.state / "builds" / "20261122T000000Z-00000000-00000000",
        chaos.tmp / "mmdebstrap.x",
        chaos.cache / "work" / "debian-12-0",
    ):
        stray.mkdir()
        assert chaos.strays() == [f"file {stray}"]
        stray.rmdir()
    for hidden in (chaos.out / ".20261122T000000Z-00000000.partial", chaos.cache / ".new-1"):
        hidden.touch()
        assert chaos.strays() == [f"file {hidden}"]
        hidden.unlink()
    child = subprocess.Popen(["sleep", "60"])
    (found,) = chaos.strays()
    assert found == f"process {child.pid}: sleep 60 "
    child.returncode = -9  # it was ended and reaped
    assert chaos.strays() == []
