"""This process's own libvirt: one root, opened once, watched until the process ends.

libvirt's embedded driver keeps its root for the life of the process, so every build of a process shares it. The root
is named after the process; the next run removes those whose process is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from factory import ledger, settings
from factory.hypervisor import reaper
from factory.hypervisor.connection import Connection
from factory.hypervisor.enclosure import Enclosure
from factory.hypervisor.watcher import Watcher, end_all

URI = "qemu:///embed"


@dataclass
class Embedded:
    """What is open: the connection, its folder, and the watcher that ends its machines after us."""

    connection: Connection
    folder: Path
    enclosure: Enclosure
    watcher: Watcher
    owner: int


_open: Embedded | None = None
_lock = threading.Lock()


def connection(*, kvm: bool) -> Connection:
    """The connection of this process, opened at its first use. Raises HostError."""
    global _open
    with _lock:
        if _open is None:
            _open = _start(kvm)
            atexit.register(close)
        return _open.connection


def _start(kvm: bool) -> Embedded:
    parent = _parent()
    parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    reap()
    folder = parent / f"{os.getpid()}-{ledger.started(os.getpid()) or 0}"
    folder.mkdir(mode=0o711)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        enclosure = Enclosure(folder, kvm=kvm)
        undo.callback(enclosure.close)
        reaper.start()
        watcher = Watcher(enclosure.work)
        undo.callback(watcher.close)
        opened = Connection(URI, enclosure.work, enclosure.account, settings.cache_dir() / "libvirt")
        undo.pop_all()
    return Embedded(opened, folder, enclosure, watcher, os.getpid())


def _parent() -> Path:
    return settings.state_dir() / "libvirt"


def close() -> None:
    """End what still runs and remove the folder; at the end of the process."""
    global _open
    with _lock:
        if _open is None or _open.owner != os.getpid():
            return
        end_all(str(_open.enclosure.work))
        _open.connection.close()
        _open.watcher.close()
        _open.enclosure.close()
        shutil.rmtree(_open.folder, ignore_errors=True)
        _open = None


def reap() -> list[str]:
    """Remove the folders of processes that are gone; says which."""
    removed = []
    for folder in _parent().glob("*-*") if _parent().is_dir() else []:
        pid, _, start = folder.name.partition("-")
        if pid.isdigit() and str(ledger.started(int(pid)) or "") != start:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(str(folder))
    return removed
