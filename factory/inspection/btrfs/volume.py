"""A btrfs as a volume: its subvolumes, directories and inodes.

An inode of a volume is the number of its tree (the subvolume) times 2**64 plus its number there: each subvolume
counts from 256 on.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

from factory.inspection.btrfs.checksums import name_hash
from factory.inspection.btrfs.chunks import Chunks, Pread, read_superblock
from factory.inspection.btrfs.content import Content
from factory.inspection.btrfs.nodes import LAST, LEVELS, Nodes, Pointer
from factory.inspection.filesystems import KINDS, Entry, Volume, VolumeError

TOP = 5  # the tree that holds all other subvolumes
SUBVOLUMES_LIMIT = 10_000
_CHUNK_TREE, _CHECKSUM_TREE = 3, 7
_FIRST, _LAST = 256, (1 << 64) - 256  # numbers of subvolumes, and of inodes
_INODE, _NAME, _XATTR, _DIR_ITEM, _DIR_INDEX, _ROOT, _ROOT_PARENT, _ROOT_REF, _CHUNK = (
    1, 12, 24, 84, 96, 132, 144, 156, 228,
)  # fmt: skip
_DEPTH = 1000  # of a subvolume, in directories
_PLACEHOLDER = 2  # number of the empty directory where a snapshot was taken of a subvolume that held another
_SHIFT = 64
_NO_CHECKSUMS = 1  # a flag of inodes
_LINK_LIMIT = 4096
_INODE_HEAD = struct.Struct("<16xQ16xIIII8xQ")
_INODE_SIZE = 160
_MODIFIED = struct.Struct("<qI")
_DIRECTORY_ENTRY = struct.Struct("<QBQ8xHHB")
_ROOT_SIZE = 239  # the form without UUIDs


class Btrfs(Volume):
    """A btrfs on one device. *root* is the top directory of the default subvolume."""

    def __init__(self, pread: Pread, size: int) -> None:
        """*pread* reads the partition, which has *size* bytes. Raises VolumeError."""
        self._super = found = read_superblock(pread, size)
        chunks = Chunks(pread, found)
        if max(found.root_level, found.chunk_level) >= LEVELS:
            raise VolumeError("its superblock is impossible")
        self._nodes = Nodes(chunks, found)
        top = Pointer(found.chunk_root, found.chunk_generation, found.chunk_level)
        for (_, _, logical), item in self._nodes.items(top, (_FIRST, _CHUNK, 0), (_FIRST, _CHUNK, LAST)):
            chunks.add(logical, item)
        self._roots = Pointer(found.root, found.generation, found.root_level)
        self._tree = lru_cache(256)(self._find_tree)
        self._content = Content(chunks, self._nodes, found, lambda: self._tree(_CHECKSUM_TREE))
        self._inode = lru_cache(4096)(self._find_inode)
        self.root = _inode(self._default(), _FIRST)
        self.entry(self.root)

    def tops(self) -> Iterator[int]:
        """The top directories of all subvolumes, the default one first. Raises VolumeError."""
        yield self.root
        count = 0
        for (number, kind, _), item in self._nodes.items(self._roots, (TOP, _ROOT, 0), (_LAST, _ROOT, LAST)):
            if kind == _ROOT and (number == TOP or number >= _FIRST) and _alive(item):
                count += 1
                if count > SUBVOLUMES_LIMIT:
                    raise VolumeError(f"it has more than {SUBVOLUMES_LIMIT} subvolumes")
                if _inode(number, _FIRST) != self.root:
                    yield _inode(number, _FIRST)

    def mounted(self, options: Sequence[str]) -> int:
        """The top directory that a mount with *options* shows: subvol= and subvolid= choose, else the default one."""
        said = dict(option.split("=", 1) for option in options if option.startswith(("subvol=", "subvolid=")))
        found = self.root
        if "subvolid" in said:
            try:
                number = int(said["subvolid"], 0)
            except ValueError:
                raise VolumeError(f"subvolid={said['subvolid']} is no number") from None
            found = _inode(number or TOP, _FIRST)
            if number and number != TOP and not _FIRST <= number <= _LAST:
                raise VolumeError(f"it has no subvolume {number}")
            self.entry(found)
        if "subvol" in said:
            by_path = self._subvolume(said["subvol"])
            if "subvolid" in said and by_path != found:
                raise VolumeError(f"the subvolume {said['subvol']} is not number {said['subvolid']}")
            found = by_path
        return found

    @property
    def highest(self) -> int:
        return _inode(TOP, _FIRST)

    def path(self, top: int, below: int | None = None) -> str | None:
        names: list[str] = []
        while top != (self.root if below is None else below):
            tree, number = divmod(top, 1 << _SHIFT)
            if len(names) > _DEPTH:
                raise VolumeError(f"a subvolume lies in more than {_DEPTH} directories, or in itself")
            if number == _FIRST:
                found = self._nodes.floor(self._roots, (tree, _ROOT_PARENT, LAST))
                if found is None or found[0][:2] != (tree, _ROOT_PARENT) or len(found[1]) < 18:
                    return None
                parent, (directory, _, length) = found[0][2], struct.unpack_from("<QQH", found[1])
                names.append(os.fsdecode(found[1][18 : 18 + length]))
                top = _inode(parent, directory)
            else:
                found = self._nodes.floor(self._tree(tree), (number, _NAME, LAST))
                if found is None or found[0][:2] != (number, _NAME) or len(found[1]) < 10:
                    return None
                (length,) = struct.unpack_from("<H", found[1], 8)
                names.append(os.fsdecode(found[1][10 : 10 + length]))
                top = _inode(tree, found[0][2])
        return "".join(f"/{name}" for name in reversed(names))

    def entry(self, inode: int) -> Entry:
        tree, number = divmod(inode, 1 << _SHIFT)
        if number == _PLACEHOLDER:
            return Entry(inode, "dir", 0o755, 0, 0, 0, 0.0, 1)
        item = self._inode(tree, number)
        size, links, uid, gid, mode, _ = _INODE_HEAD.unpack_from(item)
        kind = KINDS.get(stat.S_IFMT(mode))
        seconds, nanoseconds = _MODIFIED.unpack_from(item, 136)
        if kind is None or size >= 1 << 63 or nanoseconds >= 10**9:
            raise VolumeError(f"inode {number} of tree {tree} is damaged")
        if not links:
            raise VolumeError(f"inode {number} of tree {tree} has a name and is not in use: the file system is damaged")
        return Entry(inode, kind, mode & 0o7777, uid, gid, size, seconds + nanoseconds / 1e9, links)

    def names(self, inode: int) -> tuple[dict[str, int], int]:
        tree, number = divmod(inode, 1 << _SHIFT)
        found: dict[str, int] = {}
        if number == _PLACEHOLDER:
            return found, 0
        # A name stands in a directory twice: by its hash, where it is looked up, and by a number, as it is listed.
        looked_up: dict[bytes, tuple[int, int, int]] = {}
        listed: dict[bytes, tuple[int, int, int]] = {}
        damaged = VolumeError(f"directory {number} of tree {tree} is damaged")
        span = (number, _DIR_ITEM, 0), (number, _DIR_INDEX, LAST)
        for (_, kind, offset), item in self._nodes.items(self._tree(tree), *span):
            held = looked_up if kind == _DIR_ITEM else listed
            for location, name, _ in _entries(item):
                if kind not in (_DIR_ITEM, _DIR_INDEX) or name in held or not name or {47, 0} & set(name):
                    raise damaged
                if name in (b".", b"..") or (kind == _DIR_ITEM and name_hash(name) != offset):
                    raise damaged
                held[name] = location
        if looked_up != listed:
            raise damaged
        for name, (target, kind, _) in listed.items():
            if kind == _INODE and _FIRST <= target <= _LAST:
                found[os.fsdecode(name)] = _inode(tree, target)
            elif kind == _ROOT and _FIRST <= target <= _LAST:
                found[os.fsdecode(name)] = self._nested(tree, number, name, target)
            else:
                raise damaged
        return found, 0

    def link(self, entry: Entry) -> str:
        if entry.size >= _LINK_LIMIT:
            raise VolumeError(f"a symbolic link of {entry.size} bytes is impossible")
        return os.fsdecode(self.read(entry.inode, 0, entry.size))

    def read(self, inode: int, offset: int, size: int) -> bytes:
        tree, number = divmod(inode, 1 << _SHIFT)
        size = min(size, self.entry(inode).size - offset)
        if size <= 0:
            return b""
        flags = _INODE_HEAD.unpack_from(self._inode(tree, number))[-1]
        return self._content.read(self._tree(tree), number, offset, size, checked=not flags & _NO_CHECKSUMS)

    def xattrs(self, inode: int) -> dict[str, bytes]:
        tree, number = divmod(inode, 1 << _SHIFT)
        if number == _PLACEHOLDER:
            return {}
        span = (number, _XATTR, 0), (number, _XATTR, LAST)
        items = self._nodes.items(self._tree(tree), *span)
        return {os.fsdecode(name): value for _, item in items for _, name, value in _entries(item)}

    def _find_inode(self, tree: int, number: int) -> bytes:
        item = self._nodes.find(self._tree(tree), (number, _INODE, 0))
        if item is None or len(item) < _INODE_SIZE:
            raise VolumeError(f"inode {number} of tree {tree} is not there")
        return item

    def _find_tree(self, number: int) -> Pointer:
        """The top of a tree; the last of its items counts. Raises VolumeError when there is none."""
        found = self._nodes.floor(self._roots, (number, _ROOT, LAST))
        if found is None or found[0][:2] != (number, _ROOT) or not _alive(found[1]):
            raise VolumeError(f"it has no tree {number}")
        item = found[1]
        (generation, directory, address) = struct.unpack_from("<QQQ", item, _INODE_SIZE)
        if item[238] >= LEVELS or (number >= _FIRST and directory != _FIRST):
            raise VolumeError(f"its tree {number} is damaged")
        return Pointer(address, generation, item[238])

    def _default(self) -> int:
        """The number of the subvolume that is mounted when nothing is said."""
        span = (self._super.directory, _DIR_ITEM, 0), (self._super.directory, _DIR_ITEM, LAST)
        for _, item in self._nodes.items(self._roots, *span):
            for (number, kind, _), name, _ in _entries(item):
                if name == b"default" and kind == _ROOT and number:
                    return number
        return TOP

    def _nested(self, tree: int, directory: int, name: bytes, number: int) -> int:
        """What a subvolume's name in a directory shows: its top, unless the subvolume belongs elsewhere."""
        reference = self._nodes.find(self._roots, (tree, _ROOT_REF, number))
        if reference is not None:
            if len(reference) < 18:
                raise VolumeError(f"the reference to subvolume {number} is damaged")
            parent, _, length = struct.unpack_from("<QQH", reference)
            if parent == directory and reference[18 : 18 + length] == name:
                return _inode(number, _FIRST)
        return (number << 2 * _SHIFT) + _inode(tree, _PLACEHOLDER)

    def _subvolume(self, path: str) -> int:
        """The top of the subvolume at *path*, which counts from the top of all."""
        place = _inode(TOP, _FIRST)
        for part in islice(filter(None, path.split("/")), 1000):
            if part == ".":
                continue
            inode = self.names(place)[0].get(part) if self.entry(place).kind == "dir" else None
            if inode is None:
                raise VolumeError(f"it has no subvolume {path}")
            place = inode
        if place & ((1 << _SHIFT) - 1) != _FIRST:
            raise VolumeError(f"{path} is no subvolume of it")
        self.entry(place)
        return place


def _inode(tree: int, number: int) -> int:
    return (tree << _SHIFT) + number


def _alive(item: bytes) -> bool:
    """Whether a root is in use, not one that is being deleted."""
    return len(item) >= _ROOT_SIZE and struct.unpack_from("<I", item, 216)[0] > 0


def _entries(item: bytes) -> Iterator[tuple[tuple[int, int, int], bytes, bytes]]:
    """The entries of an item of a directory or of extended attributes: location, name, value."""
    place = 0
    while place < len(item):
        if place + _DIRECTORY_ENTRY.size > len(item):
            raise VolumeError("an item of a directory is damaged")
        number, kind, offset, value_size, name_size, _ = _DIRECTORY_ENTRY.unpack_from(item, place)
        place += _DIRECTORY_ENTRY.size
        end = place + name_size + value_size
        if end > len(item):
            raise VolumeError("an item of a directory is damaged")
        yield (number, kind, offset), item[place : place + name_size], item[place + name_size : end]
        place = end
