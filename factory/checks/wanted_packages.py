"""Wanted packages: at least one of those in *any* is installed, or one of the programs in *files* is there."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import packages


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for path in rule.parameters.get("files", ()):
        if looked.image.exists(path):
            yield Note(path)
            return
    names = rule.parameters["any"]
    found = looked.know(packages.read)
    for name in names:
        if name in found.installed:
            yield Note(found.evidence(name))
            return
    yield Problem("image", f"none of {', '.join(names)} is installed")
