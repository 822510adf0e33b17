"""SSH: sshd is installed and starts at boot, as a service or by a socket."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import sshd


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = looked.know(sshd.read)
    if found.starts:
        yield Note(f"{found.starts} starts it")
    else:
        yield Problem("sshd", found.why_not)
