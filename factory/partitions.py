"""The partition table of a disk and what lies in each partition, read from the bytes of a raw image.

Pure Python over one read function, so that hostile bytes can do no more than be wrong. GPT (its backup header too) and
MBR with logical partitions. Every offset and size is in bytes. A damaged table is told in ``Table.faults``, not raised.
"""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from factory.filesystem import FileSystem, Pread, identify

_EXTENDED = (0x05, 0x0F, 0x85)
_READ_LIMIT = 64 << 20  # bytes at once
_MBR_LIMIT = 128  # logical partitions followed before the chain is called a loop


@dataclass(frozen=True)
class Partition:
    """One partition; number 0 is a whole disk without a partition table."""

    number: int
    start: int  # bytes from the start of the disk
    size: int  # bytes
    type: str = ""  # GPT: the type's GUID in lower case; MBR: such as ``0x83``
    uuid: str = ""  # PARTUUID, lower case
    name: str = ""  # PARTLABEL
    filesystem: FileSystem | None = None  # None: nothing known was found in it
    bootable: bool = False  # MBR: active; GPT: the attribute for legacy boot


@dataclass(frozen=True)
class Table:
    """The partition table: ``gpt``, ``mbr`` or ``none``; its partitions by number; what is wrong with it."""

    kind: str
    partitions: tuple[Partition, ...] = ()
    faults: tuple[str, ...] = ()
    size: int = 0  # of the disk, bytes


def reader(descriptor: int) -> Pread:
    """A Pread of an open file, for places that a hostile header names: nothing lies where no file can reach."""

    def pread(offset: int, size: int) -> bytes:
        return os.pread(descriptor, min(size, _READ_LIMIT), offset) if 0 <= offset < 1 << 62 and size > 0 else b""

    return pread


def of_file(path: Path) -> Table:
    """The table of the raw image at *path*. Raises OSError when it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_table(reader(descriptor), os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def read_table(pread: Pread, size: int) -> Table:
    """The table of a disk of *size* bytes that *pread* reads."""
    for sector in (512, 4096):
        if pread(sector, 8) == b"EFI PART":
            return _gpt(pread, size, sector)
    first = pread(0, 512)
    whole = identify(pread, 0, size)
    # A FAT boot sector carries the same 55AA signature as an MBR, so a file system at the very start comes first.
    if first[510:512] != b"\x55\xaa" or (whole and not whole.kind.startswith(("ext", "iso"))):
        return Table("none", (Partition(0, 0, size, filesystem=whole),) if whole else (), size=size)
    entries = [first[446 + 16 * index :][:16] for index in range(4)]
    if any(entry[4] == 0xEE for entry in entries):
        if pread(size - 512, 8) == b"EFI PART":
            return _gpt(pread, size, 512)
        return Table("gpt", faults=("the disk says it has a GPT, and neither of its headers is there",), size=size)
    if not any(entry[4] for entry in entries) and whole:
        return Table("none", (Partition(0, 0, size, filesystem=whole),), size=size)
    return _mbr(pread, size, first)


def _gpt(pread: Pread, size: int, sector: int) -> Table:
    faults: list[str] = []
    last = size - sector
    tables: list[bytes] = []
    width = 128
    for name, place in (("primary", sector), ("backup", last)):
        found = _gpt_header(pread, place, sector)
        if isinstance(found, str):
            where = " at the end of the disk" if name == "backup" and found == "is not there" else ""
            faults.append(f"the {name} GPT header {found}{where}")
            continue
        entries, its_width, other = found
        if name == "primary" and other * sector != last:
            faults.append(
                f"the primary GPT header expects its backup in sector {other}, not in {last // sector}, the last"
            )
        if tables and entries != tables[0]:
            faults.append("the backup GPT does not say the same as the primary")
        width = width if tables else its_width
        tables.append(entries)
    if not tables:
        return Table("gpt", (), tuple(faults), size)
    entries, partitions = tables[0], []
    for number in range(1, len(entries) // width + 1):
        entry = entries[(number - 1) * width :][:width]
        first, end = struct.unpack_from("<QQ", entry, 32)
        if entry[:16] == bytes(16):
            continue
        if end < first or (end + 1) * sector > size:
            faults.append(f"partition {number} does not lie on the disk")
            continue
        partitions.append(
            _with_filesystem(
                pread,
                Partition(
                    number,
                    first * sector,
                    (end + 1 - first) * sector,
                    str(uuid.UUID(bytes_le=entry[:16])),
                    str(uuid.UUID(bytes_le=entry[16:32])),
                    entry[56:128].decode("utf-16-le", "replace").split("\0")[0],
                    bootable=bool(entry[48] & 4),
                ),
            )
        )
    return Table("gpt", tuple(partitions), (*_overlaps(partitions), *faults), size)


def _overlaps(partitions: Sequence[Partition]) -> Iterator[str]:
    """Partitions that lie over each other."""
    ordered = sorted(partitions, key=lambda part: part.start)
    for one, other in pairwise(ordered):
        if one.start + one.size > other.start:
            yield f"partitions {one.number} and {other.number} overlap"


def _gpt_header(pread: Pread, place: int, sector: int) -> tuple[bytes, int, int] | str:
    """The entries, the width of one, and the other header's sector; or what is wrong with the header at *place*."""
    header = pread(place, sector)
    if header[:8] != b"EFI PART" or len(header) < 92:
        return "is not there"
    length, checksum = struct.unpack_from("<II", header, 12)
    own, other = struct.unpack_from("<QQ", header, 24)
    if not 92 <= length <= sector or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != checksum:
        return "has a wrong checksum"
    if own * sector != place:
        return f"says it lies in sector {own}, and lies in {place // sector}"
    lba, count, width, checksum = struct.unpack_from("<QIII", header, 72)
    if width % 128 or not 128 <= width <= 4096 or not 0 < count * width <= 1 << 20:
        return "describes an impossible table"
    entries = pread(lba * sector, count * width)
    if len(entries) != count * width or zlib.crc32(entries) != checksum:
        return "has a table with a wrong checksum"
    return entries, width, other


