"""Growth: nothing lies behind the root partition, so that it can grow to the disk of an instance."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule

AGAIN = "Make the image again with the root as the last partition; one behind it that nobody needs can go, on a copy: "


def _deleted(table: str, number: int) -> str:
    """How a partition is taken away; sgdisk writes no MBR."""
    if table == "gpt":
        return f"sgdisk -d {number} DISK"
    extended = ", and the extended partition that it is in" if number > 4 else ""
    return f"sfdisk --delete DISK {number}{extended}"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    partitions = {part.number: part for part in looked.disk.partitions()}
    number = looked.image.mounts()["/"]
    root = partitions.get(number if number is not None else -1)
    if root is None or not root.number:
        raise NotApplicable("the root is no partition of its own")
    behind = [part for part in partitions.values() if part.start > root.start]
    for part in behind:
        held = part.filesystem.kind if part.filesystem else "something unknown"
        told = f"partition {part.number} ({held}) lies behind the root, partition {root.number}"
        yield Problem("image", told, fix=AGAIN + _deleted(looked.disk.table, part.number))
    yield Note(f"the root is partition {root.number}, the last on the disk")
