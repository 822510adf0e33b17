"""Free space: the file does not carry blocks that the guest's file systems no longer use."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*times*: how many times what is used the file may occupy, beside *slack* bytes."""
    systems = [part.filesystem for part in looked.disk.partitions() if part.filesystem]
    used = sum(system.size - system.free for system in systems if system.free is not None)
    if not used:
        raise NotApplicable("no file system here tells how much of it is used")
    allowed = used * float(rule.parameters["times"]) + int(rule.parameters["slack"])
    seen = f"the file occupies {looked.file.allocated} bytes, the guest's files {used}"
    if looked.file.allocated > allowed:
        yield Problem("image", seen)
    yield Note(seen)
