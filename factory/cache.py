"""The cache of one user: bases, layers and half-done downloads, safe to share between processes.

    <cache>/                        0700, refused when another account owns it or can write to it
      <kind>/<key>/<sha256>/        one entry: ``content`` (0444) and ``entry.json``
      locks/ work/ downloads/       lock files, unfinished work, what a download can resume

A *kind* is ``base``, ``layer`` and so on; a *key* names what an entry was made from. Several entries may share a key:
the newest is the current one, older ones stay until :meth:`Cache.trim`, so that a pinned digest can still be had.

Every entry carries the sha256 of its content, and it is checked on use. Reading 600 MB takes about a second, so a
file that was read in full once is later recognised by its inode, size, mtime and ctime. That is sound here because
only this account (and root) can write below a 0700 folder, and because no call sets a ctime back: whatever changes
the file, even one that restores the mtime, changes the ctime. What leaves no trace in the inode is a failing disk, so
the content is read in full again once a week.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factory import settings, units
from factory.cache_entry import Entry, identity, newest_first, read
from factory.copying import clone_file, file_digest
from factory.errors import HostError, UsageError
from factory.files import sync, touching, write_whole
from factory.locking import lock
from factory.private import private_folder
from factory.processes import mark, remove_left

__all__ = ["Cache", "Entry", "lock", "private_folder", "size_limit"]

FULL_READ_SECONDS = 7 * 24 * 3600  # after so long the content is read in full again
REST_SECONDS = 3600  # an entry used within the last hour is never trimmed: a build may be about to hold it
RESTLESS = {"layer", "memory"}  # but these may be: a build copies them, and does without when they are gone
OTHER_FOLDERS = {"locks", "work", "downloads", "history", "indexes", "libvirt"}  # these hold no entries
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,120}")


class Cache:
    """The entries below *root*. *warn* is told of entries that were found damaged and dropped."""

    def __init__(self, root: Path | None = None, *, warn: Callable[[str], None] | None = None) -> None:
        """Make the folder when it is not there. Raises HostError when another account could change what is in it."""
        self.root = private_folder(root or settings.cache_dir())
        self._warn = warn

    def folder(self, name: str) -> Path:
        """A private folder of the cache that holds no entries, such as ``work``."""
        path = self.root / name
        with touching(path, "Making a folder of the cache"):
            path.mkdir(mode=0o700, exist_ok=True)
        return path

    def get(self, kind: str, key: str) -> Entry | None:
        """The newest sound entry for *key*; one that does not match its sha256 is dropped."""
        return next((entry for entry in self._newest_first(kind, key) if self._sound(entry)), None)

    def find(self, kind: str, sha256: str) -> Entry | None:
        """A sound entry with this content, whatever its key."""
        return next((entry for entry in self.entries(kind) if entry.sha256 == sha256 and self._sound(entry)), None)

    def put(self, kind: str, key: str, file: Path, facts: dict[str, Any]) -> Entry:
        """Take *file* into the cache: it is moved, or copied when it lies on another file system.

        The entry appears whole, and is on the disk, when this returns. *facts* must be plain data.
        """
        parent = self.root / _name(kind) / _name(key)
        with touching(parent, "Making a folder of the cache"):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=f".new-{mark()}-", dir=self.root / kind))
        try:
            content = new / "content"
            try:
                file.rename(content)
            except OSError:
                clone_file(file, content)
                file.unlink()
            content.chmod(0o444)
            digest = file_digest(content)
            entry = Entry(kind, key, parent / digest / "content", digest, content.stat().st_size, _now(), facts)
            sync(content)
            self._write(entry, new)
            sync(new)
            self._settle(new, entry)
            sync(parent)
            return entry
        except OSError as error:
            raise HostError(
                f"the cache {self.root} cannot take a new entry",
                cause=str(error),
                hint="Free some space there, or set FACTORY_CACHE to another folder",
                code="host.cache",
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _settle(self, new: Path, entry: Entry) -> None:
        """Give the finished folder *new* its name; content that is there already only becomes the newest."""
        try:
            new.rename(entry.folder)
        except OSError:
            if entry.path.exists() and file_digest(entry.path) == entry.sha256:
                self._write(entry, entry.folder)
            elif self.remove(entry):
                entry.folder.parent.mkdir(mode=0o700, exist_ok=True)
                new.rename(entry.folder)
            else:
                raise

    def renew(self, entry: Entry) -> Entry:
        """Date *entry* as of now: its source was asked and has nothing newer."""
        renewed = replace(entry, created=_now())
        self._write(renewed, entry.folder)
        return renewed

    def entries(self, kind: str | None = None) -> list[Entry]:
        """All entries, newest first, as their records say: nothing is verified."""
        kinds = [kind] if kind else [path.name for path in self.root.iterdir() if path.name not in OTHER_FOLDERS]
        found = [entry for name in kinds for entry in map(read, (self.root / name).glob("[!.]*/*/entry.json")) if entry]
        return newest_first(found)

    def remove(self, entry: Entry, *, used: float | None = None) -> bool:
        """Remove *entry*, unless some process holds it, or has used it after *used*; says whether it is gone.

        Raises OSError.
        """
        try:
            folder = _locked(entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        try:
            if used is not None and entry.used > used:
                return False
            gone = (
                self.root / entry.kind / f".gone-{mark()}-{secrets.token_hex(4)}"
            )  # no new folder: the disk may be full
            with suppress(FileNotFoundError):  # somebody removed it by hand
                entry.folder.rename(gone)  # in one step: nobody sees half an entry
            shutil.rmtree(gone, ignore_errors=True)
            with suppress(OSError):
                entry.folder.parent.rmdir()  # the key's folder, when this was its last entry
            return True
        finally:
            os.close(folder)

    def trim(self, limit: int | None = None, keep: Collection[Entry] = ()) -> list[Entry]:
        """Remove the least recently used entries until the rest takes at most *limit* bytes (FACTORY_CACHE_LIMIT).

        Entries in *keep*, held ones and those used within the last hour stay. Returns what was removed.
        """
        limit = size_limit() if limit is None else limit
        self.sweep()
        found: list[tuple[float, Entry]] = []
        for entry in self.entries():
            with suppress(FileNotFoundError):  # removed by another process just now
                found.append((entry.used, entry))
        total = sum(entry.size for _, entry in found)
        kept = {entry.folder for entry in keep}
        removed = []
        for used, entry in sorted(found, key=lambda each: each[0]):
            if total <= limit:
                break
            rests = entry.kind not in RESTLESS and abs(time.time() - used) < REST_SECONDS
            if entry.folder in kept or rests:
                continue
            with suppress(OSError):  # of a failing disk; others may still go
                if self.remove(entry, used=used):
                    total -= entry.size
                    removed.append(entry)
        return removed

    def sweep(self, *, dry_run: bool = False) -> list[Path]:
        """Clear away what killed processes left, and downloads that nobody went on with; says what was removed now.

        With *dry_run* it says what killed processes left, and removes nothing.
        """
        removed = [
            path
            for pattern in ("*/.new-*", "*/.gone-*", "*/*/*/.entry.json.*", "libvirt/.*", "history/.*")
            for path in remove_left(self.root, pattern, dry_run=dry_run)
        ]
        if dry_run:
            return removed
        # Nothing but what has a name of ours: somebody may have made the cache of a folder that has more in it.
        for pattern in ("*/.new-[0-9]*-[0-9]*-*", "*/.gone-[0-9]*-[0-9]*-*", f"downloads/*-{'[0-9a-f]' * 16}.*"):
            for leftover in self.root.glob(pattern):
                with suppress(OSError):
                    if time.time() - leftover.lstat().st_mtime < FULL_READ_SECONDS:
                        continue
                    if leftover.is_dir():
                        shutil.rmtree(leftover, ignore_errors=True)
                    else:
                        leftover.unlink()
        return removed

    @contextmanager
    def hold(self, entry: Entry) -> Iterator[Entry]:
        """Keep *entry* from being removed, by this or any other process, for as long as the block runs."""
        try:
            folder = _locked(entry, fcntl.LOCK_SH)
        except FileNotFoundError as error:
            raise HostError(
                f"{entry.path} has been removed from the cache", hint="Run it again", code="host.cache-entry-gone"
            ) from error
        try:
            yield entry
        finally:
            os.close(folder)

    def _newest_first(self, kind: str, key: str) -> list[Entry]:
        return newest_first(filter(None, map(read, (self.root / kind / key).glob("*/entry.json"))))

    def _sound(self, entry: Entry) -> bool:
        """Whether the content is what its sha256 says; marks the entry as used."""
        try:
            record = json.loads((entry.folder / "entry.json").read_text())
            if record["seen"] != identity(entry.path) or time.time() - record["read"] > FULL_READ_SECONDS:
                if file_digest(entry.path) != entry.sha256:
                    if self._warn:
                        self._warn(f"{entry.path} does not match its sha256 any more: it is dropped and made again")
                    self.remove(entry)
                    return False
                with suppress(HostError):  # on a full disk it is read in full again the next time
                    self._write(entry, entry.folder)
            os.utime(entry.folder)
        except (OSError, ValueError, KeyError, TypeError):
            return False  # removed by another process just now, or its record is damaged
        return True

    def _write(self, entry: Entry, folder: Path) -> None:
        record = {
            "sha256": entry.sha256,
            "size": entry.size,
            "created": entry.created.isoformat(),
            "facts": entry.facts,
            "seen": identity(folder / "content"),
            "read": time.time(),
        }
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        write_whole(folder / "entry.json", text.encode(), mode=0o600)


def _locked(entry: Entry, how: int) -> int:
    """The folder of *entry*, opened and locked (*how*: flock's); raises FileNotFoundError when it is gone.

    Another process may remove it, or put it there anew, between the two: then the lock is on what has no name any more.
    """
    while True:
        folder = os.open(entry.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, how)
            if os.path.samestat(os.fstat(folder), entry.folder.stat()):
                return folder
        except BaseException:
            os.close(folder)
            raise
        os.close(folder)


def size_limit() -> int:
    """FACTORY_CACHE_LIMIT in bytes; UsageError when it is no size."""
    chosen = settings.setting("FACTORY_CACHE_LIMIT")
    try:
        return units.parse_size(chosen.value)
    except ValueError as error:
        raise UsageError(
            f"FACTORY_CACHE_LIMIT {error}",
            cause=f"It is {chosen.value!r} (set in {chosen.origin})",
            hint="Write a number and a unit, such as 40GiB",
            code="usage.setting",
        ) from None


def _now() -> datetime:
    return datetime.now(UTC)


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"{text!r} cannot be a folder of the cache")
    return text
