"""A read-only view of the files inside a disk image, without booting or mounting it.

The image is read by a child process (:mod:`factory.inspection.child`) with no rights and strict limits, because images
may be hostile. Paths are paths of the guest: symbolic links resolve inside it, and its own fstab says which partition
is mounted where. Names that are no UTF-8 come as ``os.fsdecode`` gives them. When something cannot be told, Unreadable
is raised: "could not look" must never pass for "nothing there".
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from factory import files, libraries, run
from factory.errors import BuildError
from factory.inspection import globbing
from factory.inspection.answers import FileStat, Top, facts, stat
from factory.inspection.wire import WireError, receive, send
from factory.partitions import Partition

LIMIT = 16 << 20  # bytes that read() returns unless told otherwise
CHUNK = 4 << 20
ENTRIES_LIMIT = 5_000_000  # files that one walk passes
START = 120  # seconds in which the child loads its libraries, on a busy host
T = TypeVar("T")

_START = "import sys; sys.path.append(sys.argv.pop(1)); from factory.inspection.child import main; main()"


class Unreadable(BuildError):
    """Something in the image cannot be looked at, so nothing can be said about it."""

    code = "inspection.unreadable"


class Absent(Unreadable):
    """A file was to be read, and it is certain that it is not there."""

    code = "inspection.absent"


def open_image(path: Path, *, format: str | None = None, timeout: float = 120) -> Image:  # noqa: A002
    """The image at *path*, to be used in a ``with`` statement. *timeout* is for each answer, in seconds.

    *format* is ``raw`` or ``qcow2`` (without a backing file); without it, the first bytes tell.
    Raises Unreadable when it cannot be opened, HostError when this user may not read it.
    """
    return Image(path, format, timeout)


class Image:
    """An opened image. Every method raises Unreadable; each may be called from any thread.

    *partition* in a method means: only that partition, from its own root, whatever is mounted where.
    """

    def __init__(self, path: Path, image_format: str | None, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._broken = ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
        with files.touching(path, "Reading an image"):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            image_format = image_format or ("qcow2" if os.pread(descriptor, 4, 0) == b"QFI\xfb" else "raw")
            package = str(Path(__file__).resolve().parents[2])
            # -I: nothing of the environment or the current folder may choose the code that runs.
            argv = [sys.executable, "-I", "-B", "-c", _START, package, str(descriptor), image_format]
            self._child = run.start(argv, reason="to read disk images", pass_fds=[descriptor], stderr=self._errors)
        finally:
            os.close(descriptor)
        try:
            self._begin({"do": "open"})
            self._facts = self._exchanged({"do": "open"}, lambda answer, _: facts(answer), sent=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child process; may be called twice."""
        self._broken = self._broken or "it was closed"
        run.end(self._child)
        self._errors.close()

    def partitions(self) -> tuple[Partition, ...]:
        """The partitions by number; number 0 is a whole disk without a table."""
        return self._facts.partitions

    @property
    def table(self) -> str:
        """The kind of partition table: gpt, mbr or none."""
        return self._facts.table

    @property
    def size(self) -> int:
        """Of the virtual disk, in bytes."""
        return self._facts.size

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the partition table."""
        return self._facts.faults

    @property
    def unreadable_partitions(self) -> dict[int, str]:
        """Partitions with a known file system that cannot be read here, and why."""
        return self._facts.unreadable

    def peek(self, offset: int, size: int) -> bytes:
        """Bytes of the disk itself, fewer at its end; *size* is at most 8 MiB."""
        return self._ask({"do": "peek", "offset": offset, "size": size}, lambda _, content: content)

    def mounts(self) -> dict[str, int | None]:
        """Where partitions are mounted: ``{"/": 1, "/boot/efi": 15}``; None when fstab wants one that is not there."""
        if self._facts.root is None:
            raise Unreadable(f"{self.path} has no root file system", cause=self._facts.no_root)
        return {"/": self._facts.root} | self._facts.mounts

    def tops(self) -> dict[str, Top]:
        """The directory that is mounted at each place of mounts() that has a partition: a subvolume, or its root."""
        return dict(self._facts.tops)

    def mounted(self, partition: int, options: Sequence[str]) -> int:
        """The inode of the directory that mounting *partition* with *options*, as in fstab, shows."""
        request = {"do": "mounted", "partition": partition, "options": list(options)}
        return self._ask(request, lambda answer, _: int(answer["inode"]))

    def exists(self, path: str, *, partition: int | None = None) -> bool:
        """Whether the name is there, be it a symbolic link to nothing."""
        return self.stat(path, partition=partition) is not None

    def stat(self, path: str, *, follow: bool = False, partition: int | None = None) -> FileStat | None:
        """What is at *path*, of a symbolic link the link itself unless *follow*; None when nothing is there."""
        request = {"do": "stat", "path": path, "follow": follow, "partition": partition}
        try:
            return self._ask(request, lambda answer, _: stat(answer["entry"]))
        except Absent:
            return None

    def read(self, path: str, *, limit: int = LIMIT, partition: int | None = None) -> bytes:
        """The content of a file. Raises Absent when it is not there, Unreadable when it has more than *limit* bytes."""
        return b"".join(self.chunks(path, partition=partition, limit=limit))

    def head(self, path: str, size: int, *, partition: int | None = None) -> bytes:
        """The first *size* bytes of a file, or all when it has fewer. Raises Absent when it is not there."""
        return self._content(path, 0, size, partition)[1]

    def chunks(
        self, path: str, *, size: int = CHUNK, partition: int | None = None, limit: int | None = None
    ) -> Iterator[bytes]:
        """The content of a file in pieces of *size* bytes, at most 8 MiB. Raises Absent when it is not there."""
        offset = 0
        while True:
            total, piece = self._content(path, offset, size, partition)
            if limit is not None and total > limit:
                raise Unreadable(
                    f"{path} has {total} bytes, more than the {limit} that are read", code="inspection.too-large"
                )
            if piece:
                yield piece
            offset += len(piece)
            if offset >= total:
                return
            if not piece:
                raise Unreadable(f"{path} in {self.path} ends too early")

    def readlink(self, path: str, *, partition: int | None = None) -> str:
        """Where the symbolic link at *path* points. Raises Absent, and Unreadable when it is no symbolic link."""
        request = {"do": "readlink", "path": path, "partition": partition}
        return self._ask(request, lambda answer, _: str(answer["target"]))

    def listdir(self, path: str, *, partition: int | None = None) -> list[str]:
        """The names in a directory, in order. Raises Absent when it is not there."""
        return [name for name, _ in self.scan(path, partition=partition)]

    def scan(self, path: str, *, partition: int | None = None) -> list[tuple[str, FileStat]]:
        """The names in a directory and what each is (symbolic links are not followed). Raises Absent."""
        request = {"do": "scan", "path": path, "partition": partition}
        return self._ask(request, lambda answer, _: [(str(name), stat(rest)) for name, *rest in answer["entries"]])

    def walk(self, path: str = "/", *, partition: int | None = None) -> Iterator[tuple[str, FileStat]]:
        """Every path below *path*, directories before what is in them, by name; nothing when it is not there.

        Symbolic links are not followed, and other partitions are entered where they are mounted. A subvolume that is
        mounted below *path* is walked at that place only, not also in the subvolume that holds it, but there when
        nothing leads to that place.
        """
        top = self.stat(path, follow=True, partition=partition)
        if top is None or top.kind != "dir":
            return
        start = path.rstrip("/")
        mounted = {} if partition is not None else self._mounted_below(start)
        seen = {(start, top.partition, top.inode)}
        entered = {(top.partition, top.inode)}  # of what is mounted, what the walk came to at its place
        elsewhere: list[tuple[str, str, tuple[int, int]]] = []
        left = [(start, start)]
        count = 0
        while left or elsewhere:
            if not left:
                left = [(place, mount) for place, mount, here in elsewhere if here not in entered]
                elsewhere = []
                continue
            folder, mount = left.pop()
            below = []
            for name, found in self.scan(folder or "/", partition=partition):
                count += 1
                if count > ENTRIES_LIMIT:
                    raise Unreadable(f"{self.path} holds more than {ENTRIES_LIMIT} files below {path}")
                place = f"{folder}/{name}"
                yield place, found
                if found.kind != "dir":
                    continue
                here = (found.partition, found.inode)
                own = place if mounted.get(place) == here else mount
                # A damaged or hostile file system can hold a directory in itself, or one in a thousand places.
                if (own, *here) in seen:
                    raise Unreadable(f"{place} in {self.path} has more than one name, which no directory has")
                seen.add((own, *here))
                if own != mount:
                    entered.add(here)
                elif here in mounted.values():
                    elsewhere.append((place, own, here))
                    continue
                below.append((place, own))
            left += below[::-1]

    def _mounted_below(self, path: str) -> dict[str, tuple[int, int]]:
        """The places at and below *path* where something is mounted, and the partition and inode of what that is.

        A place that a walk does not come to (it is missing, or below a symbolic link) is left out.
        """
        mounted = {}
        for place, top in self._facts.tops.items():
            if f"{place.rstrip('/')}/".startswith(f"{path}/"):
                with contextlib.suppress(Unreadable):
                    found = self.stat(place)
                    if found and (found.partition, found.inode) == (top.partition, top.inode):
                        mounted[place] = (top.partition, top.inode)
        return mounted

    def glob(self, pattern: str, *, partition: int | None = None) -> list[str]:
        """Paths that match an absolute *pattern* with ``*``, ``?``, ``[...]`` and ``**`` (any depth), in order.

        As in a shell, a leading dot is matched by ``*`` too. Links to directories are followed where a part is plain.
        """
        return globbing.glob(self, pattern, partition)

    def xattrs(self, path: str, *, partition: int | None = None) -> dict[str, bytes]:
        """The extended attributes of the file itself, such as ``security.selinux``. Raises Absent."""
        request = {"do": "xattrs", "path": path, "partition": partition}
        return self._ask(
            request, lambda answer, _: {str(name): bytes.fromhex(value) for name, value in answer["names"].items()}
        )

    def _content(self, path: str, offset: int, size: int, partition: int | None) -> tuple[int, bytes]:
        request = {"do": "read", "path": path, "offset": offset, "size": size, "partition": partition}
        return self._ask(request, lambda answer, content: (int(answer["size"]), content))

    def _begin(self, request: dict[str, Any]) -> None:
        """Send the first *request* and wait for the child's first word, which it says before it has read anything.

        Raises HostError when it lacks libraries, Unreadable when it says nothing.
        """
        assert self._child.stdin is not None and self._child.stdout is not None
        deadline = time.monotonic() + START
        try:
            send(self._child.stdin.fileno(), request, deadline=deadline)
            word, _ = receive(self._child.stdout.fileno(), deadline)
        except (WireError, EOFError) as error:
            self._broken = self._ending(str(error) or "it ended")
            raise Unreadable(f"{self.path} cannot be read", cause=self._broken) from None
        if "error" in word:
            raise libraries.told(str(word.get("why", "")))

    def _ask(self, request: dict[str, Any], understood: Callable[[dict[str, Any], bytes], T]) -> T:
        """What *understood* makes of the child's answer. Raises Absent and Unreadable."""
        return self._exchanged(request, understood)

    def _exchanged(
        self, request: dict[str, Any], understood: Callable[[dict[str, Any], bytes], T], *, sent: bool = False
    ) -> T:
        with self._lock:
            if self._broken:
                raise Unreadable(f"{self.path} cannot be read any more", cause=self._broken)
            deadline = time.monotonic() + self._timeout
            assert self._child.stdin is not None and self._child.stdout is not None
            try:
                if not sent:
                    send(self._child.stdin.fileno(), request, deadline=deadline)
                answer, content = receive(self._child.stdout.fileno(), deadline)
                if "error" not in answer:
                    return understood(answer, content)
            except (WireError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
                # After a missed answer the next one would be taken for it, so nothing more is asked.
                what = str(error) if isinstance(error, WireError) else "it sent something that is no answer"
                self._broken = self._ending("it ended" if isinstance(error, EOFError) else what)
                raise Unreadable(f"{self.path} cannot be read", cause=self._broken) from None
            except BaseException:
                self._broken = "it was interrupted"
                raise
        path, why = str(request.get("path", "")), str(answer.get("why", ""))
        shown = f"{path} in {self.path}" if path else str(self.path)
        if answer["error"] == "absent":
            raise Absent(f"{path} is not in {self.path}")
        if answer["error"] == "unreadable":
            raise Unreadable(f"{shown} cannot be read", cause=why)
        raise Unreadable(f"{shown} is {str(answer['error']).replace('-', ' ')}")

    def _ending(self, what: str) -> str:
        """What happened to the child process, which is ended if it still runs."""
        run.end(self._child)
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
        return f"The process that reads it: {what}" + (f" ({said[-1]})" if said else "")
