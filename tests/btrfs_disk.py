"""btrfs file systems made in the tests, with what mkfs.btrfs of Debian 12 cannot make: subvolumes and compression.

Every tree is written in full, so ``btrfs check`` can prove that it is a true btrfs; tests do. Of one device; sizes and
places in bytes. :meth:`Maker.sign` renews checksums after a change, for images that are damaged and look whole.
"""

from __future__ import annotations

import stat
import struct
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.inspection.btrfs.checksums import CHECKSUMS, name_hash
from tests.btrfs_tree import GENERATION, LAST, SECTOR, Key, Subvolume, inode_item

MIB = 1 << 20
SHIFT = 1 << 28  # logical addresses are so much larger than places
DATA_RELOC = (1 << 64) - 9
CSUM_OBJECT = (1 << 64) - 10
FSID, CHUNK_UUID, DEVICE_UUID = (uuid.UUID(int=number).bytes for number in (0x1111, 0x2222, 0x3333))
SYSTEM, METADATA, DATA = 2, 4, 1
AREAS = {SYSTEM: (1 * MIB, 4 * MIB), METADATA: (8 * MIB, 12 * MIB), DATA: (36 * MIB, 24 * MIB)}
SIZE = 64 * MIB


@dataclass
class Extent:
    """Data on the disk: of which tree, inode and offset in the file."""

    address: int
    size: int
    owner: tuple[int, int, int]
    checked: bool


