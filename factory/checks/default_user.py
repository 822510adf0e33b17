"""The login user: cloud-init makes one, and its name is told to whoever uses the image."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import default_user


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = looked.know(default_user.read)
    if found.name:
        yield Note(f"log in as {found.name}")
    else:
        yield Problem("/etc/cloud/cloud.cfg", found.why_not)
