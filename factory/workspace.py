"""The places of one build: its working files, its output while it is made, and where the output goes in the end.

    out/<recipe>/.<build id>.partial    artefacts are written here
    out/<recipe>/<build id>             ... and appear here at once when the build is good; then ``latest`` points to it
    out/<recipe>/<build id>.failed      ... or here, with the logs
    FACTORY_STATE/builds/<build id>-<random>     working files
    FACTORY_STATE/ledger/<build id>.json         what this build owns, see :mod:`factory.ledger`

A build id is the UTC time and the first 8 hexadecimal digits of the build's key: it sorts by time.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factory import ledger
from factory.errors import HostError, UsageError
from factory.files import SUMS, make_folder, sync, touching, write_sums
from factory.ledger import Entry, KeptMachine, Owner, Process, alive, entries, reap
from factory.processes import mark

__all__ = ["Workspace", "alive", "closed_folder", "entries", "reap"]

IMAGES = (".qcow2", ".raw", ".img", ".vmdk", ".vhd", ".vhdx")


class Workspace:
    """The places of one build. It ends with exactly one of :meth:`commit`, :meth:`fail` and :meth:`discard`."""

    def __init__(self, entry: Entry, state: Path) -> None:
        """Use :meth:`create`."""
        self._entry = entry
        self._state = state
        self._lock = threading.Lock()
        self._closed = False  # its entry is removed, and must not come back
        self.build_id = entry.build_id
        self.work = Path(entry.work)
        self.partial = Path(entry.partial)
        self.finished: Path | None = None  # the image in the partial output, from when it is whole

    @classmethod
    def create(cls, recipe_name: str, key: str, *, output: Path = Path("out"), state: Path) -> Workspace:
        """Make the places of a new build of *recipe_name*. *key* is the build's key in hexadecimal, 8 digits or more.

        Two builds of one key in the same second get different ids: the second one waits for the next second.
        Raises HostError when a place cannot be made, UsageError for a name that is no single folder's name.
        """
        if recipe_name in ("", ".", "..") or recipe_name.startswith(".") or re.search(r"[/\0]", recipe_name):
            raise UsageError(
                f"{recipe_name!r} cannot be the name of an output folder",
                hint="Use letters, digits and hyphens",
                code="usage.recipe-name",
            )
        if not re.fullmatch(r"[0-9a-f]{8,}", key):
            raise ValueError(f"a build's key is 8 hexadecimal digits or more, not {key!r}")
        state, folder = state.absolute(), output.absolute() / recipe_name
        with touching(state, "Making the folder of the factory's state"):
            # QEMU runs under another account and must get through to the working files, by name only.
            for path, mode in ((state, 0o711), (state / "builds", 0o711), (state / "ledger", 0o700)):
                make_folder(path, mode)
        ledger.check_private(state)
        with touching(folder, "Making the output folder"):
            folder.mkdir(parents=True, exist_ok=True)
        while True:
            now = datetime.now(UTC)
            build_id = f"{now:%Y%m%dT%H%M%SZ}-{key[:8]}"
            workspace = cls._claim(build_id, recipe_name, folder, state)
            if workspace is not None:
                return workspace
            time.sleep(1.001 - now.microsecond / 1e6)

    @classmethod
    def _claim(cls, build_id: str, recipe: str, folder: Path, state: Path) -> Workspace | None:
        """The places under this build id, or None when it is taken. The ledger entry comes before anything else."""
        partial = folder / f".{build_id}.partial"
        work = state / "builds" / f"{build_id}-{secrets.token_hex(4)}"
        entry = Entry(build_id, recipe, Owner.me(), str(work), str(partial), time.time())
        if not ledger.claim(state, entry):
            return None
        workspace = cls(entry, state)
        try:
            with touching(work, "Making the folder for working files"):
                work.mkdir(mode=0o711)
                work.chmod(0o711)
            with touching(partial, "Making the output folder"):
                try:
                    partial.mkdir()
                except FileExistsError:  # made by a factory with another FACTORY_STATE, in this very second
                    workspace._close()
                    return None
                partial.chmod(0o755)
            if (folder / build_id).exists() or (folder / f"{build_id}.failed").exists():
                workspace.discard()
                return None
        except HostError:
            ledger.remove(work)
            with contextlib.suppress(OSError):
                ledger.path_of(state, build_id).unlink()
            raise
        return workspace

    # What the build owns

    def note_child(self, pid: int) -> None:
        """Note a process that must not outlive the build (QEMU, its watcher); one that has ended is not noted."""
        start = ledger.started(pid)
        if start is not None:
            with self._lock:
                self._rewrite(children=(*self._entry.children, Process(pid, start)))

    def forget_child(self, pid: int) -> None:
        """The process has ended as it should."""
        with self._lock:
            self._rewrite(children=tuple(child for child in self._entry.children if child.pid != pid))

    def note_port(self, port: int | None) -> None:
        """Note the loopback port that leads to the guest's SSH; None when it leads nowhere any more."""
        with self._lock:
            self._rewrite(port=port)

    def keep(self, why: str, again: Sequence[str] = ()) -> None:
        """Let working files and ledger entry outlive this process (``--keep``), until ``factory gc`` removes them.

        *again* are the words of the command line that build it again; they hold no secret.
        """
        with self._lock:
            self._rewrite(kept=why, again=tuple(again))

    def keep_machine(self, machine: KeptMachine) -> None:
        """Note a machine that outlives this process, and keep the rest with it."""
        with self._lock:
            self._rewrite(kept=self._entry.kept or "a machine runs", kept_machine=machine)

    def forget_machine(self) -> None:
        """The machine that was noted does not outlive this process, and the rest need not either."""
        with self._lock:
            self._rewrite(kept="", kept_machine=None)

    def _rewrite(self, **changes: Any) -> None:
        if self._closed:  # a boot test's thread that outlives an interrupt may still end its machine
            self._entry = replace(self._entry, **changes)
            return
        self._entry = ledger.rewrite(self._state, self._entry, **changes)

    @property
    def entry(self) -> Entry:
        """What the ledger says of this build."""
        return self._entry

    @contextlib.contextmanager
    def secret(self, name: str) -> Iterator[int]:
        """Open a new file *name* among the working files for writing, readable by this account only (0600).

        Gives the file descriptor. Raises HostError.
        """
        path = self.work / name
        with touching(path, "Writing a secret file"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    # The output

    def write_sums(self, known: Mapping[str, str] | None = None) -> Path:
        """Write ``SHA256SUMS`` over the partial output, see :func:`factory.files.write_sums`."""
        return write_sums(self.partial, known)

    def commit(self, keep: str = "", again: Sequence[str] = ()) -> Path:
        """Make the output appear whole as ``out/<recipe>/<build id>``, point ``latest`` to it and drop the rest.

        With *keep*, which says why, the working files stay as :meth:`keep` has it, if the ledger can be written.
        """
        final = self.partial.with_name(self.build_id)
        with touching(self.partial, "Completing the output"):
            for path in self.partial.rglob("*"):
                if not path.is_symlink() and (path.is_file() or path.is_dir()):
                    sync(path)
            sync(self.partial)
            self.partial.rename(final)
            try:
                sync(final.parent)
                flip(final)
            except OSError:
                final.rename(self.partial)  # so that it can still be failed or discarded
                raise
        if keep:
            with contextlib.suppress(HostError):
                self.keep(keep, again)
        self._close()
        return final

    def fail(self, *, keep_image: bool = False) -> Path:
        """Set the partial output aside as ``out/<recipe>/<build id>.failed``, for its logs; ``latest`` stays as it is.

        Images are removed (half a disk image is of no use) unless *keep_image*: built, but refused by a check, or by
        this host at the last. Never raises, because an error is on its way already: returns where the output is,
        moved or not.
        """
        failed = self.partial.with_name(f"{self.build_id}.failed")
        try:
            if not keep_image:
                for path in self.partial.iterdir():
                    if path.suffix in IMAGES or path.name == SUMS:
                        path.unlink()
            self.partial.rename(failed)
        except OSError:
            whole = self.partial.with_name(self.build_id)  # where a commit left it that could not be undone
            failed = whole if whole.is_dir() else self.partial
        machine = self._entry.kept_machine
        if machine and failed != self.partial:  # QEMU goes on writing it: the file is the same
            with self._lock, contextlib.suppress(HostError):
                self._rewrite(kept_machine=replace(machine, console=str(failed / Path(machine.console).name)))
        self._close()
        return failed

    def discard(self) -> None:
        """Remove all of it, as if the build had never been started."""
        ledger.remove(self.partial)
        with contextlib.suppress(OSError):
            self.partial.parent.rmdir()  # only when nothing else is in it
        self._close()

    def _close(self) -> None:
        """Remove working files and ledger entry, unless they are kept."""
        with self._lock:
            if self._entry.kept:
                return
            self._closed = True
        ledger.remove(self.work)
        if not self.work.exists():
            with contextlib.suppress(OSError):
                ledger.path_of(self._state, self.build_id).unlink()


def flip(final: Path) -> None:
    """Point ``latest`` beside *final* to it, in one step. Raises OSError."""
    link = final.with_name(f".latest.{mark()}.{secrets.token_hex(4)}")
    link.symlink_to(final.name)
    try:
        link.replace(final.with_name("latest"))
    except OSError:
        link.unlink()
        raise
    with contextlib.suppress(OSError):  # it is done; the system writes it in its own time
        sync(final.parent)


def closed_folder(path: Path) -> Path | None:
    """The outermost folder on the way to *path* that other accounts cannot pass, or None when they all can.

    QEMU runs under another account when root starts it, and then says no more than "Permission denied".
    """
    for folder in reversed(path.absolute().parents):
        with contextlib.suppress(OSError):
            if not folder.stat().st_mode & 0o001:
                return folder
    return None
