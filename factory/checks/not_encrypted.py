"""Encryption: neither the image nor a partition in it needs a key."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NoGuest, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.file.encrypted or looked.file.format == "luks":
        yield Problem("image", f"the {looked.file.format} image is encrypted", fix=looked.no_disk)
        return
    try:
        partitions = looked.disk.partitions()
    except NoGuest:
        return
    for part in partitions:
        if part.filesystem and part.filesystem.kind == "crypto_LUKS":
            yield Problem(f"partition {part.number}", f"partition {part.number} is encrypted (LUKS)")
