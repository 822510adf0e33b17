"""Swap: there is none on the disk of the system, as a partition or as a file."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import fstab


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for part in looked.image.partitions():
        if part.filesystem and part.filesystem.kind in ("swap", "swsuspend"):
            yield Problem("image", f"partition {part.number} is swap")
    for line in looked.know(fstab.read):
        if line.kind == "swap" and "noauto" not in line.options:
            yield Problem(fstab.PATH, line.evidence)
    yield Note("no swap")
