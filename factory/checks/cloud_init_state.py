"""cloud-init knows no instance: nothing of the one that the image was built as is in /var/lib/cloud."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import below

FOLDERS = ("instances", "data", "sem", "handlers")
TOP = "/var/lib/cloud"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.image.stat(f"{TOP}/instance"):
        yield Problem(f"{TOP}/instance", f"{TOP}/instance is there")
    for folder in FOLDERS:
        found = [path for path, _ in below(looked.image, f"{TOP}/{folder}")]
        if found:
            yield Problem(f"{TOP}/{folder}", f"{TOP}/{folder} holds {len(found)} files: {', '.join(found[:3])}")
    yield Note(f"{TOP} holds no instance")
