"""The guest's tree of files: which partition is mounted where, and what a path means inside the guest.

The mounts are those of the guest's own fstab. Symbolic links are resolved here, component by component, from the
guest's root, so none leads out of the image. Imported by the inspection's child process only; knows volumes, not dfVFS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from factory.inspection.filesystems import Entry, Volume, VolumeError
from factory.partitions import Partition

LINKS = 40  # followed in one path, as in Linux
FSTAB_LIMIT = 1 << 20  # bytes
NAMES_LIMIT = 400_000  # in one directory
CACHED = 256  # directories whose names are kept

_PSEUDO = (
    "none swap tmpfs proc sysfs devtmpfs devpts cgroup cgroup2 debugfs tracefs bpf configfs securityfs pstore ramfs"
)
_REMOTE = "hugetlbfs mqueue binfmt_misc autofs overlay nfs nfs4 cifs smb3 9p virtiofs fuse.sshfs"
_NO_PARTITION = frozenset(f"{_PSEUDO} {_REMOTE}".split())
_DEVICE = re.compile(r"/dev/(?:[sxv]?[hsv]d[a-z]|(?:nvme\d+n\d+|mmcblk\d+)p)(\d+)")
_TAGS = {
    "by-uuid": "UUID",
    "by-label": "LABEL",
    "by-partuuid": "PARTUUID",
    "by-partlabel": "PARTLABEL",
}


@dataclass(frozen=True)
class Mount:
    """A line of fstab that mounts a part of a disk: *partition* is its number, or *reason* says why there is none."""

    place: str
    partition: int | None
    reason: str = ""


@dataclass(frozen=True)
class Node:
    """A file in the tree: the number of its partition, its inode, its path without symbolic links."""

    partition: int
    inode: int
    path: tuple[str, ...] = ()


class Absent(Exception):
    """There is surely nothing at the path; the message is the path."""


class Tree:
    """All that can be asked about paths. A *partition* number means: that partition alone, from its own root."""

    def __init__(self, partitions: tuple[Partition, ...], volumes: Mapping[int, Volume | VolumeError]) -> None:
        """*volumes* has, for each partition number with a file system, what opening it gave."""
        self._partitions = partitions
        self._volumes = volumes
        self._names: dict[tuple[int, int], tuple[dict[str, int], int]] = {}
        self.root: int | None = None
        self.no_root = ""  # why there is no root
        self.mounts: dict[str, Mount] = {}
        self._find_root()

    def find(self, path: str, *, follow: bool, partition: int | None = None) -> Node:
        """The file at *path*; its last component may be a symbolic link unless *follow*.

        Raises Absent when it is not there and VolumeError when that cannot be told.
        """
        node = self._top(partition)
        trail = [node]  # the directories from the root to where we are
        left = [part for part in path.split("/") if part and part != "."][::-1]
        links = 0
        while left:
            name = left.pop()
            if name == "..":
                trail = trail[:-1] or trail
                continue
            child = self._child(trail[-1], name, mounted=partition is None)
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
        number = self.root if partition is None else partition
        if number is None:
            raise VolumeError(self.no_root)
        return Node(number, self._volume(number).root)

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
        return Node(mount.partition, self._volume(mount.partition).root, path)

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
        found: dict[int, list[Mount]] = {}
        for number, volume in self._volumes.items():
            if isinstance(volume, VolumeError):
                continue
            try:
                self.find("/etc", follow=True, partition=number)
                text = self._text("/etc/fstab", number)
                if text is None and self._text("/etc/os-release", number) is None:
                    continue
            except Absent:
                continue
            except VolumeError as error:
                # A damaged /etc: whether this is the root cannot be told, so it must not look like an empty image.
                self.no_root = f"partition {number}: {error}"
                continue
            found[number] = self._fstab(text or "")
        own = [number for number, mounts in found.items() if Mount("/", number) in mounts]
        candidates = own or list(found)
        if len(candidates) == 1:
            self.root = candidates[0]
            self.mounts = {mount.place: mount for mount in found[self.root] if mount.place != "/"}
        elif candidates:
            self.no_root = f"partitions {', '.join(map(str, candidates))} all look like the root of the system"
        elif not self.no_root:
            self.no_root = "no partition holds the root of a system that can be read (" + self._inventory() + ")"

    def _text(self, path: str, partition: int) -> str | None:
        try:
            node = self.find(path, follow=True, partition=partition)
        except Absent:
            return None
        return self.read(node, 0, FSTAB_LIMIT).decode("utf-8", "surrogateescape")

    def _fstab(self, text: str) -> list[Mount]:
        mounts = []
        for line in text.splitlines():
            fields = line.split()
            if len(fields) < 2 or fields[0].startswith("#"):
                continue
            fields += ["auto", "defaults"][len(fields) - 2 :] if len(fields) < 4 else []
            source, place, kind = _unescaped(fields[0]), "/" + _unescaped(fields[1]).strip("/"), fields[2]
            options = fields[3].split(",")
            if kind in _NO_PARTITION or {"bind", "rbind"} & set(options) or not fields[1].startswith("/"):
                continue
            partition = self._partition(source)
            if partition is not None:
                mounts.append(Mount(place, partition))
            elif not {"noauto", "nofail"} & set(options):
                mounts.append(Mount(place, None, f"fstab mounts {source} at {place}, and it is not on this disk"))
        return mounts

    def _partition(self, source: str) -> int | None:
        tag, _, wanted = source.partition("=")
        if source.startswith("/dev/disk/"):
            folder, _, wanted = source.removeprefix("/dev/disk/").partition("/")
            tag = _TAGS.get(folder, "")
            wanted = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), wanted)
        wanted = wanted.strip('"')
        number = _DEVICE.fullmatch(source)
        for part in self._partitions:
            system = part.filesystem
            known = {
                "UUID": system.uuid.lower() if system else "",
                "LABEL": system.label if system else "",
                "PARTUUID": part.uuid,
                "PARTLABEL": part.name,
            }.get(tag, "")
            # As blkid does, ids are compared whatever their case.
            if known and known == (wanted.lower() if tag.endswith("UUID") else wanted):
                return part.number
            if (number and int(number[1]) == part.number) or source in _volume_names(part):
                return part.number
        return None

    def _inventory(self) -> str:
        if not self._partitions:
            return "no partitions"
        return "; ".join(f"partition {part.number}: {self._holding(part)}" for part in self._partitions)

    def _holding(self, part: Partition) -> str:
        volume = self._volumes.get(part.number)
        kind = part.filesystem.kind if part.filesystem else "unknown"
        return f"{kind}, {volume}" if isinstance(volume, VolumeError) else kind


def _volume_names(part: Partition) -> tuple[str, ...]:
    """The device names of a logical volume."""
    if part.type != "lvm":
        return ()
    group, _, name = part.name.partition("/")
    return f"/dev/{group}/{name}", f"/dev/mapper/{group.replace('-', '--')}-{name.replace('-', '--')}"


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
