"""What the process that reads an image may answer, checked: it may have been taken over by a hostile image.

Every function raises KeyError, TypeError or ValueError for what is no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.filesystem import FileSystem
from factory.partitions import Partition


@dataclass(frozen=True, slots=True)
class FileStat:
    """What an inode says."""

    inode: int
    kind: str  # file, dir, symlink, char, block, fifo, socket
    mode: int  # permission bits, with set-user-id (0o4000), set-group-id (0o2000) and sticky (0o1000)
    uid: int
    gid: int
    size: int  # bytes
    mtime: float  # seconds since 1970, UTC
    links: int  # names that it has
    partition: int  # number of the partition that it lies on


@dataclass(frozen=True)
class Top:
    """The directory that is mounted somewhere; *path* is where it lies on its own partition, None when it does not."""

    partition: int
    inode: int
    path: str | None
    full: str | None = None  # as *path*, but from the top of all subvolumes


@dataclass(frozen=True)
class Facts:
    """What opening an image told; :class:`factory.inspection.Image` explains each."""

    table: str
    size: int
    faults: tuple[str, ...]
    partitions: tuple[Partition, ...]
    unreadable: dict[int, str]
    root: int | None
    no_root: str
    mounts: dict[str, int | None]
    tops: dict[str, Top]


def facts(answer: dict[str, Any]) -> Facts:
    """The answer to the first request."""
    return Facts(
        table=str(answer["table"]),
        size=int(answer["size"]),
        faults=tuple(map(str, answer["faults"])),
        partitions=tuple(_partition(part) for part in answer["partitions"]),
        unreadable={int(number): str(why) for number, why in answer["unreadable"].items()},
        root=_number(answer["root"]),
        no_root=str(answer["no_root"]),
        mounts={str(place): _number(number) for place, number in answer["mounts"].items()},
        tops={str(place): _top(fields) for place, fields in answer["tops"].items()},
    )


def _top(fields: Sequence[Any]) -> Top:
    partition, inode, *paths = fields
    return Top(int(partition), int(inode), *(None if path is None else str(path) for path in paths))


def _partition(fields: dict[str, Any]) -> Partition:
    system = fields["filesystem"]
    found = None
    if system:
        clean = None if system["clean"] is None else bool(system["clean"])
        free = None if system["free"] is None else int(system["free"])
        kind, label, identity = str(system["kind"]), str(system["label"]), str(system["uuid"])
        inodes = _number(system["inodes"])
        found = FileSystem(kind, label, identity, clean, str(system["fault"]), int(system["size"]), free, inodes)
    number, start, size = int(fields["number"]), int(fields["start"]), int(fields["size"])
    texts = str(fields["type"]), str(fields["uuid"]), str(fields["name"])
    return Partition(number, start, size, *texts, found, bool(fields["bootable"]))


def stat(fields: Sequence[Any]) -> FileStat:
    """One inode of an answer."""
    inode, kind, mode, uid, gid, size, mtime, links, partition = fields
    return FileStat(
        int(inode), str(kind), int(mode), int(uid), int(gid), int(size), float(mtime), int(links), int(partition)
    )


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
