"""Runs a command and tells what it cost: wall and CPU seconds, and the peak memory of its largest process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """*wall* and *cpu* in seconds, *memory* in bytes (peak of the command's own process), *size* of what it made.

    *reboot* is how many of the wall's seconds went into the reboot of a boot test.
    """

    wall: float
    cpu: float
    memory: int
    size: int = 0
    reboot: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """The same as data."""
        return asdict(self)


def run(argv: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run *argv* to its end, its output into *log*. Raises RuntimeError with the end of the log when it fails."""
    start = time.monotonic()
    with log.open("wb") as file:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{argv[0]} ended with {child.returncode}:\n{tail}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)
