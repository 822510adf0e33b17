"""OpenStack's safety check: its format inspector, which Glance and Nova run on every upload, accepts the file."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for fault in looked.file.inspector:
        yield Problem("image", fault)
    if looked.file.ambiguous:
        yield Problem("image", f"it can also be read as {', '.join(looked.file.ambiguous)}")
