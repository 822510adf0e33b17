"""Ctrl-C, SIGTERM and SIGHUP: the first one stops the work and cleans up; the cleaning itself is not cut short.

Whoever insists is told so at the second one, and is let go at the third: ``factory gc`` then clears the rest away.
What arrives within half a second is one: ``timeout make build`` sends it to each of us, and make passes it on again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATUS = 130
TOGETHER = 0.5  # seconds
_seen = 0
_last = 0.0  # when the last one that counted came
_quiet = False


class Interrupted(KeyboardInterrupt):
    """A signal asked us to end; its name is the text."""


def install(*, quiet: bool = False) -> None:
    """Handle the three signals in this process from now on; *quiet* for one that does not speak to people.

    A signal that whoever started us had ignored stays ignored.
    """
    global _seen, _quiet
    _seen, _quiet = 0, quiet
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _handle)


def _handle(number: int, _frame: FrameType | None) -> None:
    global _seen, _last
    now = time.monotonic()
    if _seen and now - _last < TOGETHER:
        return
    _seen, _last = _seen + 1, now
    if _seen == 1:
        raise Interrupted(signal.Signals(number).name)
    if _seen > 2 and not _quiet:
        os._exit(STATUS)
    if not _quiet:
        with contextlib.suppress(OSError):
            os.write(2, b"\nstill cleaning up; once more ends it at once, and 'factory gc' clears the rest away\n")
