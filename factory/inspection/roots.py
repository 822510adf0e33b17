"""Which file system, and which subvolume of it, is the root of the guest, and what its fstab mounts where.

A subvolume is the root when the kernel is told so (rootflags=), else when its own fstab says so, else when a mount
without options shows it. Imported by the inspection's child process only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from factory.inspection.filesystems import Volume, VolumeError
from factory.partitions import Partition

LookUp = Callable[[int, int, str], bytes | list[str] | None]
"""(partition, top directory, path) -> the content of a file, or the names in a directory; None when it is absent."""

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
_ENTRIES = ("/loader/entries", "/boot/loader/entries")
_MENUS = tuple(
    f"{folder}/{name}"
    for folder in ("/grub2", "/grub", "/boot/grub2", "/boot/grub")
    for name in ("grub.cfg", "grubenv")
)
_ENTRIES_LIMIT = 200
_ROOT_FLAGS = re.compile(rb"\brootflags=([^\s\"']+)")


@dataclass(frozen=True)
class Mount:
    """A line of fstab that mounts a part of a disk: the *partition* and its *top* directory, or why there is none."""

    place: str
    partition: int | None
    reason: str = ""
    top: int = 0


@dataclass(frozen=True)
class _System:
    """A top directory with an fstab or an os-release."""

    partition: int
    top: int
    mounts: tuple[Mount, ...]


def find_root(
    partitions: Sequence[Partition], volumes: Mapping[int, Volume | VolumeError], look_up: LookUp
) -> tuple[int | None, int, tuple[Mount, ...], str]:
    """The root's partition, its top directory and its mounts; with None as partition, a reason when there is one."""
    systems: list[_System] = []
    reason = ""
    for number, volume in volumes.items():
        if isinstance(volume, VolumeError):
            continue
        try:
            for top in volume.tops():
                try:
                    found = _system(number, top, partitions, volumes, look_up)
                except VolumeError as error:
                    # A damaged /etc: whether this is the root cannot be told, so it must not look like an empty image.
                    reason = f"partition {number}: {error}"
                    continue
                systems += [found] if found else []
        except VolumeError as error:
            reason = f"partition {number}: {error}"
    chosen = _chosen(systems, volumes, look_up)
    if len(chosen) == 1:
        return chosen[0].partition, chosen[0].top, chosen[0].mounts, ""
    if chosen:
        numbers = [each.partition for each in chosen]
        if len(set(numbers)) < len(numbers):
            return None, 0, (), f"{len(chosen)} subvolumes of partition {numbers[0]} look like the root of the system"
        return None, 0, (), f"partitions {', '.join(map(str, numbers))} all look like the root of the system"
    return None, 0, (), reason


def _system(
    number: int,
    top: int,
    partitions: Sequence[Partition],
    volumes: Mapping[int, Volume | VolumeError],
    look_up: LookUp,
) -> _System | None:
    if look_up(number, top, "/etc") is None:
        return None
    text = look_up(number, top, "/etc/fstab")
    if not isinstance(text, bytes) and look_up(number, top, "/etc/os-release") is None:
        return None
    lines = os.fsdecode(text).splitlines() if isinstance(text, bytes) else []
    return _System(number, top, tuple(_mounts(lines, partitions, volumes)))


def _chosen(systems: list[_System], volumes: Mapping[int, Volume | VolumeError], look_up: LookUp) -> list[_System]:
    """The systems that may be the root; of several subvolumes those that are mounted as it."""
    if len({each.partition for each in systems}) < len(systems):
        named = set(_named_to_the_kernel(volumes, look_up))
        told = {each.partition for each in systems if (each.partition, each.top) in named}
        systems = [each for each in systems if each.partition not in told or (each.partition, each.top) in named]
    own = [each for each in systems if Mount("/", each.partition, top=each.top) in each.mounts]
    plain = [each for each in systems if each.top == _root(volumes[each.partition])]
    return own or plain or systems


def _root(volume: Volume | VolumeError) -> int:
    return -1 if isinstance(volume, VolumeError) else volume.root


def _named_to_the_kernel(volumes: Mapping[int, Volume | VolumeError], look_up: LookUp) -> Iterator[tuple[int, int]]:
    """The partitions and top directories that rootflags= may mean in the files of a boot loader."""
    said = {flags for text in _boot_files(volumes, look_up) for flags in _ROOT_FLAGS.findall(text)}
    for number, volume in volumes.items():
        for flags in said:
            options = os.fsdecode(flags).split(",")
            if not isinstance(volume, VolumeError) and any(option.startswith("subvol") for option in options):
                try:
                    yield number, volume.mounted(options)
                except VolumeError:
                    continue  # it belongs to another file system, or to none


def _boot_files(volumes: Mapping[int, Volume | VolumeError], look_up: LookUp) -> Iterator[bytes]:
    for number, volume in volumes.items():
        for top in () if isinstance(volume, VolumeError) else volume.tops():
            try:
                paths = list(_MENUS)
                for folder in _ENTRIES:
                    names = look_up(number, top, folder)
                    paths += [f"{folder}/{name}" for name in names[:_ENTRIES_LIMIT]] if isinstance(names, list) else []
                for path in paths:
                    text = look_up(number, top, path)
                    if isinstance(text, bytes):
                        yield text
            except VolumeError:
                continue  # those who read the boot entries say so


def _mounts(
    lines: Sequence[str], partitions: Sequence[Partition], volumes: Mapping[int, Volume | VolumeError]
) -> Iterator[Mount]:
    for line in lines:
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#"):
            continue
        fields += ["auto", "defaults"][len(fields) - 2 :] if len(fields) < 4 else []
        source, place, kind = _unescaped(fields[0]), _place(_unescaped(fields[1])), fields[2]
        options = _unescaped(fields[3]).split(",")
        if kind in _NO_PARTITION or {"bind", "rbind"} & set(options) or not fields[1].startswith("/"):
            continue
        needed = not {"noauto", "nofail"} & set(options)
        number = _partition(source, partitions)
        if number is None:
            if needed:
                yield Mount(place, None, f"fstab mounts {source} at {place}, and it is not on this disk")
            continue
        volume = volumes.get(number)
        try:
            yield Mount(place, number, top=volume.mounted(options) if isinstance(volume, Volume) else 0)
        except VolumeError as error:
            if needed:
                yield Mount(place, None, f"fstab mounts {source} at {place}, and {error}")


def _place(path: str) -> str:
    """As the kernel understands it: ``/srv//data/.`` is ``/srv/data``."""
    return "/" + os.path.normpath(path).strip("/")


def _partition(source: str, partitions: Sequence[Partition]) -> int | None:
    tag, _, wanted = source.partition("=")
    if source.startswith("/dev/disk/"):
        folder, _, wanted = source.removeprefix("/dev/disk/").partition("/")
        tag = _TAGS.get(folder, "")
        wanted = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), wanted)
    wanted = wanted.strip('"')
    number = _DEVICE.fullmatch(source)
    for part in partitions:
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


def _volume_names(part: Partition) -> tuple[str, ...]:
    """The device names of a logical volume."""
    if part.type != "lvm":
        return ()
    group, _, name = part.name.partition("/")
    return f"/dev/{group}/{name}", f"/dev/mapper/{group.replace('-', '--')}-{name.replace('-', '--')}"


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
