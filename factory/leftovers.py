"""What a scrub operation's ``verify`` reports, and how it looks for it in an image.

An image is read through :class:`factory.inspection.Image`. Its Unreadable is never caught here: what cannot be looked
at must not pass for clean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Literal

from factory.inspection import Absent

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.inspection.answers import FileStat


@dataclass(frozen=True)
class Leftover:
    """Something of the build that is still in the image.

    *evidence* says what it is, never the value of a secret. A leftover of the severity ``warn`` is for people to judge;
    one of ``error`` refuses the image. *operation* is filled in by :func:`factory.scrub.verify`.
    """

    path: str
    evidence: str
    severity: Literal["error", "warn"] = "error"
    operation: str = ""


def below(image: Image, *folders: str) -> Iterator[tuple[str, FileStat]]:
    """Everything below *folders* that is no directory, with what it is; a folder that is not there holds nothing."""
    for folder in folders:
        yield from ((path, found) for path, found in image.walk(folder) if found.kind != "dir")


def matching(image: Image, *patterns: str) -> Iterator[tuple[str, FileStat]]:
    """Every path but directories that matches one of the glob *patterns*, once, with what it is."""
    for path in sorted({path for pattern in patterns for path in image.glob(pattern)}):
        found = image.stat(path)
        if found and found.kind != "dir":
            yield path, found


def remaining(image: Image, *patterns: str, empty: bool = False) -> Iterator[Leftover]:
    """A leftover for each path but directories that matches one of *patterns*; for empty files only if *empty*."""
    for path, found in matching(image, *patterns):
        if found.size or empty:
            yield Leftover(path, size(found))


def named(image: Image, folder: str, patterns: Iterable[str]) -> Iterator[tuple[str, FileStat]]:
    """Everything directly in *folder* whose name matches one of *patterns*, whatever the folder's own name holds."""
    top = image.stat(folder or "/", follow=True)
    if top and top.kind == "dir":
        expression = re.compile("|".join(map(translate, patterns)))
        for name, found in image.scan(folder or "/"):
            if expression.match(name):
                yield f"{folder}/{name}", found


def any_below(image: Image, *folders: str) -> Iterator[Leftover]:
    """A leftover for each name directly in one of *folders*, empty files and directories included."""
    for folder in folders:
        top = image.stat(folder, follow=True)
        if top and top.kind == "dir":
            for name, found in image.scan(folder):
                yield Leftover(f"{folder}/{name}", "a directory" if found.kind == "dir" else size(found))


def blank(image: Image, path: str) -> bool:
    """Whether the file at *path* holds nothing but zero bytes, as a table of logins that never were."""
    return not any(piece.strip(b"\0") for piece in image.chunks(path))


def size(found: FileStat) -> str:
    """How large a file is, or what it is if it is no file."""
    return f"{found.size} byte{'' if found.size == 1 else 's'}" if found.kind == "file" else f"a {found.kind}"


def text(image: Image, path: str) -> str | None:
    """The content of a text file; None when it is not there. Bytes that are no UTF-8 become surrogates."""
    try:
        return os.fsdecode(image.read(path))
    except Absent:
        return None


def holds(image: Image, path: str, needle: bytes) -> bool:
    """Whether the file at *path* has *needle* in it, however large it is."""
    end = b""
    for piece in image.chunks(path):
        if needle in end + piece:
            return True
        end = piece[-len(needle) + 1 :] if len(needle) > 1 else b""
    return False


def line_with(content: str, word: str) -> int:
    """The number of the first line of *content* that has *word* in it; 0 when none has."""
    return next((number for number, line in enumerate(content.splitlines(), 1) if word in line), 0)
