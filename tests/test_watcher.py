"""What ends QEMU when its factory is gone. In the place of QEMU stands a process that has its name and words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factory.hypervisor.watcher import Watcher, processes_of

pytestmark = pytest.mark.real
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts the machine of a uuid; all are ended at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def machine(uuid: str) -> subprocess.Popen[bytes]:
        words = ["qemu-test", "-c", "import time; time.sleep(60)", f"{tmp_path}/monitor", uuid]
        started.append(subprocess.Popen(words, executable=sys.executable))
        deadline = time.monotonic() + 10
        while not processes_of(str(tmp_path), uuid=uuid) and time.monotonic() < deadline:
            time.sleep(0.02)
        return started[-1]

    yield machine
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    made = Watcher(tmp_path)
    yield made
    with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it may have a machine to wait for
        os.kill(made.pid, signal.SIGKILL)
        os.waitpid(made.pid, 0)


def test_one_machine_that_is_not_kept_after_all_leaves_the_others_alone(start: Start, watcher: Watcher) -> None:
    kept, other = start("uuid-a"), start("uuid-b")
    watcher.keep("uuid-a", 60)
    watcher.keep("uuid-b", 60)
    watcher.keep("uuid-b", 0)
    began = time.monotonic()
    watcher.close()
    assert time.monotonic() - began < 5, "it does not wait for the end of a machine that is kept"
    assert other.wait(20) == -9
    assert kept.poll() is None


def test_without_a_kept_machine_all_have_ended_when_it_is_closed(start: Start, watcher: Watcher) -> None:
    machines = [start("uuid-a"), start("uuid-b")]
    watcher.keep("uuid-a", 60)
    watcher.keep("uuid-a", 0)
    watcher.close()
    assert [machine.wait(1) for machine in machines] == [-9, -9]
