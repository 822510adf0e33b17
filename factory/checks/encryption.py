"""Encryption: no partition and no line of crypttab needs a key, which all instances would share, or ask for."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NoGuest, Note, Problem, Rule, without_line
from factory.leftovers import text

_PATH = "/etc/crypttab"
_RANDOM = ("/dev/urandom", "/dev/random", "/dev/hw_random")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for part in looked.disk.partitions():
        if part.filesystem and part.filesystem.kind == "crypto_LUKS":
            yield Problem("image", f"partition {part.number} is encrypted (LUKS)")
    try:
        content = text(looked.image, _PATH) or ""
    except NoGuest:
        return
    for number, line in enumerate(content.splitlines(), 1):
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#"):
            continue
        # Swap with a random key is made anew at every boot.
        if len(fields) > 2 and fields[2] in _RANDOM:
            continue
        yield Problem(_PATH, f"{_PATH}:{number}: {' '.join(fields[:2])}", fix=without_line(_PATH, number))
    yield Note(f"{len(looked.disk.partitions())} partitions, none of them encrypted")
