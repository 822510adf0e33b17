"""How a file is cut into the parts of a multipart upload, and read part by part. Sizes and offsets are in bytes."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MIB = 1 << 20
SMALLEST, LARGEST = 16 * MIB, 512 * MIB  # of a part; S3 itself takes 5 MiB to 5 GiB
FEW = 1000  # parts: some stores list no more at once, or take no more (MAX_PARTS is S3's own limit)
MAX_PARTS = 10_000
BLOCK = MIB


@dataclass(frozen=True)
class Part:
    """One part; *number* counts from 1."""

    number: int
    offset: int
    size: int


def part_size(size: int) -> int:
    """The size of each part but the last: whole MiB, few parts, and never more than 10,000."""
    wanted = min(max(-(-size // FEW), SMALLEST), LARGEST)
    return -(-max(wanted, -(-size // MAX_PARTS)) // MIB) * MIB


def cut(size: int, each: int) -> list[Part]:
    """The parts of a file."""
    return [
        Part(number, offset, min(each, size - offset)) for number, offset in enumerate(range(0, max(size, 1), each), 1)
    ]


def whole_etag(digests: Sequence[bytes]) -> str:
    """The ETag that a store gives to an object of parts with these MD5 digests."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


class Stopped(Exception):
    """Whoever wanted the part does not want it any more."""


class Section(io.RawIOBase):
    """The bytes of one part of the open file *descriptor*, as a file of its own. Threads may share the descriptor.

    *read* is told of each piece as it is taken (negative when the reader goes back), and may raise to end it.
    """

    def __init__(self, descriptor: int, part: Part, report: Callable[[int], None]) -> None:
        self._descriptor, self._part, self._report = descriptor, part, report
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._part.size}[whence]
        target = min(max(start + offset, 0), self._part.size)
        if target < self._at:  # what is sent again was not sent
            self._report(target - self._at)
        self._at = target
        return target

    def read(self, size: int | None = -1) -> bytes:
        rest = self._part.size - self._at
        wanted = rest if size is None or size < 0 else min(size, rest)
        data = os.pread(self._descriptor, wanted, self._part.offset + self._at)
        self._report(len(data))
        self._at += len(data)
        return data

    def __len__(self) -> int:
        return self._part.size


def md5(descriptor: int, part: Part, check: Callable[[], None]) -> bytes:
    """The MD5 digest of a part, by which stores know it; *check* is called between blocks and may raise."""
    digest = hashlib.md5(usedforsecurity=False)
    for offset in range(part.offset, part.offset + part.size, BLOCK):
        check()
        digest.update(os.pread(descriptor, min(BLOCK, part.offset + part.size - offset), offset))
    return digest.digest()
