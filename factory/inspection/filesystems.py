"""File systems inside a disk image, as dfVFS opened them; only the inspection's child process imports this.

Names are taken from dfVFS's back ends (SleuthKit for ext and FAT, libfsxfs for XFS) as bytes: dfVFS itself leaves out a
name that is not UTF-8, and what is left out would count as "not there". Directories of ext are parsed here, strictly,
for the same reason. Every method raises VolumeError when it cannot tell.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dfvfs.lib import definitions
from dfvfs.lib import errors as dfvfs_errors
from dfvfs.path import factory as specs
from dfvfs.resolver import resolver

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_TSK_KINDS = {1: "file", 2: "dir", 3: "fifo", 4: "char", 5: "block", 6: "symlink", 8: "socket"}
_TSK_UNALLOCATED = 2
_DIRECTORY_LIMIT = 128 << 20  # bytes of one directory
_XATTR_LIMIT = 60  # libfsext gives zeros for what is longer and outside of the inode
_LINK_LIMIT = 4096


class VolumeError(Exception):
    """The image, a file system or a file cannot be read; the message says which and why."""


@dataclass(frozen=True)
class Entry:
    """What an inode says: kind as in KINDS, permission bits, owner, bytes, modification time (UTC seconds), links."""

    inode: int
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float
    links: int


class Volume:
    """A mounted file system: inodes by number. *root* is the inode of its top directory.

    One with subvolumes has several top directories; *root* is that of the one which a mount without options shows.
    """

    root: int
    folds_case = False

    def tops(self) -> Iterable[int]:
        """Every top directory that can be mounted, *root* first."""
        return (self.root,)

    def mounted(self, options: Sequence[str]) -> int:
        """The top directory that a mount with *options*, as in fstab, shows."""
        return self.root

    @property
    def highest(self) -> int:
        """The top directory that holds all others, which *root* need not be."""
        return self.root

    def path(self, top: int, below: int | None = None) -> str | None:
        """Where a top directory lies below *below* (*root*), such as ``/@``; "" for that itself, None for nowhere."""
        return "" if top == self.root else None

    def entry(self, inode: int) -> Entry:
        raise NotImplementedError

    def names(self, inode: int) -> tuple[dict[str, int], int]:
        """Name -> inode of a directory, in its own order, and how many names could not be read."""
        raise NotImplementedError

    def link(self, entry: Entry) -> str:
        raise NotImplementedError

    def read(self, inode: int, offset: int, size: int) -> bytes:
        raise NotImplementedError

    def xattrs(self, inode: int) -> dict[str, bytes]:
        raise NotImplementedError


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what dfVFS and its back ends raise into a VolumeError about *what*."""
    try:
        yield
    except (
        OSError,
        RuntimeError,
        dfvfs_errors.Error,
        struct.error,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        KeyError,
    ) as error:
        # The back ends append where in their source they were; the first sentence says what happened.
        raise VolumeError(f"{what} cannot be read: {str(error).split('. ')[0]}") from None


class _SleuthKit(Volume):
    """What ext and FAT have in common: files by SleuthKit's inode numbers."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened  # keeps the layers below it alive
        self._fs = opened.GetFsInfo()
        self.root = int(self._fs.info.root_inum)
        self._file = lru_cache(64)(self._open_file)

    def _open_file(self, inode: int) -> Any:
        with translated(f"inode {inode}"):
            found = self._fs.open_meta(inode=inode)
        if found.info.meta is None:
            raise VolumeError(f"inode {inode} cannot be read")
        return found

    def entry(self, inode: int) -> Entry:
        meta = self._file(inode).info.meta
        if int(meta.flags) & _TSK_UNALLOCATED:
            raise VolumeError(f"inode {inode} has a name and is not in use: the file system is damaged")
        kind = _TSK_KINDS.get(int(meta.type))
        if kind is None:
            raise VolumeError(f"inode {inode} is of an unknown kind")
        mtime = int(meta.mtime) + int(meta.mtime_nano) / 1e9
        mode, uid, gid = int(meta.mode) & 0o7777, int(meta.uid), int(meta.gid)
        return Entry(inode, kind, mode, uid, gid, int(meta.size), mtime, int(meta.nlink))

    def read(self, inode: int, offset: int, size: int) -> bytes:
        found = self._file(inode)
        size = min(size, int(found.info.meta.size) - offset)
        if size <= 0:
            return b""
        with translated(f"inode {inode}"):
            data = bytes(found.read_random(offset, size))
        if len(data) != size:
            raise VolumeError(f"only {len(data)} of {size} bytes of inode {inode} could be read")
        return data

    def xattrs(self, inode: int) -> dict[str, bytes]:
        return {}


class Ext(_SleuthKit):
    """ext2, ext3 and ext4; *block_size* in bytes."""

    def __init__(self, opened: Any, parent: Any, resolver_context: Any, block_size: int) -> None:
        super().__init__(opened)
        self._parent, self._context, self._block_size = parent, resolver_context, block_size

    def names(self, inode: int) -> tuple[dict[str, int], int]:
        size = self.entry(inode).size
        if not 0 < size <= _DIRECTORY_LIMIT or size % self._block_size:
            raise VolumeError(f"directory {inode} has an impossible size")
        data = b"".join(self.read(inode, offset, 1 << 20) for offset in range(0, size, 1 << 20))
        found: dict[str, int] = {}
        for block in range(0, size, self._block_size):
            for name, child in _ext_names(data[block : block + self._block_size], inode):
                found[name] = child
        if found.pop(".", 0) != inode or not found.pop("..", 0):
            raise VolumeError(f"directory {inode} is damaged")
        return found, 0

    def link(self, entry: Entry) -> str:
        # SleuthKit knows the short ones, which lie in the inode; a long one has a block of its own.
        short = self._file(entry.inode).info.meta.link
        if short is None and entry.size >= _LINK_LIMIT:
            raise VolumeError(f"symbolic link {entry.inode} has an impossible size")
        return os.fsdecode(bytes(short) if short is not None else self.read(entry.inode, 0, entry.size))

    def xattrs(self, inode: int) -> dict[str, bytes]:
        spec = specs.Factory.NewPathSpec(
            definitions.TYPE_INDICATOR_EXT, inode=inode, location="/?", parent=self._parent
        )
        with translated(f"inode {inode}"):
            entry = resolver.Resolver.OpenFileEntry(spec, resolver_context=self._context)
            found = {item.name: item for item in entry.GetEXTFileEntry().extended_attributes}
            if any(item.size > _XATTR_LIMIT for item in found.values()):
                raise VolumeError(f"inode {inode} has extended attributes that are too long to be read here")
            return {name: bytes(item.read() or b"") for name, item in found.items()}


def _ext_names(block: bytes, inode: int) -> Iterator[tuple[str, int]]:
    """The used entries of a directory's block; index blocks and checksums look like unused ones."""
    place = 0
    while place < len(block):
        child, length, name_size = struct.unpack_from("<IHB", block, place)
        if length == 65535 and len(block) == 65536:
            length = 65536
        if length < 8 + name_size or length % 4 or place + length > len(block):
            raise VolumeError(f"directory {inode} is damaged")
        name = block[place + 8 : place + 8 + name_size]
        if child:
            if not name or b"/" in name or b"\0" in name:
                raise VolumeError(f"directory {inode} holds an impossible name")
            yield os.fsdecode(name), child
        place += length


