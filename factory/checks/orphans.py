"""Owners: no home, and nothing directly in one, belongs to a user who is no more.

The next user that is made gets that number, which on an instance is the cloud's own login, and with it the files.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.inspection import Image
from factory.inspection.answers import FileStat
from factory.reading import accounts

_HOMES = "/home"
_OTHERS = ("/srv", "/opt", "/usr/local")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    known = {account.uid for account in looked.know(accounts.read).all}
    seen = 0
    for top in (_HOMES, *_OTHERS):
        for path, found in _two_levels(looked.image, top):
            seen += 1
            if found.uid not in known:
                evidence = f"{path} belongs to user number {found.uid}, who is no more"
                yield Problem(path, evidence, warn=top != _HOMES)
    yield Note(f"{seen} files and folders have owners that exist")


def _two_levels(image: Image, top: str) -> Iterator[tuple[str, FileStat]]:
    found = image.stat(top, follow=True)
    if found is None or found.kind != "dir":
        return
    for name, entry in image.scan(top):
        yield f"{top}/{name}", entry
        if entry.kind == "dir":
            yield from ((f"{top}/{name}/{below}", inner) for below, inner in image.scan(f"{top}/{name}"))
