"""Sizes: of the file, or of the disk in it, within what the target takes."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*of*: a list of ``file`` and ``disk``; the limits are the target's."""
    limits = looked.target.limits
    stored = looked.archive.size if looked.archive is not None else looked.file.size
    sizes = {"file": (stored, limits.file_size), "disk": (looked.file.virtual_size, limits.virtual_size)}
    if not any(sizes[name][1] for name in rule.parameters["of"]):
        raise NotApplicable("the target has no such limit")
    for name in rule.parameters["of"]:
        size, limit = sizes[name]
        if limit and size > limit:
            yield Problem("image", f"the {name} has {size} bytes; at most {limit} are taken")
        yield Note(f"the {name} has {size} bytes of at most {limit}")
