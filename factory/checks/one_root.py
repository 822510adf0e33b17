"""The system: the disk holds one root file system of Linux, with an os-release that can be read."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import UNSEEN, Looked, Note, Problem, Rule
from factory.inspection import Absent

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.no_root:
        yield Problem("image", f"{UNSEEN}: {looked.no_root}")
        return
    for path in OS_RELEASE:
        try:
            text = looked.image.read(path, limit=1 << 16).decode("utf-8", "replace")
        except Absent:
            continue
        name = next((line for line in text.splitlines() if line.startswith("PRETTY_NAME=")), path)
        yield Note(f"{path}: {name}")
        return
    yield Problem("image", f"there is a root file system, and none of {' and '.join(OS_RELEASE)}")
