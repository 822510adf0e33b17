"""The block devices that the disk of an image gives to its guest, and what a name such as ``UUID=...`` stands for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from factory.inspection import Image

Kind = Literal["there", "missing", "name", "other"]
_TAGS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")
_BY = {f"/dev/disk/by-{tag.lower()}/": tag for tag in _TAGS}
_HARDWARE = re.compile(r"/dev/(?:[shvx]v?d[a-z]+\d*|nvme\d+n\d+(?:p\d+)?|mmcblk\d+(?:p\d+)?|sr\d+|dasd[a-z]+\d*)")
_ORIGIN = re.compile(r"/dev/disk/by-(?:id|path)/")


@dataclass(frozen=True)
class Devices:
    """What is on the disk, by tag: the values that exist. *volumes* are LVM's as ``/dev/mapper`` writes them.

    *lvm*: the disk has physical volumes; *volumes* is None when their content is not known.
    """

    values: dict[str, Collection[str]]
    lvm: bool = False
    volumes: Collection[str] | None = None

    def judge(self, source: str) -> Kind:
        """What a source is: something ``there``, something ``missing``, a device's own ``name``, or ``other``.

        A name such as /dev/sda1 or by-path depends on the machine; ``other`` is no block device of a disk.
        """
        tag, value = tagged(source)
        if tag:
            return "there" if value in self.values[tag] else "missing"
        if _HARDWARE.fullmatch(source) or _ORIGIN.match(source):
            return "name"
        volume = mapper_name(source)
        if volume:
            if self.volumes is None:
                return "there" if self.lvm else "missing"
            return "there" if volume in self.volumes else "missing"
        return "other"

    def inventory(self, source: str) -> str:
        """What the disk has of the kind that *source* asks for."""
        tag, _ = tagged(source)
        return f"the disk has {', '.join(sorted(self.values[tag])) or 'none'}" if tag else ""


def read(image: Image) -> Devices:
    """The devices of the image's disk."""
    values: dict[str, set[str]] = {tag: set() for tag in _TAGS}
    lvm = False
    volumes: set[str] = set()
    for part in image.partitions():
        system = part.filesystem
        if part.type == "lvm":
            group, _, name = part.name.partition("/")
            volumes.add(f"{group.replace('-', '--')}-{name.replace('-', '--')}")
        if system:
            lvm = lvm or system.kind == "LVM2_member"
            values["UUID"].add(system.uuid.lower())
            values["LABEL"].add(system.label)
        if part.type != "lvm":
            values["PARTUUID"].add(part.uuid.lower())
            values["PARTLABEL"].add(part.name)
    found: dict[str, Collection[str]] = {tag: frozenset(each - {""}) for tag, each in values.items()}
    return Devices(found, lvm=lvm, volumes=frozenset(volumes) if volumes else None)


def partition(image: Image, source: str) -> int | None:
    """The number of the partition that an id such as ``UUID=...`` stands for; None when it is none, or is not there."""
    tag, value = tagged(source)
    for part in image.partitions():
        system = part.filesystem
        known = {
            "UUID": system.uuid.lower() if system else "",
            "LABEL": system.label if system else "",
            "PARTUUID": part.uuid.lower(),
            "PARTLABEL": part.name,
        }.get(tag)
        if known and known == value:
            return part.number
    return None


def tagged(source: str) -> tuple[str, str]:
    """``("UUID", "...")`` of ``UUID=...`` or ``/dev/disk/by-uuid/...``; nothing of any other source."""
    tag, separator, value = source.partition("=")
    value = value.strip("\"'")
    for folder, name in _BY.items():
        if source.startswith(folder):
            tag, separator = name, "="
            value = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), source[len(folder) :])
    if not separator or tag not in _TAGS:
        return "", ""
    return tag, value.lower() if tag.endswith("UUID") else value


def mapper_name(source: str) -> str:
    """The name below /dev/mapper of a logical volume, also of one written as ``/dev/GROUP/VOLUME``."""
    if source.startswith("/dev/mapper/"):
        return source.removeprefix("/dev/mapper/")
    match = re.fullmatch(r"/dev/([A-Za-z0-9+_.][\w+.-]*)/([\w+.][\w+.-]*)", source)
    if not match or match[1] in ("disk", "block", "mapper", "md", "vport", "input", "loop", "nbd"):
        return ""
    return "-".join(part.replace("-", "--") for part in match.groups())
