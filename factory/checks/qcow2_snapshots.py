"""Snapshots: a qcow2 image holds one state of its disk."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    header = looked.file.qcow2
    if header is None:
        raise NotApplicable(looked.no_header)
    if header.snapshots:
        yield Problem("image", f"it holds {header.snapshots} internal snapshots")
