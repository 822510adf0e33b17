"""An archive with a disk image in it: ``.oci`` (tar, also gzip), GCP's ``disk.raw`` in a tar.gz, OVA.

It is read once, as a stream; links, absolute paths and paths with ``..`` are faults, and nothing is written but the one
disk, under a name of ours. Everything is counted, so a small file cannot unfold without end.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from factory import disk

METADATA = "image_metadata.json"
MEMBERS = 200  # that are looked at
METADATA_LIMIT = 1 << 20  # bytes
UNFOLDED = 512 << 30  # bytes, in all
LISTED = 64 << 20  # bytes that are unfolded only to see the names
_STEP = 1 << 20
_DISKS = (".qcow2", ".raw", ".vmdk", ".img")


@dataclass
class Archive:
    """What an archive holds. *kind*: oci, tar.gz (one disk.raw), ova, tar or gzip. Sizes in bytes."""

    path: Path
    size: int
    gzipped: bool
    kind: str = "tar"
    names: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    disks: list[str] = field(default_factory=list)  # names of members that are disks
    metadata: bytes | None = None  # of an .oci
    extracted: Path | None = None  # the first disk, when it was asked for

    @property
    def described(self) -> str:
        """What it is, for people."""
        shown = ", ".join(self.names[:4]) + (", ..." if len(self.names) > 4 else "")
        packed = "a gzip file" if self.kind == "gzip" else "a tar archive" + (" in gzip" if self.gzipped else "")
        return f"{packed} ({shown})" if shown else packed


class _Counted:
    """A stream that ends with an error when it gives more than *limit* bytes."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, _STEP) if size > 0 else _STEP)
        self._left -= len(data)
        if self._left < 0:
            raise EOFError("it unfolds to more than is read here")
        return data


def look_inside(path: Path, folder: Path | None = None) -> Archive:
    """What the tar or gzip file *path* holds; its first disk is written into *folder*, if one is given.

    What is wrong with it is told in ``faults``. Raises OSError when it cannot be read, HostError for a full disk.
    """
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        found = Archive(path, os.fstat(file.fileno()).st_size, gzipped)
        stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if gzipped else file
        try:
            with tarfile.open(fileobj=_Counted(stream, UNFOLDED if folder else LISTED), mode="r|") as tar:  # type: ignore[call-overload]
                for number, member in enumerate(tar):
                    if number >= MEMBERS:
                        found.faults.append(f"it holds more than {MEMBERS} members")
                        break
                    _member(found, tar, member, folder)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
            if not found.names and gzipped:
                found.kind = "gzip"
                return found
            found.faults.append(f"it cannot be read to its end: {error}")
    if METADATA in found.names or path.suffix == ".oci":
        found.kind = "oci"
    elif any(name.endswith(".ovf") for name in found.names):
        found.kind = "ova"
    elif gzipped and "disk.raw" in found.names:
        found.kind = "tar.gz"
    return found


def _member(found: Archive, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path | None) -> None:
    name = member.name
    if member.isdir():
        return
    found.names.append(name)
    if name.startswith("/") or ".." in name.split("/"):
        found.faults.append(f"the member {name} would be written outside of its folder")
    if not member.isfile():
        found.faults.append(f"the member {name} is no plain file (a link or a device)")
        return
    source = tar.extractfile(member)
    if source is None:
        return
    if name == METADATA:
        found.metadata = source.read(METADATA_LIMIT)
    elif name.lower().endswith(_DISKS):
        found.disks.append(name)
        if folder is not None and found.extracted is None:
            disk.require_space(folder, min(member.size, found.size * 20), f"the disk in {found.path.name}")
            found.extracted = folder / f"disk{Path(name.lower()).suffix}"
            _write_sparse(source, found.extracted, member.size)


def _write_sparse(source: IO[bytes], path: Path, size: int) -> None:
    with path.open("xb") as file:
        while piece := source.read(_STEP):
            if any(piece):
                file.write(piece)
            else:
                file.seek(len(piece), os.SEEK_CUR)
        file.truncate(max(size, file.tell()) if size < 1 << 46 else file.tell())


def old_gnu(path: Path) -> bool:
    """Whether the first header of the gzipped tar *path* is of GNU's old format, which ``--format=oldgnu`` writes."""
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
        return file.read(265)[257:265] == b"ustar  \0"
    return False
