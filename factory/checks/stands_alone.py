"""One file: the image needs no other file (backing file, data file, extents, differences)."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for reference in looked.file.references:
        yield Problem("image", reference)
