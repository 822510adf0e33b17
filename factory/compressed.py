"""Compressed files of an image, unpacked as a stream: gzip, bzip2, xz, lzma, zstd, lz4, and initramfs images.

gzip, bzip2, xz and lzma by Python's own modules; zstd and lz4 by the programs of that name, within limits. Everything
passes in pieces of about a megabyte, so size does not matter. NotOpened says why something could not be unpacked.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import threading
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from factory import run
from factory.errors import HostError

REASON = "to search compressed files"
PIECE = 1 << 20  # bytes
LARGEST = 4 << 30  # bytes that one file may unpack to
MEMORY = 512 << 20  # bytes for one unpacker

SUFFIXES = frozenset((".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".lzma", ".zst", ".tzst", ".lz4"))
UNKNOWN = {
    ".zip": "a zip archive",
    ".jar": "a zip archive",
    ".whl": "a zip archive",
    ".7z": "a 7-zip archive",
    ".rar": "a rar archive",
    ".lzo": "compressed by lzo",
    ".br": "compressed by brotli",
    ".journal": "a systemd journal, whose fields may be compressed",
    ".squashfs": "a squashfs image",
    ".snap": "a squashfs image",
    ".qcow2": "a disk image",
}
"""Ends of names that mean compressed content which cannot be opened here, and what to call it."""

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"]\0\0", "lzma"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),  # the older form that kernels read
)
_PROGRAMS = {
    "zstd": ("-dcq", "--memory=256MB"),
    "lz4": ("-dcq",),
}
_CPIO = (b"070701", b"070702")
_CPIO_END = b"TRAILER!!!\0"


class NotOpened(Exception):
    """The content cannot be unpacked; the message says why."""


class _Unpacker(Protocol):
    """What zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


def kind_of(head: bytes) -> str | None:
    """The compression of a file that begins with *head* (6 bytes do); None when it is none that is known."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def unpack(kind: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a compressed file. Raises NotOpened, and whatever *pieces* raises."""
    return _bounded(_unpack(kind, _Source(pieces)))


def unpack_initramfs(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content of an initramfs: any number of cpio archives, each compressed or not. Raises NotOpened."""
    return _bounded(_initramfs(_Source(pieces)))


class _Source:
    """A stream from which can be read, and to which what was too much can be given back."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def piece(self) -> bytes:
        """The next bytes, however many; none at the end."""
        rest, self._rest = self._rest, b""
        while not rest:
            found = next(self._pieces, None)
            if found is None:
                return b""
            rest = found
        return rest

    def give_back(self, data: bytes) -> None:
        self._rest = data + self._rest

    def read(self, size: int) -> bytes:
        """*size* bytes, fewer only at the end."""
        found = bytearray()
        while len(found) < size:
            piece = self.piece()
            if not piece:
                break
            found += piece
        self.give_back(bytes(found[size:]))
        return bytes(found[:size])

    def skip_zeros(self) -> None:
        while piece := self.piece():
            left = piece.lstrip(b"\0")
            if left:
                self.give_back(left)
                return


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > LARGEST:
            raise NotOpened(f"it unpacks to more than {LARGEST >> 30} GiB")
        yield piece


def _unpack(kind: str, source: _Source) -> Iterator[bytes]:
    if kind in _PROGRAMS:
        yield from _by_program(kind, source)
        return
    while True:
        yield from _member(kind, source)
        source.skip_zeros()  # padding
        head = source.read(6)
        source.give_back(head)
        if kind_of(head) != kind:  # gzip and the others may hold several streams, one after the other
            if head:
                raise NotOpened("something else follows the compressed data")
            return


def _member(kind: str, source: _Source) -> Iterator[bytes]:
    """One compressed stream; what follows it stays in *source*."""
    try:
        if kind == "gzip":
            yield from _gzip_member(source)
            return
        unpacker: bz2.BZ2Decompressor | lzma.LZMADecompressor
        unpacker = bz2.BZ2Decompressor() if kind == "bzip2" else lzma.LZMADecompressor(memlimit=MEMORY)
        while not unpacker.eof:
            data = source.piece() if unpacker.needs_input else b""
            if not data and unpacker.needs_input:
                raise NotOpened("it is cut off")
            yield unpacker.decompress(data, PIECE)
        source.give_back(unpacker.unused_data)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
        raise NotOpened(f"it is damaged ({error})") from None


def _gzip_member(source: _Source) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    while not unpacker.eof:
        data = unpacker.unconsumed_tail or source.piece()
        if not data:
            raise NotOpened("it is cut off")
        yield unpacker.decompress(data, PIECE)
    source.give_back(unpacker.unused_data)


def _by_program(kind: str, source: _Source) -> Iterator[bytes]:
    """All of *source* through a program that knows the format."""
    limits = ("prlimit", f"--as={MEMORY}", "--cpu=600", "--core=0", "--fsize=0")
    try:
        program = [run.find(kind, reason=REASON), *_PROGRAMS[kind]]
        child = run.start([*limits, *program], reason=REASON, package="util-linux")
    except HostError as error:
        raise NotOpened(error.message) from None
    assert child.stdin is not None and child.stdout is not None
    stdin, stdout = child.stdin, child.stdout
    failures: list[BaseException] = []

    def feed() -> None:
        try:
            while data := source.piece():
                left = memoryview(data)
                while left:
                    left = left[stdin.write(left) or 0 :]
        except BrokenPipeError:
            pass  # it says why by its exit status
        except BaseException as error:  # noqa: BLE001 (raised again below, in the thread that reads)
            failures.append(error)
        finally:
            with contextlib.suppress(OSError):
                stdin.close()

    feeder = threading.Thread(target=feed, name=f"to {kind}", daemon=True)
    feeder.start()
    try:
        while data := stdout.read(PIECE):
            yield data
        feeder.join()
        if failures:
            raise failures[0]
        if child.wait():
            raise NotOpened(f"{kind} could not unpack all of it")
    finally:
        run.end(child)
        feeder.join()


def _initramfs(source: _Source) -> Iterator[bytes]:
    while True:
        source.skip_zeros()
        head = source.read(6)
        source.give_back(head)
        if not head:
            return
        kind = kind_of(head)
        if head in _CPIO:
            yield from _cpio(source)
        elif kind in _PROGRAMS:
            yield from _by_program(kind, source)
        elif kind:
            yield from _member(kind, source)
        else:
            raise NotOpened("it holds something that is neither a cpio archive nor compressed in a known way")


def _cpio(source: _Source) -> Iterator[bytes]:
    """One cpio archive as it is, headers included."""
    while True:
        header = source.read(110)
        try:
            if len(header) < 110 or header[:6] not in _CPIO:
                raise ValueError
            size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise NotOpened("its cpio archive is damaged") from None
        name = source.read(name_size + (-(110 + name_size) % 4))
        yield header + name
        left = size + (-size % 4)
        while left:
            data = source.read(min(left, PIECE))
            if not data:
                raise NotOpened("its cpio archive is cut off")
            yield data
            left -= len(data)
        if name.startswith(_CPIO_END):
            return
