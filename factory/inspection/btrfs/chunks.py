"""The superblock of btrfs, and where its logical addresses lie on the one device that is there."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from factory.inspection.btrfs.checksums import CHECKSUMS, Checksum
from factory.inspection.filesystems import VolumeError

SUPERBLOCK = 65536  # where it lies; Linux reads its copies only on request, so they cannot stand in for it
SIZE = 4096
_MAGIC = b"_BHRfS_M"
_METADATA_UUID = 1 << 10
_READ_HERE = 0x7FF | 1 << 11 | 1 << 16  # incompatible features; RAID is refused by its chunks
_REFUSED = {12: "zones", 13: "the second form of the extent tree", 14: "a tree of stripes"}
_DUMP = 1 << 33 | 1 << 34  # flags
_CHANGING = 1 << 35 | 1 << 36  # its UUID was being changed
_PROFILES = {3: "RAID0", 4: "RAID1", 6: "RAID10", 7: "RAID5", 8: "RAID6", 9: "RAID1C3", 10: "RAID1C4"}
_DUP = 1 << 5
_CHUNKS_LIMIT = 1 << 20
_KEY = struct.Struct("<QBQ")
_CHUNK_HEAD = struct.Struct("<QQQQIIIHH")
_STRIPE = struct.Struct("<QQ16s")

Pread = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Superblock:
    """What of the superblock matters here. Addresses are logical, sizes in bytes."""

    uuid: bytes  # as the nodes have it
    generation: int
    root: int
    root_level: int
    chunk_root: int
    chunk_level: int
    chunk_generation: int
    directory: int  # the directory of the tree of roots, which names the default subvolume
    total: int
    device: int
    sector: int
    node: int
    checksum: Checksum
    system_chunks: bytes = field(repr=False)


def read_superblock(pread: Pread, size: int) -> Superblock:
    """The superblock of the file system that *pread* reads, which has *size* bytes. Raises VolumeError."""
    block = pread(SUPERBLOCK, SIZE)
    if len(block) < SIZE or block[64:72] != _MAGIC:
        raise VolumeError("it has no superblock of btrfs")
    (kind,) = struct.unpack_from("<H", block, 0xC4)
    checksum = CHECKSUMS.get(kind)
    if checksum is None:
        raise VolumeError(f"its checksums are of an unknown kind ({kind})")
    if checksum.of(block[32:]) != block[: checksum.width]:
        raise VolumeError("its superblock has a wrong checksum")
    address, flags, _, generation, root, chunk_root, _, _, total, _, directory, devices = struct.unpack_from(
        "<QQ8sQQQQQQQQQ", block, 0x30
    )
    sector, node = struct.unpack_from("<II", block, 0x90)
    array_size, chunk_generation, _, _, incompatible = struct.unpack_from("<IQQQQ", block, 0xA0)
    (device,) = struct.unpack_from("<Q", block, 0xC9)
    unknown = incompatible & ~_READ_HERE
    if unknown or flags & (_DUMP | _CHANGING):
        named = [name for bit, name in _REFUSED.items() if unknown >> bit & 1]
        named += ["it is a dump without data"] if flags & _DUMP else []
        what = ", ".join(named) or f"{incompatible:#x}, {flags:#x}"
        raise VolumeError(f"it has features that cannot be read here ({what})")
    if devices != 1:
        raise VolumeError(f"it lies on {devices} devices, of which one is here")
    powers = all(number & (number - 1) == 0 for number in (sector, node))
    if address != SUPERBLOCK or not powers or not 4096 <= sector <= node <= 65536 or array_size > 2048:
        raise VolumeError("its superblock is impossible")
    if total > size:
        raise VolumeError(f"it has {total} bytes, and only {size} are there")
    return Superblock(
        uuid=block[0x23B:0x24B] if incompatible & _METADATA_UUID else block[32:48],
        generation=generation,
        root=root,
        root_level=block[0xC6],
        chunk_root=chunk_root,
        chunk_level=block[0xC7],
        chunk_generation=chunk_generation,
        directory=directory,
        total=total,
        device=device,
        sector=sector,
        node=node,
        checksum=checksum,
        system_chunks=block[0x32B : 0x32B + array_size],
    )


class Chunks:
    """The chunks that are known so far: ranges of logical addresses, each with one place or two on the device."""

    def __init__(self, pread: Pread, superblock: Superblock) -> None:
        self._pread = pread
        self._super = superblock
        self._starts: list[int] = []
        self._ranges: list[tuple[int, tuple[int, ...]]] = []  # of each start the length and the places
        data = superblock.system_chunks
        place = 0
        while place < len(data):
            if place + _KEY.size > len(data):
                raise VolumeError("its list of chunks is damaged")
            _, kind, logical = _KEY.unpack_from(data, place)
            if kind != 228:
                raise VolumeError("its list of chunks is damaged")
            place += _KEY.size
            place += self.add(logical, data[place:])

    def add(self, logical: int, item: bytes) -> int:
        """A chunk that begins at *logical* as *item* describes it; one that is known already is left. Its size."""
        if len(item) < _CHUNK_HEAD.size:
            raise VolumeError("a chunk is damaged")
        length, _, _, kind, _, _, _, stripes, _ = _CHUNK_HEAD.unpack_from(item)
        profile = next((name for bit, name in _PROFILES.items() if kind >> bit & 1), "")
        if profile:
            raise VolumeError(f"its data is spread as {profile}, which is not read here")
        end = _CHUNK_HEAD.size + int(stripes) * _STRIPE.size
        if kind >> 11 or stripes != (2 if kind & _DUP else 1) or len(item) < end or not length:
            raise VolumeError("a chunk is damaged")
        places = []
        for device, place, _ in _STRIPE.iter_unpack(item[_CHUNK_HEAD.size : end]):
            if device != self._super.device or place + length > self._super.total:
                raise VolumeError("a chunk does not lie on the device")
            places.append(place)
        index = bisect_right(self._starts, logical)
        if index and self._starts[index - 1] == logical and self._ranges[index - 1] == (length, tuple(places)):
            return end
        before = self._starts[index - 1] + self._ranges[index - 1][0] if index else 0
        after = self._starts[index] if index < len(self._starts) else 1 << 64
        if logical < before or logical + length > after or len(self._starts) >= _CHUNKS_LIMIT:
            raise VolumeError("two chunks lie over each other")
        self._starts.insert(index, logical)
        self._ranges.insert(index, (length, tuple(places)))
        return end

    def copies(self, logical: int, size: int) -> Iterator[bytes]:
        """The *size* bytes at *logical*, once for each copy that the device has. Raises VolumeError."""
        index = bisect_right(self._starts, logical) - 1
        length, places = self._ranges[index] if index >= 0 else (0, ())
        within = logical - self._starts[index] if index >= 0 else 0
        if within + size > length:
            raise VolumeError(f"nothing lies at the address {logical}")
        for place in places:
            data = self._pread(place + within, size)
            if len(data) < size:
                raise VolumeError("it is cut off")
            yield data
