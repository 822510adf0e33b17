"""Ends QEMU when its owner is gone.

libvirt starts QEMU detached, so it is nobody's child and no parent-death signal reaches it. This small process holds
the read end of a pipe whose write end only the factory has: when the factory ends, however it ends, the pipe closes,
and every process whose command line names this build's own folder for libvirt is killed. The folder's name is random,
so nothing else is met. A machine that is kept on purpose (a line ``UUID SECONDS`` on the pipe) is left alone for so
long, and then killed too.

Run as ``python -I -S watcher.py FOLDER`` with the pipe on standard input; it imports nothing of the factory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO


class Watcher:
    """The factory's side: start it before the first machine, close it after the last."""

    def __init__(self, folder: Path) -> None:
        """*folder* is the embedded libvirt root, as it stands in QEMU's command line."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},  # it may live for an hour beside a kept machine: it has no use for credentials
            start_new_session=True,  # a Ctrl-C or a closed terminal is not for it
        )
        self._kept: set[str] = set()  # uuids

    def keep(self, uuid: str, seconds: float) -> None:
        """Leave the machine *uuid* alone for *seconds*, also after our own end; with 0 no longer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{uuid} {seconds:.0f}\n".encode())
        self._process.stdin.flush()
        (self._kept.add if seconds > 0 else self._kept.discard)(uuid)

    def close(self) -> None:
        """Let it look once more, and wait for its end, unless a machine is kept."""
        if self._process.stdin:
            self._process.stdin.close()
        if not self._kept:
            self._process.wait(timeout=30)
        self._process.returncode = self._process.returncode or 0  # it may outlive us, which is no fault

    @property
    def pid(self) -> int:
        """Its process id, for the ledger."""
        return self._process.pid


def processes_of(folder: str, *, without: Collection[str] = (), uuid: str = "") -> list[int]:
    """The QEMUs of this host, other than ourselves, whose command line names a path below *folder*.

    Those of the machines *without* (their uuids) are left out; with *uuid*, only that machine's.
    """
    found = []
    needle = os.fsencode(folder.rstrip("/") + "/")
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in (os.getpid(), os.getppid()):
            continue
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if needle not in words or b"qemu" not in words.split(b"\0")[0] or uuid.encode() not in words:
            continue
        if not any(each.encode() in words for each in without):
            found.append(int(entry))
    return found


def end_all(folder: str, *, without: Collection[str] = ()) -> None:
    """Kill them, and look again until none is left; see :func:`processes_of`."""
    for _ in range(50):
        pids = processes_of(folder, without=without)
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def watch(pipe: IO[bytes], folder: str) -> None:
    """Wait until *pipe* closes, then end what is left."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    kept: dict[str, float] = {}
    for line in pipe:
        uuid, _, seconds = line.decode("ascii", "replace").partition(" ")
        kept[uuid] = time.clock_gettime(time.CLOCK_BOOTTIME) + float(seconds)
    end_all(folder, without=kept)
    while kept and processes_of(folder):
        time.sleep(1)
        kept = {uuid: end for uuid, end in kept.items() if time.clock_gettime(time.CLOCK_BOOTTIME) < end}
        end_all(folder, without=kept)


if __name__ == "__main__":
    watch(sys.stdin.buffer, sys.argv[1])
