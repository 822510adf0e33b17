"""The partition table: one, sound, with its backup at the end of the disk."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    disk = looked.disk
    for fault in disk.faults:
        yield Problem("image", fault)
    if disk.table == "none":
        yield Problem("image", "the disk has no partition table")
    elif not disk.partitions() and not disk.faults:
        yield Problem("image", f"the {disk.table} partition table is empty")
    yield Note(f"{disk.table} with {len(disk.partitions())} partitions")
