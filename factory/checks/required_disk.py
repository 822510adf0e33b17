"""Requirements: the disk that an instance is required to have is as large as the image's."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if not looked.required_disk:
        raise NotApplicable("no recipe says what disk is required; publishing asks for it")
    seen = f"the disk has {looked.file.virtual_size} bytes, and {looked.required_disk} are required of an instance"
    if looked.file.virtual_size > looked.required_disk:
        yield Problem("image", seen)
    yield Note(seen)
