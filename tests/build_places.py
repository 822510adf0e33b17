"""Places of a build for tests, and builds whose process was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import ledger
from factory.workspace import Workspace, reap

ROOT = Path(__file__).parents[1]
KEY = "0123456789abcdef"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def create(state: Path, output: Path, recipe: str = "nginx", key: str = KEY) -> Workspace:
    return Workspace.create(recipe, key, output=output, state=state)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def python(code: str, *arguments: Path | str, wait: bool = True) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if wait:
        process.wait(30)
    return process


DYING = """
import os, subprocess, sys
from pathlib import Path
from factory.workspace import Workspace
workspace = Workspace.create("nginx", "0123456789", output=Path(sys.argv[2]), state=Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, start_new_session=True)
workspace.note_child(child.pid)
workspace.note_port(40022)
if sys.argv[3] == "logs":
    (workspace.partial / "build.log").write_text("it went well until")
if sys.argv[3] == "kept":
    workspace.keep("--keep always")
(workspace.partial / "nginx.qcow2").write_text("half")
(workspace.work / "disk.qcow2").write_text("overlay")
print(workspace.build_id, child.pid, workspace.work, flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def died(state: Path, output: Path, what: str) -> Iterator[tuple[str, int, Path]]:
    """A build whose process was killed: its id, the process that it left, its working folder."""
    process = python(DYING, state, output, what, wait=False)
    assert process.stdout is not None
    build_id, child, work = process.stdout.readline().split()
    assert reap(state) == []  # while it lives nothing is touched
    process.kill()
    process.wait()
    process.stdout.close()
    try:
        yield build_id, int(child), Path(work)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


def ended(pid: int) -> bool:
    return ledger.started(pid) is None
