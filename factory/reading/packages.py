"""The packages that are installed, from the database of dpkg, rpm (SQLite, ndb, Berkeley DB) or apk, and snaps.

A package that dpkg only remembers (``deinstall ok config-files``) is not installed. A database in a form that cannot
be read here raises Unreadable: only rules that need it fail by it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from factory.inspection import Absent, Unreadable
from factory.processes import mark
from factory.reading import berkeley

if TYPE_CHECKING:
    from factory.inspection import Image

LIMIT = 512 << 20  # bytes of a database
STEPS = 50_000_000  # of SQLite, before a hostile database is given up

_DPKG = "/var/lib/dpkg/status"
_DPKG_PARTS = "/var/lib/dpkg/status.d"
_APK = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_RPM = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_SNAPS = "/var/lib/snapd/snaps"
_NAME, _VERSION, _RELEASE = 1000, 1001, 1002


@dataclass(frozen=True)
class Packages:
    """*system* is dpkg, rpm, apk or empty; *installed* has each package's version by its name; *where* the database."""

    system: str
    where: str
    installed: Mapping[str, str] = field(default_factory=dict)
    snaps: tuple[str, ...] = ()

    def evidence(self, name: str) -> str:
        """Where it is written that *name* is installed."""
        return f"{self.where}: {name} {self.installed[name]}"


def read(image: Image) -> Packages:
    """What is installed. Raises Unreadable."""
    snaps = _snaps(image)
    if image.exists(_DPKG) or image.exists(_DPKG_PARTS):
        return Packages("dpkg", _DPKG, dict(_dpkg(image)), snaps)
    for path in _APK:
        if image.exists(path):
            return Packages("apk", path, dict(_apk(image, path)), snaps)
    for folder in _RPM:
        for name, reader in (("rpmdb.sqlite", _sqlite), ("Packages.db", _ndb), ("Packages", _berkeley)):
            if image.exists(f"{folder}/{name}"):
                found = (_header(blob) for blob in reader(image, f"{folder}/{name}"))
                return Packages("rpm", f"{folder}/{name}", {n: v for n, v in found if n != "gpg-pubkey"}, snaps)
    return Packages("", "", {}, snaps)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The fields of each paragraph; lines that continue a field are left out."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(line.split(":", 1) for line in paragraph.splitlines() if ":" in line and not line[0].isspace())
        if fields:
            yield {name: value.strip() for name, value in fields.items()}


def _dpkg(image: Image) -> Iterator[tuple[str, str]]:
    paths = [_DPKG] if image.exists(_DPKG) else []
    paths += [f"{_DPKG_PARTS}/{name}" for name in _names(image, _DPKG_PARTS) if not name.endswith(".md5sums")]
    for path in paths:
        for fields in stanzas(os.fsdecode(image.read(path, limit=LIMIT))):
            state = fields.get("Status", "install ok installed").split()[-1:]
            if "Package" in fields and state not in (["config-files"], ["not-installed"]):
                yield fields["Package"], fields.get("Version", "")


def _apk(image: Image, path: str) -> Iterator[tuple[str, str]]:
    for fields in stanzas(os.fsdecode(image.read(path, limit=LIMIT))):
        if "P" in fields:
            yield fields["P"], fields.get("V", "")


def _snaps(image: Image) -> tuple[str, ...]:
    names = [name for name in _names(image, _SNAPS) if name.endswith(".snap")]
    return tuple(sorted({name.rpartition("_")[0] for name in names}))


def _names(image: Image, folder: str) -> list[str]:
    try:
        return image.listdir(folder)
    except Absent:
        return []


def _sqlite(image: Image, path: str) -> Iterator[bytes]:
    """The headers in rpm's SQLite database, which is copied: SQLite wants its write-ahead log beside it."""
    with tempfile.TemporaryDirectory(prefix=f"image-factory-{mark()}-") as folder:
        copy = Path(folder) / "rpmdb.sqlite"
        for suffix in ("", "-wal"):
            if suffix and not image.exists(f"{path}{suffix}"):
                continue
            with open(f"{copy}{suffix}", "wb") as file:
                for piece in image.chunks(f"{path}{suffix}", limit=LIMIT):
                    file.write(piece)
        left = [STEPS // 1000]

        def passed() -> bool:
            left[0] -= 1
            return left[0] < 0

        try:
            database = sqlite3.connect(copy)
            try:
                database.set_progress_handler(passed, 1000)
                database.execute("PRAGMA trusted_schema=OFF")
                kind = database.execute("SELECT type FROM sqlite_master WHERE name='Packages'").fetchone()
                if kind != ("table",):
                    raise Unreadable(f"{path} is no database of rpm")
                for (blob,) in database.execute("SELECT blob FROM Packages"):
                    yield bytes(blob)
            finally:
                database.close()
        except (sqlite3.Error, TypeError) as error:
            raise Unreadable(f"{path} cannot be read", cause=str(error)) from None


def _ndb(image: Image, path: str) -> Iterator[bytes]:
    """The headers in rpm's ndb: pages of slots, each of which says at which block of 16 bytes its header begins."""
    content = image.read(path, limit=LIMIT)
    if len(content) < 32 or content[:4] != b"RpmP":
        raise Unreadable(f"{path} is no database of rpm")
    pages = struct.unpack_from("<I", content, 12)[0]
    for offset in range(32, min(pages * 4096, len(content) - 15), 16):
        magic, number, block, _ = struct.unpack_from("<4sIII", content, offset)
        if magic != b"Slot":
            raise Unreadable(f"{path} is damaged")
        if not number:
            continue
        head = content[block * 16 : block * 16 + 16]
        if len(head) < 16 or head[:4] != b"BlbS" or struct.unpack_from("<I", head, 4)[0] != number:
            raise Unreadable(f"{path} is damaged")
        size = struct.unpack_from("<I", head, 12)[0]
        yield content[block * 16 + 16 : block * 16 + 16 + size]


def _berkeley(image: Image, path: str) -> Iterator[bytes]:
    """The headers in rpm's Berkeley database, whose keys are their numbers; number 0 holds the last one given out."""
    try:
        for key, value in berkeley.HashDatabase(image.read(path, limit=LIMIT)).pairs():
            if any(key):
                yield value
    except berkeley.BerkeleyError as error:
        raise Unreadable(f"{path} cannot be read", cause=str(error)) from None


def _header(blob: bytes) -> tuple[str, str]:
    """Name and version in one header of rpm. Raises Unreadable."""
    try:
        count, size = struct.unpack_from(">II", blob)
        data = blob[8 + 16 * count : 8 + 16 * count + size]
        values = {}
        for index in range(min(count, 1000)):
            tag, _, offset, _ = struct.unpack_from(">IIII", blob, 8 + 16 * index)
            if tag in (_NAME, _VERSION, _RELEASE):
                values[tag] = data[offset : data.index(b"\0", offset)].decode("utf-8", "replace")
        return values[_NAME], "-".join(values[tag] for tag in (_VERSION, _RELEASE) if tag in values)
    except (struct.error, ValueError, KeyError):
        raise Unreadable("the database of rpm holds something that is no package") from None
