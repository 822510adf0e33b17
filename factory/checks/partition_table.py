"""The partition table: one, sound, with its backup at the end of the disk."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.inspection import Image

MENDED = "factory check --fix IMAGE --output NEW   # or, on a raw copy: sgdisk -e DISK"
LOST = "Copy or download the image again: the table is lost, or the file is cut off. Compare sha256sum IMAGE"
NO_TABLE = (
    "Make the image again on a disk with a GPT: a BIOS boot partition (ef02), an EFI system partition (ef00), "
    "and the root last"
)
OVERLAP = "Make the image again: two partitions lie over each other, so one of them has written into the other"
OUTSIDE = (
    "Copy the image again if it was cut off; an entry for nothing: sgdisk -d NUMBER DISK (GPT), or "
    "sfdisk --delete DISK NUMBER (MBR), on a raw copy"
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    disk = looked.disk
    for fault in disk.faults:
        yield Problem("image", fault, fix=_fix(fault, disk))
    if disk.table == "none":
        kinds = [part.filesystem.kind for part in disk.partitions() if part.filesystem]
        whole = f"; the whole disk is {kinds[0]}" if kinds else ""
        yield Problem("image", f"the disk has no partition table{whole}", fix=NO_TABLE if whole else looked.instead)
    elif not disk.partitions() and not disk.faults:
        yield Problem("image", f"the {disk.table} partition table is empty", fix=NO_TABLE)
    yield Note(f"{disk.table} with {len(disk.partitions())} partitions")


def _fix(fault: str, disk: Image) -> str:
    """What mends a *fault* of the table; sgdisk mends one header of a GPT by the other, and nothing else."""
    if "overlap" in fault:
        return OVERLAP
    if "does not lie on the disk" in fault:
        return OUTSIDE
    return MENDED if disk.table == "gpt" and disk.partitions() else LOST
