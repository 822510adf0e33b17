"""Processes and to which factory they belong, told apart for sure: a pid alone comes to mean another process.

Every program that the factory starts carries its owner's mark in its environment, so it is known from its first moment,
before any ledger could name it. Temporary names carry the mark too. What bears the mark of a dead owner is reaped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

VARIABLE = "IMAGE_FACTORY_OWNER"
MARK = re.compile(r"(\d+)-(\d+)-(\d+)-([0-9a-f]{8})-([0-9a-f]{8})")
TERM_WAIT = 5.0  # seconds a left process gets to end by itself
PATIENCE = 2 * 24 * 3600  # seconds after which an owner that cannot be looked at (another host or container) is dead


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one with the same *pid* by its *start* (clock ticks since the host's boot)."""

    pid: int
    start: int


def started(pid: int) -> int | None:
    """When the process *pid* began (field 22 of /proc/<pid>/stat, clock ticks since boot); None when it is not there.

    A zombie is not there: it has ended, only nobody has asked for its status.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def mark() -> str:
    """The mark of this process: its pid and start, and the pid name space, boot and host in which they mean something.

    Two hosts, or a host and its containers, may share a folder; the first name space of every host has one number.
    """
    return _mark(os.getpid())


@cache
def _mark(pid: int) -> str:
    return f"{pid}-{started(pid) or 0}-{_namespace()}-{_boot()}-{_host()}"


def dead(text: str) -> bool:
    """Whether the first mark in *text* is that of a process that has ended; False when that cannot be known."""
    found = MARK.search(text)
    if found is None:
        return False
    if found[4] != _boot():
        return found[5] == _host()  # this host has booted since
    return int(found[3]) == _namespace() and started(int(found[1])) != int(found[2])


def abandoned(text: str, *, written: float) -> bool:
    """Whether the maker of what bears the first mark in *text* is gone.

    One of another host or container cannot be looked at: it is taken for gone two days after *written* (since 1970).
    """
    found = MARK.search(text)
    if found is None or dead(text):
        return found is not None
    here = found[4] == _boot() and int(found[3]) == _namespace()
    return not here and time.time() - written > PATIENCE


def left() -> list[Process]:
    """The programs whose factory has ended and left them behind."""
    needle = f"{VARIABLE}=".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            words = next((w for w in (folder / "environ").read_bytes().split(b"\0") if w.startswith(needle)), b"")
            start = started(int(folder.name))
            if words and start is not None and dead(words.decode("ascii", "replace")):
                found.append(Process(int(folder.name), start))
    return found


def end_left() -> list[str]:
    """End what :func:`left` finds, and what those start meanwhile; one line for each, for people."""
    done: list[str] = []
    for _ in range(3):
        found = left()
        if not found:
            break
        done += [line for line in end(found) if line not in done]
    return done


def would_end(processes: Iterable[Process]) -> list[str]:
    """A line for people for each of *processes* that is still the same one: what :func:`end` would do."""
    return [f"would end process {each.pid}" for each in processes if started(each.pid) == each.start]


def end(processes: Iterable[Process]) -> list[str]:
    """End *processes*, those that are still the same ones: all are asked to, and those that stay are killed.

    Returns a line for people for each that was there.
    """
    done: list[str] = []
    with contextlib.ExitStack() as closing:
        handles: dict[int, int] = {}
        for process in processes:
            if started(process.pid) != process.start:
                continue
            try:
                handle = os.pidfd_open(process.pid)
            except OSError as error:
                if not isinstance(error, ProcessLookupError):
                    done.append(f"the left process {process.pid} cannot be ended: {error.strerror}")
                continue
            closing.callback(os.close, handle)
            if started(process.pid) == process.start:  # once more: from here on the pid cannot mean another process
                handles[handle] = process.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            for handle, pid in list(handles.items()):
                try:
                    signal.pidfd_send_signal(handle, number)
                except ProcessLookupError:
                    pass
                except OSError as error:
                    del handles[handle]
                    done.append(f"process {pid} cannot be ended: {error.strerror}")
            _wait(list(handles))
        done += [f"ended the left process {pid}" for pid in handles.values()]
    return done


def _wait(handles: list[int]) -> None:
    """Wait until all have ended, for a few seconds at most."""
    deadline = time.monotonic() + TERM_WAIT
    while handles and (left := deadline - time.monotonic()) > 0:
        ended = select.select(handles, [], [], left)[0]
        handles = [handle for handle in handles if handle not in ended]


def remove_left(folder: Path, pattern: str, *, dry_run: bool = False) -> list[Path]:
    """Remove the temporary files and folders matching *pattern* whose maker is gone; returns which those were.

    With *dry_run* only the latter.
    """
    removed = []
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # removed by another process just now
            if not abandoned(path.name, written=path.lstat().st_mtime):
                continue
            if dry_run:
                pass
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed.append(path)
    return removed


@cache
def _namespace() -> int:
    with contextlib.suppress(OSError):
        return Path("/proc/self/ns/pid").stat().st_ino
    return 0


@cache
def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
    return "0" * 8


@cache
def _host() -> str:
    return hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:8]
