"""Copies and digests of large files: nothing is copied that the file system can share, and no hole is filled."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

FICLONE = 0x40049409  # ioctl(2): let the destination share all blocks of the source
BLOCK = 1 << 20  # bytes
NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}

Report = Callable[[int, int], None]
"""Told how many bytes are done, of how many."""


def clone_file(source: Path, destination: Path, *, report: Report | None = None) -> None:
    """Copy *source* to the new file *destination*: shared blocks where possible, else only the data between the holes.

    Raises OSError.
    """
    with source.open("rb") as origin, destination.open("xb") as copy:
        size = os.fstat(origin.fileno()).st_size
        try:
            fcntl.ioctl(copy.fileno(), FICLONE, origin.fileno())
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            _copy_data(origin.fileno(), copy.fileno(), size, report)
            os.truncate(copy.fileno(), size)
    if report:
        report(size, size)


def _copy_data(origin: int, copy: int, size: int, report: Report | None) -> None:
    end = 0
    while True:
        try:
            start = os.lseek(origin, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(origin, start, os.SEEK_HOLE)
        for position in range(start, end, BLOCK):
            _copy_block(origin, copy, position, min(BLOCK, end - position))
            if report:
                report(position, size)


def _copy_block(origin: int, copy: int, position: int, count: int) -> None:
    done = 0
    while done < count:
        at = position + done
        try:
            moved = os.copy_file_range(origin, copy, count - done, at, at)
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            moved = os.pwrite(copy, os.pread(origin, count - done, at), at)
        if not moved:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        done += moved


def file_digest(path: Path, algorithm: str = "sha256", *, report: Report | None = None) -> str:
    """The hex digest of the file *path* by *algorithm* (a name of hashlib); its holes are not read. Raises OSError."""
    digest = hashlib.new(algorithm)
    zeros = bytes(BLOCK)
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        done = data = 0  # data: where the next byte that may not be zero is
        while done < size:
            if data < done:
                data = _data(file.fileno(), done, size)
            if done < data:
                block = memoryview(zeros)[: data - done]
            elif not (block := memoryview(os.pread(file.fileno(), BLOCK, done))):
                break  # the file became shorter
            digest.update(block)
            done += len(block)
            if report:
                report(done, size)
    return digest.hexdigest()


def _data(descriptor: int, place: int, size: int) -> int:
    """Where the data at or behind *place* begins; *size* when only a hole is left."""
    try:
        return os.lseek(descriptor, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size
