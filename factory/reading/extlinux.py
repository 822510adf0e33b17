"""Entries of extlinux and syslinux, as their own parser reads them: keywords in any case, files that include others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factory.inspection import Absent, Unreadable

if TYPE_CHECKING:
    from factory.inspection import Image

LIMIT = 1 << 20  # bytes of one configuration
FILES = 32  # that include one another
NAMES = ("extlinux.conf", "syslinux.cfg")


@dataclass
class ExtlinuxEntry:
    """A LABEL. Paths are from the top of the partition; *line* is that of APPEND, or of the LABEL."""

    path: str
    line: int
    label: str
    kernel: str = ""
    initrds: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    default: bool = False


@dataclass
class ExtlinuxMenu:
    """*default* is the label that starts by itself, as DEFAULT names it; *timeout* is in seconds, 0: for ever."""

    entries: list[ExtlinuxEntry] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    default: str = ""
    default_line: tuple[str, int] = ("", 0)
    prompt: bool = False
    timeout: float = 0


def menu(image: Image, path: str, partition: int | None) -> ExtlinuxMenu:
    """What the configuration at *path* says. Raises Unreadable."""
    found = ExtlinuxMenu()
    shared: list[str] = []
    entry: ExtlinuxEntry | None = None
    for source, number, keyword, rest in _lines(image, path, partition, found):
        folder = source.rpartition("/")[0]
        word = keyword.lower()
        if word == "menu" and rest.lower().split()[:1] == ["default"] and entry:
            entry.default = True
        elif word == "label":
            entry = ExtlinuxEntry(source, number, rest)
            found.entries.append(entry)
        elif word in ("default", "ontimeout") and not (word == "default" and found.default):
            found.default, found.default_line = rest, (source, number)
        elif word == "timeout" and rest.isdigit():
            found.timeout = int(rest) / 10
        elif word == "prompt":
            found.prompt = rest not in ("", "0")
        elif word in ("kernel", "linux") and entry:
            entry.kernel = absolute(folder, rest.split()[0] if rest else "")
        elif word == "initrd" and entry:
            entry.initrds = [absolute(folder, each) for each in rest.split(",") if each]
        elif word == "append":
            if entry is None:
                shared = rest.split()
            else:
                entry.options, entry.line = ([] if rest == "-" else rest.split()), number
    for entry in found.entries:
        entry.options = entry.options or list(shared)
        for option in entry.options:
            if option.startswith("initrd="):
                folder = entry.path.rpartition("/")[0]
                entry.initrds += [absolute(folder, each) for each in option.removeprefix("initrd=").split(",")]
    return found


def absolute(folder: str, written: str) -> str:
    """A path as syslinux takes it: from the folder of the configuration unless it begins with a slash."""
    parts: list[str] = []
    for part in (written if written.startswith("/") else f"{folder}/{written}").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _lines(image: Image, path: str, partition: int | None, found: ExtlinuxMenu) -> Iterator[tuple[str, int, str, str]]:
    if len(found.files) >= FILES:
        raise Unreadable(f"{path} is part of more than {FILES} configurations that include one another")
    try:
        text = os.fsdecode(image.read(path, partition=partition, limit=LIMIT))
    except Absent:
        return
    found.files.append(path)
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip().split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        keyword, rest = words[0], words[1].strip() if len(words) > 1 else ""
        if keyword.lower() == "include" and rest:
            yield from _lines(image, absolute(path.rpartition("/")[0], rest.split()[0]), partition, found)
        elif keyword.lower() == "menu" and rest.lower().startswith("include "):
            yield from _lines(image, absolute(path.rpartition("/")[0], rest.split()[1]), partition, found)
        else:
            yield path, number, keyword, rest