@dataclass
class Maker:
    """A file system to be: *checksum* is a number of the format, *dup* keeps metadata twice."""

    node: int = 16384
    checksum: int = 0
    dup: bool = False
    label: bytes = b"root"
    uuid: bytes = FSID
    default: int = 5
    trees: dict[int, Subvolume] = field(default_factory=dict)
    snapshots: dict[int, int] = field(default_factory=dict)  # number to that of its source
    roots: dict[Key, bytes] = field(default_factory=dict)
    extents: list[Extent] = field(default_factory=list)
    data: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)  # of each node's address its place
    changed: dict[str, Any] = field(default_factory=dict)  # of the superblock
    _next: dict[int, int] = field(default_factory=lambda: {kind: place for kind, (place, _) in AREAS.items()})

    def subvolume(self, number: int = 5) -> Subvolume:
        self.trees[number] = Subvolume(self, number)
        return self.trees[number]

    def snapshot(self, source: Subvolume, number: int) -> Subvolume:
        """A snapshot of a tree of more than one node: all of them but the top one belong to both."""
        self.snapshots[number] = source.number
        return Subvolume(self, number)

    def store(self, content: bytes, owner: tuple[int, int, int], *, checked: bool) -> int:
        size = -(-len(content) // SECTOR) * SECTOR
        place = self._take(DATA, size)
        self.data[place] = content.ljust(size, b"\0")
        self.extents.append(Extent(place + SHIFT, size, owner, checked))
        return place + SHIFT

    def write(self, path: Path, offset: int = 0) -> Path:
        """The file system, at *offset* of the file at *path*."""
        trees = {number: tree.finished() for number, tree in self.trees.items()}
        trees |= {
            7: self._sums(),
            DATA_RELOC: Subvolume(self, DATA_RELOC).finished(),
            4: _device_extents(self._areas()),
        }
        reserved = {number: self._reserve(items, METADATA) for number, items in trees.items()}
        for number, source in self.snapshots.items():
            assert reserved[source][-1][1], "the source has one node only"
            reserved[number] = [(self._take(METADATA, self.node) + SHIFT, reserved[source][-1][1])]
        trees[3] = self._chunk_items()
        reserved[3] = self._reserve(trees[3], SYSTEM)
        tops = {number: nodes[-1] for number, nodes in reserved.items()} | {2: (0, 0)}
        reserved[1] = self._reserve(self._root_items(tops), METADATA)
        # The tree of extents holds its own nodes too, so its size is found by trying.
        levels, mark = [1], self._next[METADATA]
        while True:
            self._next[METADATA] = mark
            reserved[2] = self._take_nodes(levels, METADATA)
            trees[2] = self._extent_items(reserved)
            if self._levels(trees[2]) == levels:
                break
            levels = self._levels(trees[2])
        tops[2] = reserved[2][-1]
        trees[1] = self._root_items(tops)
        nodes: dict[int, bytes] = {}
        for number, items in trees.items():
            nodes |= self._nodes(number, items, reserved[number])
        for number, source in self.snapshots.items():
            address, data = reserved[number][0][0], nodes[reserved[source][-1][0]][32:]
            own = data[:16] + struct.pack("<Q", address) + data[24:56] + struct.pack("<Q", number) + data[64:]
            nodes[address] = self._signed(own)
        self.places = {address: address - SHIFT for address in nodes}
        if not path.exists() or path.stat().st_size < offset + SIZE:
            with path.open("ab") as file:
                file.truncate(offset + SIZE)
        with path.open("r+b") as file:
            for place, data in self._copies(nodes):
                file.seek(offset + place)
                file.write(data)
            file.seek(offset + 65536)
            file.write(self._superblock(reserved[1][-1], reserved[3][-1]))
        return path

    def sign(self, disk: bytearray, offset: int = 0) -> None:
        """Make the checksums of the superblock and of every node right again."""
        for place in self.places.values():
            for copy in (place, _twin(place)) if self.dup else (place,):
                _sign(disk, offset + copy, self.node, self.checksum)
        _sign(disk, offset + 65536, 4096, self.checksum)

    def _copies(self, nodes: dict[int, bytes]) -> list[tuple[int, bytes]]:
        found = [*self.data.items(), *((address - SHIFT, data) for address, data in nodes.items())]
        if self.dup:
            found += [(_twin(address - SHIFT), data) for address, data in nodes.items()]
        return found

    def _areas(self) -> dict[int, tuple[int, int, list[int]]]:
        """Of each kind of chunk: address, length, places."""
        found = {}
        for kind, (place, length) in AREAS.items():
            twice = self.dup and kind != DATA
            if kind == SYSTEM and twice:
                length //= 2
            found[kind] = place + SHIFT, length, [place, _twin(place)] if twice else [place]
        return found

    def _take(self, kind: int, size: int) -> int:
        place = self._next[kind]
        start, length = AREAS[kind]
        assert place + size <= start + length, "the area is full"
        self._next[kind] += size
        return place

    def _levels(self, items: dict[Key, bytes]) -> list[int]:
        """How many nodes of each level the items need, leaves first."""
        counts = [len(self._leaves(items))]
        while counts[-1] > 1:
            counts.append(-(-counts[-1] // ((self.node - 101) // 33)))
        return counts

    def _leaves(self, items: dict[Key, bytes]) -> list[list[Key]]:
        groups: list[list[Key]] = [[]]
        left = self.node - 101
        for key in sorted(items):
            size = 25 + len(items[key])
            if size > left:
                groups.append([])
                left = self.node - 101
            groups[-1].append(key)
            left -= size
        return groups

    def _reserve(self, items: dict[Key, bytes], kind: int) -> list[tuple[int, int]]:
        return self._take_nodes(self._levels(items), kind)

    def _take_nodes(self, levels: list[int], kind: int) -> list[tuple[int, int]]:
        return [
            (self._take(kind, self.node) + SHIFT, level) for level, count in enumerate(levels) for _ in range(count)
        ]

    def _nodes(self, number: int, items: dict[Key, bytes], reserved: list[tuple[int, int]]) -> dict[int, bytes]:
        made = {}
        left = iter(reserved)
        below: list[tuple[Key, int]] = []
        for keys in self._leaves(items):
            address, _ = next(left)
            table, data = bytearray(), bytearray()
            for key in keys:
                data[:0] = items[key]
                table += struct.pack("<QBQII", *key, self.node - 101 - len(data), len(items[key]))
            body = bytes(table) + bytes(self.node - 101 - len(table) - len(data)) + bytes(data)
            made[address] = self._header(number, address, len(keys), 0, body)
            below.append((keys[0] if keys else (0, 0, 0), address))
        level, fan = 0, (self.node - 101) // 33
        while len(below) > 1:
            level += 1
            above = []
            for start in range(0, len(below), fan):
                address, _ = next(left)
                group = below[start : start + fan]
                body = b"".join(struct.pack("<QBQQQ", *key, child, GENERATION) for key, child in group)
                made[address] = self._header(number, address, len(group), level, body.ljust(self.node - 101, b"\0"))
                above.append((group[0][0], address))
            below = above
        return made

    def _header(self, number: int, address: int, count: int, level: int, body: bytes) -> bytes:
        head = self.uuid + struct.pack("<QQ", address, 1 | 1 << 56) + CHUNK_UUID
        head += struct.pack("<QQIB", GENERATION, number & LAST, count, level)
        return self._signed(head + body)

    def _signed(self, data: bytes) -> bytes:
        return CHECKSUMS[self.checksum].of(data).ljust(32, b"\0") + data

    def _sums(self) -> dict[Key, bytes]:
        found: dict[Key, bytes] = {}
        checksum = CHECKSUMS[self.checksum]
        for extent in self.extents:
            data = self.data[extent.address - SHIFT]
            sums = [checksum.of(data[at : at + SECTOR]) for at in range(0, extent.size, SECTOR)]
            most = 8192 // checksum.width if self.node > 8192 else 1024 // checksum.width
            for first in range(0, len(sums) if extent.checked else 0, most):
                found[CSUM_OBJECT, 128, extent.address + first * SECTOR] = b"".join(sums[first : first + most])
        return found

    def _chunk_items(self) -> dict[Key, bytes]:
        found = {(1, 216, 1): self._device_item()}
        for kind, (address, length, places) in self._areas().items():
            found[256, 228, address] = _chunk(kind, length, places)
        return found

    def _device_item(self) -> bytes:
        used = sum(length * len(places) for _, length, places in self._areas().values())
        numbers = struct.pack("<QQQIIIQQQIBB", 1, SIZE, used, SECTOR, SECTOR, SECTOR, 0, 0, 0, 0, 0, 0)
        return numbers + DEVICE_UUID + self.uuid

    def _root_items(self, tops: dict[int, tuple[int, int]]) -> dict[Key, bytes]:
        found = dict(self.roots)
        for number, (address, level) in tops.items():
            if number == 3:
                continue
            item = inode_item(mode=stat.S_IFDIR | 0o755, links=1, size=3, bytes=self.node)
            files = number in self.trees or number in self.snapshots
            top = 256 if files or number == DATA_RELOC else 0
            item += struct.pack("<QQQQQQQI", GENERATION, top, address, 0, self.node, 0, 0, 1) + bytes(17)
            item += struct.pack("<BBQ", 0, level, GENERATION)
            item += uuid.UUID(int=0x4444 + number).bytes if files else bytes(16)
            found[number, 132, 0] = item + bytes(439 - len(item))
        found[6, 1, 0] = inode_item(mode=stat.S_IFDIR | 0o755, links=1, size=0, bytes=self.node)
        found[6, 12, 6] = struct.pack("<QH", 0, 2) + b".."
        entry = struct.pack("<QBQQHHB", self.default, 132, LAST, GENERATION, 0, 7, 2) + b"default"
        found[6, 84, name_hash(b"default")] = entry
        return found

    def _extent_items(self, reserved: dict[int, list[tuple[int, int]]]) -> dict[Key, bytes]:
        found: dict[Key, bytes] = {}
        used = dict.fromkeys(AREAS, 0)
        for number, nodes in reserved.items():
            sharing = [each for each, source in self.snapshots.items() if source == number]
            for address, level in nodes:
                owners = sorted([number & LAST, *(sharing if level == nodes[-1][1] - 1 else [])], reverse=True)
                found[address, 169, level] = struct.pack("<QQQ", len(owners), GENERATION, 2) + b"".join(
                    struct.pack("<BQ", 176, owner) for owner in owners
                )
                used[SYSTEM if number == 3 else METADATA] += self.node
        for extent in self.extents:
            head = struct.pack("<QQQB", 1, GENERATION, 1, 178)
            found[extent.address, 168, extent.size] = head + struct.pack("<QQQI", *extent.owner, 1)
            used[DATA] += extent.size
        self._used = sum(used.values())
        for kind, (address, length, places) in self._areas().items():
            flags = kind | (32 if len(places) > 1 else 0)
            found[address, 192, length] = struct.pack("<QQQ", used[kind], 256, flags)
        return found

    def _superblock(self, root: tuple[int, int], chunks: tuple[int, int]) -> bytes:
        address, length, places = self._areas()[SYSTEM]
        array = struct.pack("<QBQ", 256, 228, address) + _chunk(SYSTEM, length, places)
        fields = {
            "flags": 1, "total": SIZE, "devices": 1, "sector": SECTOR, "node": self.node,
            "incompatible": 1 | 2 | 8 | 16 | 32 | 64 | 256 | 512, "log": 0,
        } | self.changed  # fmt: skip
        block = self.uuid + struct.pack("<QQ8s", 65536, fields["flags"], b"_BHRfS_M")
        block += struct.pack("<QQQQQ", GENERATION, root[0], chunks[0], fields["log"], 0)
        block += struct.pack("<QQQQ", fields["total"], self._used, 6, fields["devices"])
        block += struct.pack(
            "<IIIIIQ", fields["sector"], fields["node"], fields["node"], SECTOR, len(array), GENERATION
        )
        block += struct.pack("<QQQHBBB", 0, 0, fields["incompatible"], self.checksum, root[1], chunks[1], 0)
        block += self._device_item() + self.label.ljust(256, b"\0")
        block += struct.pack("<QQ", 0, 0) + bytes(240) + array.ljust(2048, b"\0")
        return self._signed(block.ljust(4096 - 32, b"\0"))


def _twin(place: int) -> int:
    """With DUP, where the second copy of metadata lies."""
    return place + (2 * MIB if place < AREAS[METADATA][0] else AREAS[METADATA][1])


def _device_extents(areas: dict[int, tuple[int, int, list[int]]]) -> dict[Key, bytes]:
    found: dict[Key, bytes] = {}
    for address, length, places in areas.values():
        for place in places:
            found[1, 204, place] = struct.pack("<QQQQ", 3, 256, address, length) + CHUNK_UUID
    return found


def _chunk(kind: int, length: int, places: list[int]) -> bytes:
    flags = kind | (32 if len(places) > 1 else 0)
    head = struct.pack("<QQQQIIIHH", length, 2, 65536, flags, 65536, 65536, SECTOR, len(places), 0)
    return head + b"".join(struct.pack("<QQ", 1, place) + DEVICE_UUID for place in places)


def _sign(disk: bytearray, place: int, size: int, checksum: int) -> None:
    data = bytes(disk[place + 32 : place + size])
    disk[place : place + 32] = CHECKSUMS[checksum].of(data).ljust(32, b"\0")
