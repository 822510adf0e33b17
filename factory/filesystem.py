"""The file system at a place of a disk, told by its first bytes: its kind, its ids, its size, whether it is clean.

Pure Python over one read function, so that hostile bytes can do no more than be wrong. Every offset and size is in
bytes.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass

Pread = Callable[[int, int], bytes]  # (offset, size) -> the bytes there, fewer at the end of the disk

EXT_HAS_JOURNAL = 0x4  # feature_compat
EXT_NEEDS_RECOVERY = 0x4  # feature_incompat
_EXT3_INCOMPAT = 0x16  # filetype, needs_recovery, meta_bg: any other makes it ext4
_EXT3_RO_COMPAT = 0x7
_EXT_64BIT = 0x80
_XFS_RECORD = b"\xfe\xed\xba\xbe"
_XFS_UNMOUNT = 0x20
_XFS_LOG_LIMIT = 2 << 30  # bytes, the largest log that there can be
_XFS_STEP = 1 << 20


@dataclass(frozen=True)
class FileSystem:
    """What a partition holds, as blkid would name it: ext4, xfs, vfat, btrfs, swap, LVM2_member, crypto_LUKS, ..."""

    kind: str
    label: str = ""
    uuid: str = ""  # lower case with dashes; vfat as ``1A2B-3C4D``; empty when it has none
    clean: bool | None = None  # unmounted, with an empty journal or log, not marked dirty (FAT). None: not known
    fault: str = ""  # why it is not clean
    size: int = 0  # bytes; 0 when not known, as for FAT
    free: int | None = None  # bytes (ext, XFS, btrfs)
    inodes: int | None = None  # that are free; only ext has a fixed number of them


def identify(pread: Pread, start: int, size: int) -> FileSystem | None:
    """The file system whose first byte is at *start*; None when no known signature is there."""
    head = pread(start, min(size, 4096))
    block = head[1024:2048]
    if len(block) == 1024 and block[56:58] == b"\x53\xef":
        return _ext(block)
    if head[:4] == b"XFSB":
        return _xfs(head, pread, start)
    if head[510:512] == b"\x55\xaa":
        # The same fields lie 28 bytes further in FAT32.
        for place in (39, 67):
            if head[place + 15 : place + 23] in (b"FAT12   ", b"FAT16   ", b"FAT32   "):
                number = struct.unpack_from("<I", head, place)[0]
                name = _text(head[place + 4 : place + 15]).rstrip()
                serial = f"{number >> 16:04X}-{number & 0xFFFF:04X}"
                dirty = _fat_dirty(head, pread, start)
                label = "" if name == "NO NAME" else name
                return FileSystem("vfat", label, serial, not dirty, "it is marked as not unmounted" if dirty else "")
        if head[3:11] == b"NTFS    ":
            return FileSystem("ntfs", "", head[72:80][::-1].hex().upper())
    if head[4086:4095] in (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND") or head[4086:4096] == b"LINHIB0001":
        return FileSystem("swsuspend", _text(head[1052:1068]), _uuid(head[1036:1052]))
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
            return _btrfs(block)
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
    fault = ""
    if state & 2:
        fault = "it is marked as damaged, so it is checked at the next boot"
    elif incompat & EXT_NEEDS_RECOVERY:
        fault = "its journal holds changes that a boot would replay: the machine was not shut down"
    elif not state & 1:
        fault = "it was not unmounted"
    unit = 1024 << min(struct.unpack_from("<I", block, 24)[0], 6)
    wide = incompat & _EXT_64BIT
    blocks = struct.unpack_from("<I", block, 4)[0] | (struct.unpack_from("<I", block, 0x150)[0] << 32 if wide else 0)
    free = struct.unpack_from("<I", block, 12)[0] | (struct.unpack_from("<I", block, 0x158)[0] << 32 if wide else 0)
    name, number = _text(block[120:136]), _uuid(block[104:120])
    inodes = struct.unpack_from("<I", block, 16)[0]
    return FileSystem(kind, name, number, not fault, fault, blocks * unit, free * unit, inodes)


def _btrfs(block: bytes) -> FileSystem:
    (flags,), (log,) = struct.unpack_from("<Q", block, 56), struct.unpack_from("<Q", block, 96)
    size, used = struct.unpack_from("<QQ", block, 112)
    fault = ""
    if flags & 4:
        fault = "it is marked as damaged"
    elif log:
        fault = "its log holds changes that a boot would replay: the machine was not shut down"
    free = size - used if 0 < used <= size else None
    return FileSystem("btrfs", _text(block[299:555]), _uuid(block[32:48]), not fault, fault, size, free)


def _fat_dirty(head: bytes, pread: Pread, start: int) -> bool:
    sector, reserved = struct.unpack_from("<H", head, 11)[0], struct.unpack_from("<H", head, 14)[0]
    table = pread(start + sector * reserved, 8)
    if len(table) < 8 or head[54:62] == b"FAT12   ":
        return False
    if head[82:90] == b"FAT32   ":
        return not struct.unpack_from("<I", table, 4)[0] & 0x08000000
    return not struct.unpack_from("<H", table, 2)[0] & 0x8000


def _xfs(head: bytes, pread: Pread, start: int) -> FileSystem:
    unit, blocks = struct.unpack_from(">IQ", head, 4)
    log, (log_blocks,) = struct.unpack_from(">Q", head, 48)[0], struct.unpack_from(">I", head, 96)
    per_group, group_bits, free = (
        struct.unpack_from(">I", head, 84)[0],
        head[124],
        struct.unpack_from(">Q", head, 144)[0],
    )
    clean: bool | None = None
    if log and unit in range(512, 65537) and group_bits < 64 and log_blocks * unit <= _XFS_LOG_LIMIT:
        # A block's number is the group's above so many bits, and the place in the group below.
        place = (log >> group_bits) * per_group + (log & ((1 << group_bits) - 1))
        clean = _xfs_log_clean(pread, start + place * unit, log_blocks * unit)
    fault = "its log holds changes that a boot would replay: the machine was not shut down" if clean is False else ""
    return FileSystem("xfs", _text(head[108:120]), _uuid(head[32:48]), clean, fault, blocks * unit, free * unit)


def _xfs_log_clean(pread: Pread, place: int, size: int) -> bool | None:
    """Whether the newest record of the log says that the file system was unmounted; None when there is no record."""
    newest, at = -1, 0
    for offset in range(0, size, _XFS_STEP):
        piece = pread(place + offset, _XFS_STEP)
        found = piece.find(_XFS_RECORD)
        while found >= 0:
            if found % 512 == 0 and len(piece) >= found + 24:
                number = struct.unpack_from(">Q", piece, found + 16)[0]
                if number > newest:
                    newest, at = number, place + offset + found
            found = piece.find(_XFS_RECORD, found + 1)
    if newest < 0:
        return None
    header = pread(at, 512)
    length, version = struct.unpack_from(">I", header, 12)[0], struct.unpack_from(">I", header, 8)[0] & 2
    stride = struct.unpack_from(">I", header, 320)[0] if version and length else 32768
    operation = pread(at + 512 * max(1, -(-stride // 32768)), 12)
    return len(operation) == 12 and bool(operation[9] & _XFS_UNMOUNT)


def _uuid(data: bytes) -> str:
    return str(uuid.UUID(bytes=data)) if any(data) else ""


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("utf-8", "replace")
