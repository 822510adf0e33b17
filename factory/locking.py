"""Locks between processes, by files; whoever has to wait is told for whom."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from factory.errors import HostError
from factory.files import touching

if TYPE_CHECKING:
    from factory.console import Console


@contextmanager
def lock(path: Path, *, what: str, console: Console, timeout: float | None = None) -> Iterator[None]:
    """Hold the lock file *path* during the block; *what* says what it guards, such as ``the base debian-12``.

    The kernel keeps the lock (flock), so a process that died does not hold it. Whoever has to wait is told for which
    process. Raises HostError when it is still held after *timeout* seconds.
    """
    from filelock import FileLock, Timeout

    with touching(path.parent, "Making the folder for locks"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Without the fallback: a lock file that merely exists would outlive its process.
    held = FileLock(path, mode=0o600, fallback_to_soft=False)
    try:
        try:
            held.acquire(blocking=False)
        except Timeout:
            console.say(f"Waiting for {what}: {holder(path)} is at it")
            held.acquire(timeout=-1 if timeout is None else timeout, poll_interval=0.2)
    except Timeout:
        raise HostError(
            f"{what} is still in use after {timeout:.0f} s",
            cause=f"It is held by {holder(path)}",
            hint="Wait for it, or end that process",
            code="host.locked",
        ) from None
    except (OSError, NotImplementedError) as error:
        raise HostError(
            f"the lock {path} cannot be taken",
            cause=str(error),
            hint="Set FACTORY_CACHE and FACTORY_STATE to folders on a local file system",
            code="host.lock",
        ) from error
    try:
        with suppress(OSError):  # it only tells others who it is; on a full disk the lock holds without it
            path.write_text(
                json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds"), "what": what})
            )
        yield
    finally:
        with suppress(OSError):
            os.truncate(path, 0)
        held.release()


def holder(path: Path) -> str:
    """Who holds the lock file *path*, for people: ``process 4711 (since 12:03:10 UTC)``."""
    try:
        record = json.loads(path.read_text())
        return f"process {int(record['pid'])} (since {datetime.fromisoformat(record['since']):%H:%M:%S} UTC)"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
