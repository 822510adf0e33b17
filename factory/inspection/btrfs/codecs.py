"""Compressed extents of btrfs: zlib, LZO and zstd. Each decoder takes the extent and the bytes of a sector.

What follows the compressed data is padding. Raises VolumeError for what is damaged or unpacks to more than an extent
can hold.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import lzallright

from factory.inspection.filesystems import VolumeError
from factory.zstd import decoder

LARGEST = 128 << 10  # bytes of a compressed extent, packed and unpacked
_WINDOW = 128 << 10  # bytes that zstd may look back
_zstd_decode = decoder(_WINDOW)
_lzo_decode = lzallright.LZOCompressor.decompress


def unpacked(kind: int, data: bytes, sector: int) -> bytes:
    """The content of an extent that is compressed by *kind*, a number of the format."""
    found = _KINDS.get(kind)
    if found is None:
        raise VolumeError(f"a file is compressed in an unknown way ({kind})")
    try:
        content = found(data, sector)
    except (zlib.error, ValueError, struct.error, lzallright.LZOError, MemoryError) as error:
        raise VolumeError(f"compressed data of a file is damaged ({str(error) or 'it does not end'})") from None
    if len(content) > LARGEST:
        raise VolumeError("compressed data of a file is damaged (it is too long)")
    return content


def _zlib(data: bytes, _sector: int) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, LARGEST + 1)
    if not unpacker.eof and len(content) <= LARGEST:
        raise ValueError("it is cut off")
    return content


def _zstd(data: bytes, _sector: int) -> bytes:
    return _zstd_decode(data, LARGEST)


def _lzo(data: bytes, sector: int) -> bytes:
    """A length of all, then segments of at most a sector each; a segment's length never lies across two sectors."""
    (total,) = struct.unpack_from("<I", data)
    if not 4 < total <= len(data):
        raise ValueError("its length is impossible")
    content = bytearray()
    place = 4
    while place < total:
        left = sector - place % sector
        if left < 4:
            place += left
            continue
        (size,) = struct.unpack_from("<I", data, place)
        place += 4
        if not 0 < size <= sector + sector // 16 + 69 or place + size > total:
            raise ValueError("a segment has an impossible length")
        piece = bytes(_lzo_decode(data[place : place + size], sector))
        if len(piece) > sector or len(content) + len(piece) > LARGEST:
            raise ValueError("a segment is too long")
        content += piece
        place += size
    return bytes(content)


_KINDS: dict[int, Callable[[bytes, int], bytes]] = {1: _zlib, 2: _lzo, 3: _zstd}
