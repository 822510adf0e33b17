"""Patterns of paths, matched against the names that an image really holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.inspection import Image


def glob(image: Image, pattern: str, partition: int | None) -> list[str]:
    """The paths of *image* that match an absolute *pattern*, in order; see :meth:`factory.inspection.Image.glob`."""
    found = [""]
    parts = [part for part in pattern.split("/") if part]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        found = [path for folder in found for path in _matches(image, folder, part, last, partition)]
    return sorted(set(found))


def _matches(image: Image, folder: str, part: str, last: bool, partition: int | None) -> Iterator[str]:
    if not re.search(r"[*?\[]", part):
        found = image.stat(f"{folder}/{part}", follow=not last, partition=partition)
        if found and (last or found.kind == "dir"):
            yield f"{folder}/{part}"
        return
    if part == "**":
        if not last:
            yield folder
        for path, found in image.walk(folder or "/", partition=partition):
            if last or found.kind == "dir":
                yield path
        return
    top = image.stat(folder or "/", follow=True, partition=partition)
    if top is None or top.kind != "dir":
        return
    expression = re.compile(translate(part))
    for name, found in image.scan(folder or "/", partition=partition):
        if expression.match(name) and (last or found.kind in ("dir", "symlink")):
            yield f"{folder}/{name}"