class Fat(_SleuthKit):
    """FAT12, FAT16 and FAT32, with long names."""

    folds_case = True

    def names(self, inode: int) -> tuple[dict[str, int], int]:
        found: dict[str, int] = {}
        with translated(f"directory {inode}"):
            for item in self._fs.open_dir(inode=inode):
                name, meta = item.info.name, item.info.meta
                if meta is None or int(name.flags) & 2 or int(meta.type) not in (1, 2):
                    continue  # a deleted one, or one of SleuthKit's own ($FAT1, $OrphanFiles)
                # The label of the disk has no short name; a file with blanks in its name always has one.
                label = bytes(name.name).endswith(b" (Volume Label Entry)") and not name.shrt_name
                if bytes(name.name) not in (b".", b"..") and not label:
                    found[os.fsdecode(bytes(name.name))] = int(meta.addr)
        return found, 0

    def link(self, entry: Entry) -> str:
        raise VolumeError("FAT has no symbolic links")


class Xfs(Volume):
    """XFS; of a name that is not UTF-8 it only knows that there is one."""

    def __init__(self, opened: Any, parent: Any) -> None:
        self._opened, self._parent = opened, parent
        with translated("the top directory"):
            self.root = int(opened.GetRootFileEntry().GetXFSFileEntry().inode_number)
        self._file = lru_cache(64)(self._open_file)

    def _open_file(self, inode: int) -> Any:
        spec = specs.Factory.NewPathSpec(
            definitions.TYPE_INDICATOR_XFS, inode=inode, location="/?", parent=self._parent
        )
        with translated(f"inode {inode}"):
            return self._opened.GetXFSFileEntryByPathSpec(spec)

    def entry(self, inode: int) -> Entry:
        found = self._file(inode)
        with translated(f"inode {inode}"):
            mode = int(found.file_mode)
            kind = KINDS.get(stat.S_IFMT(mode))
            if kind is None:
                raise VolumeError(f"inode {inode} is of an unknown kind")
            mtime = found.get_modification_time_as_integer() / 1e9
            uid, gid, links = found.owner_identifier, found.group_identifier, found.number_of_links
            return Entry(inode, kind, mode & 0o7777, uid, gid, int(found.size), mtime, links)

    def names(self, inode: int) -> tuple[dict[str, int], int]:
        directory = self._file(inode)
        found: dict[str, int] = {}
        unreadable = 0
        with translated(f"directory {inode}"):
            for index in range(directory.number_of_sub_file_entries):
                child = directory.get_sub_file_entry(index)
                try:
                    found[child.name] = int(child.inode_number)
                except OSError:  # not UTF-8
                    unreadable += 1
        return found, unreadable

    def link(self, entry: Entry) -> str:
        with translated(f"symbolic link {entry.inode}"):
            return str(self._file(entry.inode).symbolic_link_target)

    def read(self, inode: int, offset: int, size: int) -> bytes:
        found = self._file(inode)
        with translated(f"inode {inode}"):
            size = min(size, int(found.size) - offset)
            data = bytes(found.read_buffer_at_offset(size, offset)) if size > 0 else b""
        if len(data) != max(size, 0):
            raise VolumeError(f"only {len(data)} of {size} bytes of inode {inode} could be read")
        return data

    def xattrs(self, inode: int) -> dict[str, bytes]:
        with translated(f"inode {inode}"):
            found = list(self._file(inode).extended_attributes)
            return {item.name: bytes(item.read() or b"") for item in found}
