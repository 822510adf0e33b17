"""A whole file: everything that the image's own tables name lies inside it."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for damage in looked.file.damaged:
        yield Problem("image", damage)
    if looked.file.format == "raw" and looked.file.size % 512:
        told = f"a disk of {looked.file.size} bytes ends in the middle of a sector"
        yield Problem("image", told, fix=f"{rule.fix}; when it is whole at its source: truncate -s %512 IMAGE")