def _mbr(pread: Pread, size: int, first: bytes) -> Table:
    disk = struct.unpack_from("<I", first, 440)[0]
    partitions: list[Partition] = []
    faults: list[str] = []
    for number, (kind, start, length) in _mbr_entries(pread, first, faults):
        if start < 512 or start + length > size:
            faults.append(f"partition {number} does not lie on the disk")
            continue
        active = number <= 4 and first[446 + 16 * (number - 1)] == 0x80
        partition = Partition(number, start, length, f"{kind:#04x}", f"{disk:08x}-{number:02x}", bootable=active)
        partitions.append(_with_filesystem(pread, partition))
    return Table("mbr", tuple(partitions), (*_overlaps(partitions), *faults), size)


def _mbr_entries(pread: Pread, first: bytes, faults: list[str]) -> Iterator[tuple[int, tuple[int, int, int]]]:
    extended = 0
    for index in range(4):
        kind, start, length = _mbr_entry(first, index)
        if kind in _EXTENDED:
            extended = start
        elif kind and length:
            yield index + 1, (kind, start, length)
    place = extended
    for number in range(5, 5 + _MBR_LIMIT):
        table = pread(place, 512) if place else b""
        if table[510:512] != b"\x55\xaa":
            return
        kind, start, length = _mbr_entry(table, 0)
        if kind and length:
            yield number, (kind, place + start, length)
        following, start, _ = _mbr_entry(table, 1)
        place = extended + start if following in _EXTENDED and start else 0
    faults.append(f"more than {_MBR_LIMIT} logical partitions, or a loop of them")


def _mbr_entry(table: bytes, index: int) -> tuple[int, int, int]:
    start, sectors = struct.unpack_from("<II", table, 446 + 16 * index + 8)
    return table[446 + 16 * index + 4], start * 512, sectors * 512


def _with_filesystem(pread: Pread, partition: Partition) -> Partition:
    found = identify(pread, partition.start, partition.size)
    return Partition(**(vars(partition) | {"filesystem": found}))
