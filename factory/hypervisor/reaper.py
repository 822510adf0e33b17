"""Takes leave of each QEMU as soon as it has ended.

libvirt detaches QEMU, so the first process of the system inherits it, and libvirt waits until that one has asked for
its exit status. The first process of a container (``tail -f /dev/null``, or the factory itself) never asks: each end of
a machine then takes 80 s. So the factory inherits its QEMUs itself, and asks at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PAUSE = 0.1  # seconds between two looks

_started = False
_lock = threading.Lock()


def start() -> None:
    """Inherit what becomes an orphan below this process, from now on."""
    global _started
    with _lock:
        if _started or ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            return
        _started = True
        threading.Thread(target=_loop, name="reaper", daemon=True).start()


def _loop() -> None:
    while True:
        for pid in ended():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(PAUSE)


def ended() -> list[int]:
    """Our QEMUs that have ended and that nobody has asked for. Those that we started ourselves are in our session."""
    return [pid for pid in _children() if _is_ended_orphan(pid)]


def _children() -> Iterator[int]:
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            yield from map(int, (thread / "children").read_text().split())


def _is_ended_orphan(pid: int) -> bool:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").partition("(")[2].rpartition(")")
    except OSError:
        return False
    state, _parent, _group, session = rest.split()[:4]
    return state == "Z" and name.startswith("qemu-system") and int(session) != os.getsid(0)
