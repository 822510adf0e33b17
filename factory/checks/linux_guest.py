"""The guest is Linux: os-release says no other system, and the disk holds nothing of Windows."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading.lines import content_of, shell

OTHERS = ("freebsd", "openbsd", "netbsd", "dragonfly", "solaris", "illumos", "omnios", "smartos", "haiku", "gnu")
RESERVED = "e3c9e316-0b5c-4db8-817d-f92df00215ae"  # the type of Windows' reserved partition
LOADER = "/EFI/Microsoft/Boot"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for part in looked.disk.partitions():
        kind = part.filesystem.kind if part.filesystem else ""
        if part.type == RESERVED or kind in ("ntfs", "refs"):
            yield Problem("image", f"partition {part.number} is one of Windows ({kind or 'reserved'})")
        elif kind == "vfat" and looked.disk.exists(LOADER, partition=part.number):
            yield Problem("image", f"partition {part.number} holds the boot loader of Windows, {LOADER}")
    release = shell("/etc/os-release", content_of(looked.image, "/etc/os-release"))
    name = release["ID"].value.lower() if "ID" in release else ""
    if name in OTHERS:
        yield Problem("/etc/os-release", release["ID"].place)
    yield Note(f"ID={name or 'linux'}")
