"""The partition table of a disk and what lies in each partition, read from the bytes of a raw image.

Pure Python over one read function, so that hostile bytes can do no more than be wrong. GPT (its backup header too) and
MBR with logical partitions. Every offset and size is in bytes. A damaged table is told in ``Table.faults``, not raised.
"""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Pread = Callable[[int, int], bytes]  # (offset, size) -> the bytes there, fewer at the end of the disk

EXT_HAS_JOURNAL = 0x4  # feature_compat
EXT_NEEDS_RECOVERY = 0x4  # feature_incompat
_EXT3_INCOMPAT = 0x16  # filetype, needs_recovery, meta_bg: any other makes it ext4
_EXT3_RO_COMPAT = 0x7
_EXTENDED = (0x05, 0x0F, 0x85)
_MBR_LIMIT = 128  # logical partitions followed before the chain is called a loop


@dataclass(frozen=True)
class FileSystem:
    """What a partition holds, as blkid would name it: ext4, xfs, vfat, btrfs, swap, LVM2_member, crypto_LUKS, ..."""

    kind: str
    label: str = ""
    uuid: str = ""  # lower case with dashes; vfat as ``1A2B-3C4D``; empty when it has none
    clean: bool | None = None  # ext only: unmounted, with an empty journal. None: not known


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


@dataclass(frozen=True)
class Table:
    """The partition table: ``gpt``, ``mbr`` or ``none``; its partitions by number; what is wrong with it."""

    kind: str
    partitions: tuple[Partition, ...] = ()
    faults: tuple[str, ...] = ()
    size: int = 0  # of the disk, bytes


def of_file(path: Path) -> Table:
    """The table of the raw image at *path*. Raises OSError when it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_table(lambda offset, size: os.pread(descriptor, size, offset), os.fstat(descriptor).st_size)
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


def identify(pread: Pread, start: int, size: int) -> FileSystem | None:
    """The file system whose first byte is at *start*; None when no known signature is there."""
    head = pread(start, min(size, 4096))
    block = head[1024:2048]
    if len(block) == 1024 and block[56:58] == b"\x53\xef":
        return _ext(block)
    if head[:4] == b"XFSB":
        return FileSystem("xfs", _text(head[108:120]), _uuid(head[32:48]))
    if head[510:512] == b"\x55\xaa":
        # The same fields lie 28 bytes further in FAT32.
        for place in (39, 67):
            if head[place + 15 : place + 23] in (b"FAT12   ", b"FAT16   ", b"FAT32   "):
                number = struct.unpack_from("<I", head, place)[0]
                name = _text(head[place + 4 : place + 15]).rstrip()
                serial = f"{number >> 16:04X}-{number & 0xFFFF:04X}"
                return FileSystem("vfat", "" if name == "NO NAME" else name, serial)
        if head[3:11] == b"NTFS    ":
            return FileSystem("ntfs", "", head[72:80][::-1].hex().upper())
    if head[4086:4096] in (b"SWAPSPACE2", b"SWAP-SPACE"):
        return FileSystem("swap", _text(head[1052:1068]), _uuid(head[1036:1052]))
    for sector in range(0, 2048, 512):
        if head[sector : sector + 8] == b"LABELONE" and head[sector + 24 : sector + 32] == b"LVM2 001":
            return FileSystem("LVM2_member")
    if head[:6] == b"LUKS\xba\xbe":
        return FileSystem("crypto_LUKS", "", _text(head[168:208]))
    if head[:4] == b"hsqs":
        return FileSystem("squashfs")
    # Past the end of a small partition other bytes would be read: look there only when it is large enough.
    if size >= 65536 + 4096:
        block = pread(start + 65536, 4096)
        if block[64:72] == b"_BHRfS_M":
            return FileSystem("btrfs", _text(block[299:555]), _uuid(block[32:48]))
        if pread(start + 32769, 5) == b"CD001":
            return FileSystem("iso9660", _text(pread(start + 32808, 32)).rstrip())
    return None


def _ext(block: bytes) -> FileSystem:
    compat, incompat, ro_compat = struct.unpack_from("<III", block, 92)
    state = struct.unpack_from("<H", block, 58)[0]
    if incompat & ~_EXT3_INCOMPAT or ro_compat & ~_EXT3_RO_COMPAT:
        kind = "ext4"
    else:
        kind = "ext3" if compat & EXT_HAS_JOURNAL else "ext2"
    clean = bool(state & 1) and not state & 2 and not incompat & EXT_NEEDS_RECOVERY
    return FileSystem(kind, _text(block[120:136]), _uuid(block[104:120]), clean)


def _gpt(pread: Pread, size: int, sector: int) -> Table:
    faults: list[str] = []
    for name, place in (("primary", sector), ("backup", size - sector)):
        found = _gpt_header(pread, place, sector)
        if isinstance(found, str):
            faults.append(f"the {name} GPT header {found}")
            continue
        entries, width = found
        partitions = []
        for number in range(1, len(entries) // width + 1):
            entry = entries[(number - 1) * width :][:width]
            first, last = struct.unpack_from("<QQ", entry, 32)
            if entry[:16] == bytes(16):
                continue
            if last < first or (last + 1) * sector > size:
                faults.append(f"partition {number} does not lie on the disk")
                continue
            partitions.append(
                _with_filesystem(
                    pread,
                    Partition(
                        number,
                        first * sector,
                        (last + 1 - first) * sector,
                        str(uuid.UUID(bytes_le=entry[:16])),
                        str(uuid.UUID(bytes_le=entry[16:32])),
                        entry[56:128].decode("utf-16-le", "replace").split("\0")[0],
                    ),
                )
            )
        return Table("gpt", tuple(partitions), tuple(faults), size)
    return Table("gpt", (), tuple(faults), size)


def _gpt_header(pread: Pread, place: int, sector: int) -> tuple[bytes, int] | str:
    """The entries and the width of one entry, or what is wrong with the header at *place*."""
    header = pread(place, sector)
    if header[:8] != b"EFI PART" or len(header) < 92:
        return "is not there"
    length, checksum = struct.unpack_from("<II", header, 12)
    if not 92 <= length <= sector or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != checksum:
        return "has a wrong checksum"
    lba, count, width, checksum = struct.unpack_from("<QIII", header, 72)
    if width % 128 or not 128 <= width <= 4096 or not 0 < count * width <= 1 << 20:
        return "describes an impossible table"
    entries = pread(lba * sector, count * width)
    if len(entries) != count * width or zlib.crc32(entries) != checksum:
        return "has a table with a wrong checksum"
    return entries, width


def _mbr(pread: Pread, size: int, first: bytes) -> Table:
    disk = struct.unpack_from("<I", first, 440)[0]
    partitions: list[Partition] = []
    faults: list[str] = []
    for number, (kind, start, length) in _mbr_entries(pread, first, faults):
        if start < 512 or start + length > size:
            faults.append(f"partition {number} does not lie on the disk")
            continue
        partition = Partition(number, start, length, f"{kind:#04x}", f"{disk:08x}-{number:02x}")
        partitions.append(_with_filesystem(pread, partition))
    return Table("mbr", tuple(partitions), tuple(faults), size)


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


def _uuid(data: bytes) -> str:
    return str(uuid.UUID(bytes=data)) if any(data) else ""


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("utf-8", "replace")
