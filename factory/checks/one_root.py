"""The system: the disk holds one root file system of Linux with an os-release, and nothing that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import UNSEEN, Looked, Note, Problem, Rule
from factory.inspection import Absent, Image

NO_FILES = ("swap", "LVM2_member")
BOOT_CODE = ("21686148-6449-6e6f-744e-656564454649", "9e1a2d38-c612-4316-aa26-8b49521e5a8b")  # BIOS boot, PReP
LOOKED_AT = 1 << 20  # bytes of a partition without a file system
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.no_root:
        yield Problem("image", f"{UNSEEN}: {looked.no_root}", fix=looked.no_disk)
        return
    yield from _unread(looked.disk)
    for path in OS_RELEASE:
        try:
            text = looked.image.read(path, limit=1 << 16).decode("utf-8", "replace")
        except Absent:
            continue
        name = next((line for line in text.splitlines() if line.startswith("PRETTY_NAME=")), path)
        yield Note(f"{path}: {name}")
        return
    told = f"there is a root file system, and none of {' and '.join(OS_RELEASE)}"
    yield Problem(
        "image", told, fix="Reinstall the package that owns /etc/os-release, such as base-files, in the guest"
    )


def _unread(disk: Image) -> Iterator[Problem]:
    """Partitions that hold something which nobody can look into here."""
    for part in disk.partitions():
        why = disk.unreadable_partitions.get(part.number)
        if part.filesystem is None and part.type not in BOOT_CODE and any(disk.peek(part.start, LOOKED_AT)):
            why = "it holds something unknown"
        if why and not (part.filesystem and part.filesystem.kind in NO_FILES and not why.startswith("LVM")):
            yield Problem(f"partition {part.number}", f"{UNSEEN}: partition {part.number}: {why}")
