"""Runs a program to its end and tells which processes it left behind: ``python left_behind.py REPORT PROGRAM...``.

It is the subreaper of all that the program starts: a process that detaches itself, as QEMU under libvirt does, becomes
our child and nobody else's. So what is left belongs to this very program, whatever else runs on the machine. It gets
ten seconds to end by itself; then it is written to REPORT, one line a process, and killed. The exit status is the
program's. SIGTERM is handed to the program's process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 10.0  # seconds


def main() -> int:
    """Run what the command line names."""
    report, *argv = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this process cannot be a subreaper")
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: _hand_down(child.pid))
    signal.signal(signal.SIGINT, lambda *_: None)  # whoever started us ends us
    status = None
    while status is None:
        pid, ended = os.wait()  # reaps whatever came to us too: a zombie would look alive to who waits for its end
        if pid == child.pid:
            status = os.waitstatus_to_exitcode(ended)
    child.returncode = status
    deadline = time.monotonic() + PATIENCE
    while (left := _children()) and time.monotonic() < deadline:
        _reap()
        time.sleep(0.1)
    Path(report).write_text("".join(f"{pid} {words}\n" for pid, words in left.items()))
    while left := _children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        _reap()
    return status if status >= 0 else 128 - status


def _hand_down(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _children() -> dict[int, str]:
    """Our children that have not ended, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if int(parent) == os.getpid() and state not in "ZX":
            found[int(folder.name)] = words
    return found


if __name__ == "__main__":
    sys.exit(main())
