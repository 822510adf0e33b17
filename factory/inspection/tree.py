"""The guest's tree of files: which partition is mounted where, and what a path means inside the guest.

The mounts are those of the guest's own fstab. Symbolic links are resolved here, component by component, from the
guest's root, so none leads out of the image. Imported by the inspection's child process only; knows volumes, not dfVFS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory.inspection.filesystems import Entry, Volume, VolumeError
from factory.inspection.roots import Mount, find_root
from factory.partitions import Partition

LINKS = 40  # followed in one path, as in Linux
TEXT_LIMIT = 1 << 20  # bytes of fstab and the like
NAMES_LIMIT = 400_000  # in one directory
CACHED = 256  # directories whose names are kept


@dataclass(frozen=True)
class Node:
    """A file in the tree: the number of its partition, its inode, its path without symbolic links."""

    partition: int
    inode: int
    path: tuple[str, ...] = ()


class Absent(Exception):
    """There is surely nothing at the path; the message is the path."""


class Tree:
    """All that can be asked about paths. A *partition* number means: that partition alone, from its own root.

    Of a btrfs whose default subvolume was set, that is the default one as openSUSE's GRUB has it; what is not there is
    looked for from the top of all subvolumes, where every other boot loader begins.
    """

    def __init__(self, partitions: tuple[Partition, ...], volumes: Mapping[int, Volume | VolumeError]) -> None:
        """*volumes* has, for each partition number with a file system, what opening it gave."""
        self._partitions = partitions
        self._volumes = volumes
        self._names: dict[tuple[int, int], tuple[dict[str, int], int]] = {}
        self.root: int | None = None
        self.root_top = 0  # its top directory
        self.no_root = ""  # why there is no root
        self.mounts: dict[str, Mount] = {}
        self._find_root()

    def find(self, path: str, *, follow: bool, partition: int | None = None) -> Node:
        """The file at *path*; its last component may be a symbolic link unless *follow*.

        Raises Absent when it is not there and VolumeError when that cannot be told.
        """
        top = self._top(partition)
        try:
            return self._find(path, top, follow=follow, mounted=partition is None)
        except Absent:
            highest = top.inode if partition is None else self._volume(partition).highest
            if highest == top.inode:
                raise
            return self._find(path, Node(top.partition, highest), follow=follow, mounted=False)

    def _find(self, path: str, top: Node, *, follow: bool, mounted: bool) -> Node:
        trail = [top]  # the directories from the root to where we are
        left = [part for part in path.split("/") if part and part != "."][::-1]
        links = 0
        while left:
            name = left.pop()
            if name == "..":
                trail = trail[:-1] or trail
                continue
            child = self._child(trail[-1], name, mounted=mounted)
            if child is None:
                raise Absent(path)
            entry = self.entry(child)
            if entry.kind == "symlink" and (left or follow):
                links += 1
                if links > LINKS:
                    raise VolumeError(f"{path}: more than {LINKS} symbolic links, or a loop of them")
                target = self.link(child)
                if target.startswith("/"):
                    trail = trail[:1]
                left += [part for part in target.split("/") if part and part != "."][::-1]
                continue
            if left and entry.kind != "dir":
                raise Absent(path)
            trail.append(child)
        return trail[-1]

    def entry(self, node: Node) -> Entry:
        """What the inode of *node* says."""
        return self._volume(node.partition).entry(node.inode)

    def link(self, node: Node) -> str:
        """Where a symbolic link points."""
        return self._volume(node.partition).link(self.entry(node))

    def read(self, node: Node, offset: int, size: int) -> bytes:
        """Bytes of a file."""
        return self._volume(node.partition).read(node.inode, offset, size)

    def xattrs(self, node: Node) -> dict[str, bytes]:
        """The extended attributes of a file."""
        return self._volume(node.partition).xattrs(node.inode)

    def scan(self, node: Node, *, mounted: bool) -> list[tuple[str, int, Entry]]:
        """The (name, partition, entry) of everything in a directory, by name."""
        names, unreadable = self._listed(node)
        if unreadable:
            raise VolumeError(f"/{'/'.join(node.path)} holds {unreadable} names that cannot be read")
        found = []
        for name in sorted(names):
            child = self._mounted(node, name, names[name], mounted)
            found.append((name, child.partition, self.entry(child)))
        return found

    def _top(self, partition: int | None) -> Node:
        if partition is not None:
            return Node(partition, self._volume(partition).root)
        if self.root is None:
            raise VolumeError(self.no_root)
        return Node(self.root, self.root_top)

    def tops(self) -> dict[str, tuple[int, int, str | None, str | None]]:
        """Of each place of a mount the partition, the top directory, and where that lies on its partition.

        That is counted from the partition's root, then from the top of all its subvolumes.
        """
        found = {mount.place: (mount.partition, mount.top) for mount in self.mounts.values()}
        if self.root is not None:
            found["/"] = self.root, self.root_top
        return {
            place: (partition, top, self._path(partition, top), self._path(partition, top, full=True))
            for place, (partition, top) in found.items()
            if partition is not None
        }

    def mounted(self, partition: int, options: Sequence[str]) -> int:
        """The top directory that a mount of the partition with *options* shows."""
        return self._volume(partition).mounted(options)

    def _path(self, partition: int, top: int, *, full: bool = False) -> str | None:
        try:
            volume = self._volume(partition)
            return volume.path(top, volume.highest if full else None)
        except VolumeError:
            return None

    def _volume(self, number: int) -> Volume:
        found = self._volumes.get(number)
        if found is None:
            raise VolumeError(f"partition {number} is not there, or holds no file system that is known")
        if isinstance(found, VolumeError):
            raise VolumeError(f"partition {number}: {found}")
        return found

    def _child(self, node: Node, name: str, *, mounted: bool) -> Node | None:
        names, unreadable = self._listed(node)
        volume = self._volume(node.partition)
        if name not in names and volume.folds_case:
            name = next((known for known in names if known.casefold() == name.casefold()), name)
        if name in names:
            return self._mounted(node, name, names[name], mounted)
        if unreadable and not name.isprintable():  # it may be one of those
            raise VolumeError(f"/{'/'.join(node.path)} holds {unreadable} names that cannot be read")
        return None

    def _mounted(self, node: Node, name: str, inode: int, mounted: bool) -> Node:
        path = (*node.path, name)
        mount = self.mounts.get("/" + "/".join(path)) if mounted else None
        if mount is None:
            return Node(node.partition, inode, path)
        if mount.partition is None:
            raise VolumeError(mount.reason)
        return Node(mount.partition, mount.top, path)

    def _listed(self, node: Node) -> tuple[dict[str, int], int]:
        key = (node.partition, node.inode)
        if key not in self._names:
            if len(self._names) >= CACHED:
                self._names.pop(next(iter(self._names)))
            names = self._volume(node.partition).names(node.inode)
            if len(names[0]) > NAMES_LIMIT:
                raise VolumeError(f"/{'/'.join(node.path)} holds more than {NAMES_LIMIT} names")
            self._names[key] = names
        return self._names[key]

    def _find_root(self) -> None:
        self.root, self.root_top, mounts, self.no_root = find_root(self._partitions, self._volumes, self._look_up)
        self.mounts = {mount.place: mount for mount in mounts if mount.place != "/"}
        if self.root is None and not self.no_root:
            self.no_root = "no partition holds the root of a system that can be read (" + self._inventory() + ")"

    def _look_up(self, partition: int, top: int, path: str) -> bytes | list[str] | None:
        """The first megabyte of a file, or the names in a directory, below *top*; None when it is absent."""
        try:
            node = self._find(path, Node(partition, top), follow=True, mounted=False)
        except Absent:
            return None
        return self.read(node, 0, TEXT_LIMIT) if self.entry(node).kind != "dir" else list(self._listed(node)[0])

    def _inventory(self) -> str:
        if not self._partitions:
            return "no partitions"
        places = [(f"partition {part.number}" if part.number else "the whole disk", part) for part in self._partitions]
        return "; ".join(f"{place}: {self._holding(part)}" for place, part in places)

    def _holding(self, part: Partition) -> str:
        volume = self._volumes.get(part.number)
        kind = part.filesystem.kind if part.filesystem else "nothing that is known"
        if isinstance(volume, VolumeError):
            return f"{kind}, {volume}"
        return f"{kind}, which has no /etc/os-release" if volume is not None and kind != "vfat" else kind
