"""What files of btrfs hold: inline, on the disk, compressed or not; the data's checksums are verified."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from factory.inspection.btrfs import codecs
from factory.inspection.btrfs.chunks import Chunks, Superblock
from factory.inspection.btrfs.nodes import Key, Nodes, Pointer
from factory.inspection.filesystems import VolumeError

EXTENT = 108  # kind of item
_CHECKSUM = 128
_CHECKSUM_OBJECT = (1 << 64) - 10
_INLINE, _REGULAR, _RESERVED = 0, 1, 2
_HEAD = struct.Struct("<QQBBHB")
_PLACE = struct.Struct("<QQQQ")
_LARGEST_END = 1 << 63
_CACHED = 128  # unpacked extents that are kept


class _Extent(NamedTuple):
    """Bytes *start* to *end* of a file. Without *inline* they begin *skipped* bytes into what lies at *address*."""

    start: int
    end: int
    compression: int = 0
    inline: bytes | None = None
    address: int = 0  # 0: a hole
    stored: int = 0  # bytes on the disk
    skipped: int = 0


class Content:
    """The bytes of files. *checksums* gives the top of the tree of the data's checksums when it is first needed."""

    def __init__(self, chunks: Chunks, nodes: Nodes, superblock: Superblock, checksums: Callable[[], Pointer]) -> None:
        self._chunks, self._nodes, self._super, self._checksums = chunks, nodes, superblock, checksums
        self._unpacked: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def read(self, top: Pointer, inode: int, offset: int, size: int, *, checked: bool) -> bytes:
        """*size* bytes of a file of the tree *top*; what no extent covers is zero. *checked*: they have checksums."""
        end = offset + size
        found = self._nodes.floor(top, (inode, EXTENT, offset))
        first = found[0] if found and found[0][:2] == (inode, EXTENT) else (inode, EXTENT, offset)
        pieces: list[bytes] = []
        place, before = offset, 0
        for key, item in self._nodes.items(top, first, (inode, EXTENT, max(end - 1, 0))):
            extent = self._extent(key, item)
            if extent.start < before:
                raise VolumeError(f"inode {inode} has extents over each other")
            before = extent.end
            stop = min(end, extent.end)
            if stop <= place:
                continue
            if extent.start > place:
                pieces.append(bytes(extent.start - place))
                place = extent.start
            pieces.append(self._bytes(extent, place - extent.start, stop - place, checked))
            place = stop
        pieces.append(bytes(end - place))
        return b"".join(pieces)

    def _extent(self, key: Key, item: bytes) -> _Extent:
        inode, _, start = key
        sector = self._super.sector
        if len(item) < _HEAD.size:
            raise VolumeError(f"inode {inode} has a damaged extent")
        _, unpacked, compression, encryption, encoding, kind = _HEAD.unpack_from(item)
        if encryption or encoding:
            raise VolumeError(f"inode {inode} is encrypted")
        if kind == _INLINE:
            data = item[_HEAD.size :]
            if start or (unpacked > sector if compression else unpacked != len(data)):
                raise VolumeError(f"inode {inode} has a damaged extent")
            return _Extent(0, unpacked, compression, data)
        if kind not in (_REGULAR, _RESERVED) or len(item) != _HEAD.size + _PLACE.size:
            raise VolumeError(f"inode {inode} has a damaged extent")
        address, stored, skipped, length = _PLACE.unpack_from(item, _HEAD.size)
        whole = unpacked if compression else stored
        if (
            any(number % sector for number in (start, address, stored, skipped, length))
            or not length
            or start + length > _LARGEST_END
            or (address and skipped + length > whole)
            or (compression and max(stored, unpacked) > codecs.LARGEST)
        ):
            raise VolumeError(f"inode {inode} has an impossible extent")
        if kind == _RESERVED or not address:
            return _Extent(start, start + length)
        return _Extent(start, start + length, compression, None, address, stored, skipped)

    def _bytes(self, extent: _Extent, offset: int, size: int, checked: bool) -> bytes:
        if extent.inline is not None:
            data = extent.inline
            if extent.compression:
                data = codecs.unpacked(extent.compression, data, self._super.sector).ljust(extent.end, b"\0")
            return data[offset : offset + size]
        if not extent.address:
            return bytes(size)
        offset += extent.skipped
        if extent.compression:
            # The last sector of a file is packed only as far as the file goes.
            return self._unpack(extent, checked)[offset : offset + size].ljust(size, b"\0")
        sector = self._super.sector
        first = offset // sector * sector
        last = -(-(offset + size) // sector) * sector
        data = self._stored(extent.address + first, last - first, checked)
        return data[offset - first : offset - first + size]

    def _unpack(self, extent: _Extent, checked: bool) -> bytes:
        key = extent.address, extent.compression
        data = self._unpacked.get(key)
        if data is None:
            stored = self._stored(extent.address, extent.stored, checked)
            data = codecs.unpacked(extent.compression, stored, self._super.sector)
            if len(self._unpacked) >= _CACHED:
                self._unpacked.popitem(last=False)
            self._unpacked[key] = data
        return data

    def _stored(self, address: int, size: int, checked: bool) -> bytes:
        """Whole sectors of data, from the first copy whose checksums are right."""
        sums = list(self._sums(address, address + size)) if checked else []
        checksum, sector = self._super.checksum, self._super.sector
        for data in self._chunks.copies(address, size):
            if all(
                checksum.of(data[index * sector : (index + 1) * sector]) == expected
                for index, expected in enumerate(sums)
            ):
                return data
        raise VolumeError(f"data at the address {address} has a wrong checksum")

    def _sums(self, start: int, end: int) -> Iterator[bytes]:
        """The checksum of each sector from *start* to *end*."""
        sector, width = self._super.sector, self._super.checksum.width
        top = self._checksums()
        key = (_CHECKSUM_OBJECT, _CHECKSUM, start)
        found = self._nodes.floor(top, key)
        first = found[0] if found and found[0][:2] == key[:2] else key
        for (_, _, place), sums in self._nodes.items(top, first, (*key[:2], end - 1)):
            if place % sector or place > start:
                break
            while start < end and (index := (start - place) // sector * width) < len(sums):
                yield sums[index : index + width]
                start += sector
        if start < end:
            raise VolumeError(f"data at the address {start} has no checksum")
