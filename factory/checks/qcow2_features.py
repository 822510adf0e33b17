"""qcow2 features: none that an importer may not know, and no mark of damage."""

from __future__ import annotations

from collections.abc import Iterator

from factory import qcow2
from factory.checks import Looked, NotApplicable, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    header = looked.file.qcow2
    if header is None:
        raise NotApplicable(looked.no_header)
    for bit, what in (
        (qcow2.DIRTY, "it is marked dirty: whatever wrote it did not end properly"),
        (qcow2.CORRUPT, "it is marked as corrupt"),
        (qcow2.DATA_FILE, "it keeps its data in another file"),
        (qcow2.EXTENDED_L2, "it has extended L2 entries, which importers refuse as unknown"),
    ):
        if header.incompatible & bit:
            yield Problem("image", f"incompatible features {header.incompatible:#x}: {what}")
    for what in looked.file.features:
        yield Problem("image", what, fix=looked.instead)
    yield Note(f"incompatible features {header.incompatible:#x}")
