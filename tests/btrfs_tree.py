"""One tree of files of a btrfs that the tests make; see :mod:`tests.btrfs_disk`."""

from __future__ import annotations

import stat
import struct
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import lzallright
import zstandard

from factory.inspection.btrfs.checksums import name_hash

if TYPE_CHECKING:
    from tests.btrfs_disk import Maker

SECTOR = 4096
GENERATION = 7
LAST = (1 << 64) - 1
KINDS = {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFLNK: 7}
CODECS = {"zlib": 1, "lzo": 2, "zstd": 3}

Key = tuple[int, int, int]


def packed(kind: str, data: bytes) -> bytes:
    """*data* as an extent compressed by *kind* holds it."""
    if kind == "zlib":
        return zlib.compress(data)
    if kind == "zstd":
        return zstandard.ZstdCompressor(level=3, write_content_size=False).compress(data)
    out = bytearray(4)
    for start in range(0, len(data), SECTOR):
        piece = lzallright.LZOCompressor().compress(data[start : start + SECTOR])
        if SECTOR - len(out) % SECTOR < 4:
            out += bytes(SECTOR - len(out) % SECTOR)
        out += struct.pack("<I", len(piece)) + piece
    out[:4] = struct.pack("<I", len(out))
    return bytes(out)


@dataclass
class Subvolume:
    """One tree of files. Inode numbers begin with 256, the top directory."""

    maker: Maker
    number: int
    items: dict[Key, bytes] = field(default_factory=dict)
    inodes: dict[int, dict[str, int]] = field(default_factory=dict)
    next: int = 256
    positions: dict[int, int] = field(default_factory=lambda: defaultdict(lambda: 1))

    def __post_init__(self) -> None:
        self._new(stat.S_IFDIR | 0o755)
        self.items[256, 12, 256] = struct.pack("<QH", 0, 2) + b".."

    def folder(self, parent: int, name: bytes, mode: int = 0o755, **fields: int) -> int:
        return self._named(parent, name, stat.S_IFDIR | mode, fields)

    def link(self, parent: int, name: bytes, target: bytes) -> int:
        inode = self._named(parent, name, stat.S_IFLNK | 0o777, {})
        self.inline(inode, target)
        return inode

    def special(self, parent: int, name: bytes, mode: int) -> int:
        return self._named(parent, name, mode, {})

    def file(
        self, parent: int, name: bytes, content: bytes = b"", mode: int = 0o644, compression: str = "", **fields: int
    ) -> int:
        """A file; a small one lies in the tree, a larger one in extents of at most 128 KiB when compressed."""
        inode = self._named(parent, name, stat.S_IFREG | mode, fields)
        if len(content) < 2048:
            if content:
                self.inline(inode, content, compression)
            return inode
        step = 128 << 10 if compression else len(content)
        for start in range(0, len(content), step):
            self.extent(inode, start, content[start : start + step], compression)
        self.inodes[inode]["size"] = len(content)
        return inode

    def hard_link(self, inode: int, parent: int, name: bytes) -> None:
        self._name(parent, name, inode)
        self.inodes[inode]["links"] += 1

    def inline(self, inode: int, content: bytes, compression: str = "") -> None:
        held = packed(compression, content) if compression else content
        head = struct.pack("<QQBBHB", GENERATION, len(content), CODECS.get(compression, 0), 0, 0, 0)
        self.items[inode, 108, 0] = head + held
        self.inodes[inode]["size"] = self.inodes[inode]["bytes"] = len(content)

    def extent(self, inode: int, start: int, content: bytes, compression: str = "", *, checked: bool = True) -> None:
        """An extent of a file at *start*; the size of the file stays."""
        length = -(-len(content) // SECTOR) * SECTOR
        held = packed(compression, content) if compression else content
        address = self.maker.store(held, (self.number, inode, start), checked=checked)
        size = -(-len(held) // SECTOR) * SECTOR
        self.place(inode, start, CODECS.get(compression, 0), 1, length, (address, size, 0, length))
        self.inodes[inode]["bytes"] += length

    def place(
        self, inode: int, start: int, compression: int, kind: int, unpacked: int, where: tuple[int, int, int, int]
    ) -> None:
        """Any extent at all: *where* is address, bytes on the disk, offset in it, bytes in the file."""
        head = struct.pack("<QQBBHB", GENERATION, unpacked, compression, 0, 0, kind)
        self.items[inode, 108, start] = head + struct.pack("<QQQQ", *where)

    def xattr(self, inode: int, name: bytes, value: bytes) -> None:
        key = (inode, 24, name_hash(name))
        entry = struct.pack("<QBQQHHB", 0, 0, 0, GENERATION, len(value), len(name), 8) + name + value
        self.items[key] = self.items.get(key, b"") + entry

    def nest(self, parent: int, name: bytes, other: Subvolume) -> None:
        """*other* is seen at *name* in the directory *parent*."""
        position = self._entry(parent, name, (other.number, 132, LAST), 2)
        reference = struct.pack("<QQH", parent, position, len(name)) + name
        self.maker.roots[self.number, 156, other.number] = reference
        self.maker.roots[other.number, 144, self.number] = reference

    def stale(self, parent: int, name: bytes, other: Subvolume) -> None:
        """A name as a snapshot has it for a subvolume that was in what it was taken of."""
        self._entry(parent, name, (other.number, 132, LAST), 2)

    def finished(self) -> dict[Key, bytes]:
        for number, fields in self.inodes.items():
            self.items[number, 1, 0] = inode_item(**fields)
        return self.items

    def _new(self, mode: int, **fields: int) -> int:
        number = self.next
        self.next += 1
        self.inodes[number] = {"mode": mode, "links": 1, "size": 0, "bytes": 0, **fields}
        return number

    def _named(self, parent: int, name: bytes, mode: int, fields: dict[str, int]) -> int:
        number = self._new(mode, **fields)
        self._name(parent, name, number)
        return number

    def _name(self, parent: int, name: bytes, inode: int) -> None:
        kind = KINDS[stat.S_IFMT(self.inodes[inode]["mode"])]
        position = self._entry(parent, name, (inode, 1, 0), kind)
        reference = struct.pack("<QH", position, len(name)) + name
        key = (inode, 12, parent)
        self.items[key] = self.items.get(key, b"") + reference

    def _entry(self, parent: int, name: bytes, location: Key, kind: int) -> int:
        entry = struct.pack("<QBQQHHB", *location, GENERATION, 0, len(name), kind) + name
        self.positions[parent] += 1
        key = (parent, 84, name_hash(name))
        self.items[key] = self.items.get(key, b"") + entry
        self.items[parent, 96, self.positions[parent]] = entry
        self.inodes[parent]["size"] += 2 * len(name)
        return self.positions[parent]


def inode_item(*, mode: int, links: int, size: int, bytes: int, **fields: int) -> bytes:  # noqa: A002
    """An inode of the format; *fields*: uid, gid, device, flags, mtime in seconds."""
    item = struct.pack("<QQQQQ", GENERATION, GENERATION, size, bytes, 0)
    item += struct.pack("<IIIIQQQ", links, fields.get("uid", 0), fields.get("gid", 0), mode, fields.get("device", 0),
                        fields.get("flags", 0), 0)  # fmt: skip
    return item + b"\0" * 32 + struct.pack("<qI", fields.get("mtime", 1_600_000_000), 500_000_000) * 4
