"""What each running build owns on this host, so that the next one can clean up after it when it dies.

A build writes its entry, ``FACTORY_STATE/ledger/<build id>.json``, before it makes anything. :func:`reap` looks at the
entries whose owner is dead: it ends the processes that are left, turns the partial output into a failed one when it
holds logs, and removes the working files. Nothing is removed that an entry names outside its proper place.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from factory import processes
from factory.errors import HostError
from factory.files import sync, touching, write_whole
from factory.processes import PATIENCE as PATIENCE
from factory.processes import Process as Process
from factory.processes import started as started

BUILD_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True)
class Owner:
    """The process that runs a build, and where its pid means something: this boot, host and pid namespace."""

    process: Process
    boot_id: str
    host: str
    namespace: str

    @classmethod
    def me(cls) -> Owner:
        """The present process."""
        pid = os.getpid()
        return cls(Process(pid, started(pid) or 0), _boot_id(), socket.gethostname(), _namespace())


@dataclass(frozen=True)
class KeptMachine:
    """A machine that outlives its build, until *until* (seconds since the host's boot), for people to look into it."""

    name: str  # libvirt's name of it
    user: str
    key: str  # the file with the private key of *user*, 0600
    known_hosts: str  # the file with the guest's host key; empty when it gave itself one
    console: str  # the file that its serial console is written to
    until: float
    port: int = 0  # loopback port of its SSH; 0 in an entry of an earlier version, where it is the build's


@dataclass(frozen=True)
class Entry:
    """What one build owns. Paths are absolute; *written* is seconds since 1970."""

    build_id: str
    recipe: str
    owner: Owner
    work: str
    partial: str
    written: float
    children: tuple[Process, ...] = ()
    port: int | None = None  # on the loopback address, forwarded to the guest's SSH
    kept: str = ""  # why it outlives its owner (``--keep``); empty when it does not
    kept_machine: KeptMachine | None = None  # still running
    again: tuple[str, ...] = ()  # the words of the command line that build it again

    @classmethod
    def parse(cls, text: str) -> Entry:
        """The entry in *text*; raises ValueError when it is none."""
        try:
            data: dict[str, Any] = json.loads(text)
            data["owner"]["process"] = Process(**data["owner"]["process"])
            data["owner"] = Owner(**data["owner"])
            data["children"] = tuple(Process(**child) for child in data["children"])
            data["kept_machine"] = KeptMachine(**data["kept_machine"]) if data.get("kept_machine") else None
            data["again"] = tuple(data.get("again", ()))
            entry = cls(**data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a ledger entry: {error}") from error
        if not BUILD_ID.fullmatch(entry.build_id):
            raise ValueError("not a ledger entry: it has no build id")
        return entry

    def text(self) -> bytes:
        """The entry as it stands in its file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()


def alive(owner: Owner, *, written: float = 0.0) -> bool:
    """Whether the owner of an entry still runs.

    One of another container or host cannot be looked at: it counts as alive until two days after *written*.
    """
    if owner.boot_id == _boot_id() and owner.namespace == _namespace():
        return started(owner.process.pid) == owner.process.start
    if owner.boot_id != _boot_id() and owner.host == socket.gethostname():
        return False  # this host has booted since
    return time.time() - written < PATIENCE


def since_boot() -> float:
    """Seconds since the host's boot: a clock that nobody sets, and that goes on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def expired(entry: Entry) -> bool:
    """Whether the time of a kept machine is over; what is kept without a machine stays until it is asked for."""
    machine = entry.kept_machine
    return machine is not None and (since_boot() > machine.until or entry.owner.boot_id != _boot_id())


def check_private(state: Path) -> None:
    """Raise HostError when another account can write to the factory's state: it could have us remove and end things."""
    for folder in (state, state / "builds", state / "ledger"):
        with touching(folder, "Looking at the factory's state"):
            status = folder.stat() if folder.exists() else None
            if status and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
                raise HostError(
                    f"The folder {folder} of the factory's state is refused, because other accounts can write to it",
                    cause=f"It belongs to account {status.st_uid}, mode {status.st_mode & 0o7777:04o}",
                    hint=f"Run 'chmod go-w {folder}' as its owner, or set FACTORY_STATE to a folder of your own",
                    code="host.state-unsafe",
                )


def path_of(state: Path, build_id: str) -> Path:
    """Where the entry of a build lies."""
    return state / "ledger" / f"{build_id}.json"


def claim(state: Path, entry: Entry) -> bool:
    """Write a new entry, whole from the first moment; False when the build id is taken. Raises HostError."""
    path = path_of(state, entry.build_id)
    beside = path.with_name(f".{path.name}.{processes.mark()}.{entry.work[-8:]}")
    write_whole(beside, entry.text(), mode=0o600)
    with touching(path, "Writing the ledger"):
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
        sync(path.parent)
    return True


def rewrite(state: Path, entry: Entry, **changes: Any) -> Entry:
    """The entry with *changes*, written to its file."""
    changed = replace(entry, **changes)
    write_whole(path_of(state, entry.build_id), changed.text(), mode=0o600)
    return changed


def entries(state: Path) -> list[Entry]:
    """All entries that can be read, the oldest first."""
    found = []
    for path in sorted((state / "ledger").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            found.append(Entry.parse(path.read_text("utf-8")))
    return found


def reap(state: Path, *, kept: bool = False, dry_run: bool = False) -> list[str]:
    """Remove what dead owners left; one line for each thing done, for people. With *kept*, kept builds go too.

    With *dry_run* nothing is done, and the lines say what would be. Harmless to run at any time and from several
    processes at once; what cannot be removed is told in a line.
    Raises HostError when other accounts could have written the ledger.
    """
    if not state.is_dir():
        return []
    check_private(state)
    done: list[str] = []
    # Listed first: a folder that is made after this cannot be taken for one without an entry.
    folders = [path for path in (state / "builds").glob("*-*-*") if BUILD_ID.match(path.name)]
    for path in sorted((state / "ledger").glob("*.json")):
        if not BUILD_ID.fullmatch(path.stem):
            continue  # none of ours: somebody may have made the state of a folder that has more in it
        try:
            entry = Entry.parse(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            done += _reap_unreadable(path, error, dry_run=dry_run)
            continue
        if alive(entry.owner, written=entry.written) or (entry.kept and not kept and not expired(entry)):
            continue
        done += _would_reap(state, entry) if dry_run else _reap_entry(state, entry)
    for folder in folders:
        if folder.is_dir() and not path_of(state, folder.name[:25]).exists():
            done += [f"would remove {folder}"] if dry_run else remove(folder)
    for pattern in ("check-*", "fix-*"):  # copies of images that were only looked at
        left = processes.remove_left(state, pattern, dry_run=dry_run)
        done += [f"{'would remove' if dry_run else 'removed'} {path}" for path in left]
    if dry_run:
        return done + processes.would_end(processes.left())
    processes.remove_left(state / "ledger", ".*")
    return done + processes.end_left()


def drop(state: Path, entry: Entry) -> list[str]:
    """End and remove a kept build, whose owner has ended; lines for people."""
    return [] if alive(entry.owner, written=entry.written) else _reap_entry(state, entry)


def _reap_unreadable(path: Path, error: Exception, *, dry_run: bool) -> list[str]:
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > PATIENCE:
            if not dry_run:
                path.unlink()
            return [f"{'would remove' if dry_run else 'removed'} the unreadable ledger entry {path}"]
    return [] if isinstance(error, FileNotFoundError) else [f"the ledger entry {path} cannot be read: {error}"]


def _folders(state: Path, entry: Entry) -> tuple[Path | None, Path | None]:
    """The partial output and the working folder that *entry* names, each if it is there and in its proper place."""
    partial, work = Path(entry.partial), Path(entry.work)
    has_partial = partial.name == f".{entry.build_id}.partial" and not _hidden(partial) and partial.is_dir()
    has_work = work.parent == state / "builds" and work.name.startswith(entry.build_id) and work.is_dir()
    return partial if has_partial else None, work if has_work else None


def _hidden(folder: Path) -> str:
    """Why nobody can tell whether *folder* is there (a stale NFS mount, a folder above it without rights); or empty."""
    try:
        folder.stat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _would_reap(state: Path, entry: Entry) -> list[str]:
    folders = [f"would remove {path}" for path in _folders(state, entry) if path]
    return (processes.would_end(entry.children) if _here(entry) else []) + folders


def _reap_entry(state: Path, entry: Entry) -> list[str]:
    done = end(entry)
    ours, working = _folders(state, entry)
    partial, work = Path(entry.partial), Path(entry.work)
    if ours:
        if partial.is_relative_to(state):  # of a boot test without a build: nobody asked for its logs
            done += remove(partial)
        else:
            done += set_aside(partial)
    if working:
        done += remove(working)
    if hidden := _hidden(partial):  # what became of it is told when somebody can look again
        return [*done, f"{partial} cannot be looked at: {hidden}"]
    processes.remove_left(partial.parent, ".latest.*")
    # The entry goes last, so that whatever is left has one; and stays when something is.
    if not work.is_dir() and not partial.is_dir():
        path_of(state, entry.build_id).unlink(missing_ok=True)
    return done


def set_aside(partial: Path) -> list[str]:
    """Turn a dead build's partial output into ``<build id>.failed`` when it holds logs, else remove it."""
    failed = partial.with_name(partial.name.removeprefix(".").removesuffix(".partial") + ".failed")
    try:
        for path in partial.iterdir():
            if path.suffix != ".log" and path.is_file():
                path.unlink()
        if any(path.suffix == ".log" and path.stat().st_size for path in partial.iterdir()):
            for log in partial.glob("*.log"):
                log.chmod(0o644)
            partial.rename(failed)
            return [f"kept the logs of a build that died, in {failed}"]
    except FileNotFoundError:
        return []  # another process reaps too
    except OSError as error:
        return [f"{partial} cannot be set aside: {error.strerror}"]
    return remove(partial)


def remove(folder: Path) -> list[str]:
    """Remove a folder with all in it; the line for people."""
    failures: list[str] = []

    def failed(_: object, path: str, error: BaseException | tuple[Any, BaseException, Any]) -> None:
        reason = error[1] if isinstance(error, tuple) else error
        if not isinstance(reason, FileNotFoundError):
            failures.append(f"{path} cannot be removed: {getattr(reason, 'strerror', reason)}")

    shutil.rmtree(folder, onerror=failed)
    return failures[:1] or [f"removed {folder}"]


def end(entry: Entry) -> list[str]:
    """End the processes that a dead owner left, if they are still the same ones; lines for people."""
    return processes.end(entry.children) if _here(entry) else []


def _here(entry: Entry) -> bool:
    """Whether the pids of *entry* mean here what they meant there."""
    return entry.owner.boot_id == _boot_id() and entry.owner.namespace == _namespace()


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""
