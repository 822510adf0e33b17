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
import time
from dataclasses import dataclass, field
from pathlib import Path

from factory import ledger, processes, settings
from factory.files import make_folder, touching
from factory.hypervisor import reaper
from factory.hypervisor.connection import Connection
from factory.hypervisor.enclosure import Enclosure
from factory.hypervisor.watcher import Watcher, end_all, processes_of

URI = "qemu:///embed"
OWNER = "owner"  # a file: the mark of the process whose folder it is
PLACE = "place"  # a file: where QEMU sees the folder
UNSAID = 60.0  # seconds after which a folder without an owner's mark has none
KEPT = "kept"  # a file: a machine is kept in this folder until then (seconds since the host's boot)


@dataclass
class Embedded:
    """What is open: the connection, its folder, and the watcher that ends its machines after us."""

    connection: Connection
    folder: Path
    enclosure: Enclosure
    watcher: Watcher
    owner: int
    kept: list[str] = field(default_factory=list)  # uuids of machines that outlive us


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
    with touching(parent, "Making the folder for libvirt"):
        make_folder(parent.parent, 0o711)
        make_folder(parent, 0o711)
    reap()
    folder = parent / f"{os.getpid()}-{ledger.started(os.getpid()) or 0}"
    with contextlib.ExitStack() as undo:
        with touching(folder, "Making the folder for libvirt"):
            folder.mkdir(mode=0o711)
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            (folder / OWNER).write_text(processes.mark())
        enclosure = Enclosure(folder, kvm=kvm)
        undo.callback(enclosure.close)
        with touching(folder, "Making the folder for libvirt"):
            (folder / PLACE).write_text(str(enclosure.work))  # by it, QEMU's command line is found when we are gone
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
        end_all(str(_open.enclosure.work), without=_open.kept)
        if _open.kept:
            _open.watcher.close()  # libvirt stays as it is: the next one that opens the folder finds the machine
        else:
            _open.connection.close()
            _open.watcher.close()
            _open.enclosure.close()
            shutil.rmtree(_open.folder, ignore_errors=True)
        _open = None


def process_of(uuid: str) -> int | None:
    """The process id of the machine *uuid*; None when it does not run, or not in this process's libvirt."""
    pids = processes_of(str(_open.enclosure.work), uuid=uuid) if _open else []
    return pids[0] if pids else None


def keep(uuid: str, seconds: float) -> None:
    """Let the machine *uuid* outlive this process, for *seconds* at most."""
    with _lock:
        if _open is not None:
            (_open.folder / KEPT).write_text(f"{ledger.since_boot() + seconds}")
            _open.watcher.keep(uuid, seconds)
            _open.kept.append(uuid)


def unkeep(uuid: str) -> None:
    """The machine *uuid* shall not outlive this process after all."""
    with _lock:
        if _open is not None and uuid in _open.kept:
            _open.kept.remove(uuid)
            _open.watcher.keep(uuid, 0)
            if not _open.kept:
                (_open.folder / KEPT).unlink(missing_ok=True)


def reap(*, kept: bool = False, dry_run: bool = False) -> list[str]:
    """End the machines of processes that are gone and remove their folders; says which. With *kept*, kept ones too.

    With *dry_run* it only says so. Another host or container may use the same state: its folders are left alone.
    """
    removed = []
    for folder in _parent().glob("*-*") if _parent().is_dir() else []:
        if _abandoned(folder) and (kept or not _keeps(folder)):
            if dry_run:
                removed.append(f"would remove {folder}, and end the machines in it")
                continue
            if place := _read(folder / PLACE):
                end_all(place)
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(f"removed {folder}")
    return removed


def _abandoned(folder: Path) -> bool:
    """Whether the process is gone that made *folder*."""
    pid, _, start = folder.name.partition("-")
    if not pid.isdigit():
        return False  # none of ours
    with contextlib.suppress(OSError):
        if owner := _read(folder / OWNER):
            return processes.abandoned(owner, written=(folder / OWNER).stat().st_mtime)
        # It was killed before it could say whose it is; or that has just come to be, elsewhere; or it is none of ours.
        ours = (folder / PLACE).is_file() or not any(folder.iterdir())
        gone = str(ledger.started(int(pid)) or "") != start
        return ours and gone and time.time() - folder.stat().st_mtime > UNSAID
    return False


def _keeps(folder: Path) -> bool:
    """Whether a machine is kept in *folder*: it runs, and its time is not over."""
    until, place = _read(folder / KEPT), _read(folder / PLACE)
    return bool(until and place) and ledger.since_boot() < float(until) and bool(processes_of(place))


def _read(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text()
    return ""
