"""Lines of configuration files: with their numbers, without comments, by section, layered by file name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.inspection import Image

LIMIT = 2 << 20  # bytes of a configuration file


@dataclass(frozen=True)
class Entry:
    """``key = value`` in a section of a file; *section* is as written, *place* is ``path:line: text``."""

    section: str
    key: str
    value: str
    path: str
    line: int

    @property
    def place(self) -> str:
        """Where it stands, with its text."""
        return f"{self.path}:{self.line}: {self.key}={self.value}"


def place(path: str, content: str, needle: str) -> str:
    """``path:line: text`` of the first line without a comment that holds *needle*; *path* alone when none does."""
    for number, line in numbered(content):
        if needle in line:
            return f"{path}:{number}: {line.strip()}"
    return path


def numbered(content: str, marks: str = "#;") -> Iterator[tuple[int, str]]:
    """The lines of *content* that are neither empty nor a comment, with their numbers from 1."""
    for number, line in enumerate(content.splitlines(), 1):
        bare = line.strip()
        if bare and bare[0] not in marks:
            yield number, line


def entries(path: str, content: str) -> list[Entry]:
    """What an INI-like file of systemd or GLib says. A line that ends in a backslash goes on in the next."""
    found: list[Entry] = []
    section, held, first = "", "", 0
    for number, line in numbered(content):
        whole, held = held + line.strip(), ""
        first = first or number
        if whole.endswith("\\"):
            held = whole[:-1] + " "
            continue
        if whole.startswith("["):
            section = whole.strip("[]")
        elif "=" in whole:
            key, _, value = whole.partition("=")
            found.append(Entry(section, key.strip(), value.strip(), path, first))
        first = 0
    return found


def shell(path: str, content: str) -> dict[str, Entry]:
    """The variables that a file of shell assignments sets, unquoted; a later line wins."""
    found = {}
    for number, line in numbered(content, "#"):
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", line)
        if match:
            found[match[1]] = Entry("", match[1], unquote(match[2].strip()), path, number)
    return found


def unquote(word: str) -> str:
    """A shell word without its quotes, and without the comment behind it."""
    if word[:1] in ("'", '"'):
        return word[1:].partition(word[0])[0]
    return re.split(r"\s+#|\s", word, maxsplit=1)[0]


def layered(image: Image, folders: Sequence[str], suffix: str, *, hidden: bool = False) -> list[str]:
    """The files that count, by name: of the same name, the one in the first of *folders*; links to nothing mask it."""
    found: dict[str, str] = {}
    for folder in folders:
        top = image.stat(folder, follow=True)
        if top is None or top.kind != "dir":
            continue
        for name in image.listdir(folder):
            if name.endswith(suffix) and (hidden or not name.startswith(".")):
                found.setdefault(name, f"{folder}/{name}")
    return [path for _, path in sorted(found.items()) if is_file(image, path)]


def is_file(image: Image, path: str) -> bool:
    """Whether a file is at *path*, be it by a link; a device such as /dev/null is none."""
    found = image.stat(path, follow=True)
    return found is not None and found.kind == "file"


def content_of(image: Image, path: str) -> str:
    """The text of the file at *path*, empty when there is none. Raises Unreadable above LIMIT."""
    return os.fsdecode(image.read(path, limit=LIMIT)) if is_file(image, path) else ""
