"""What running GRUB's configuration gives: the menu, its entries, and files as a boot loader finds them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.inspection import Image


@dataclass(frozen=True)
class Place:
    """A file as a boot loader finds it: a *path* on a *partition*, whose number is None when it could not be told."""

    partition: int | None
    path: str


@dataclass
class Entry:
    """A menu entry after it was run: *number* is ``0`` or ``1>2``; *line* is that of its command line.

    *protected*: it asks for a password.
    """

    path: str
    line: int
    title: str
    id: str
    number: str
    kernel: Place | None = None
    arguments: tuple[str, ...] = ()
    initrds: tuple[Place, ...] = ()
    protected: bool = False


@dataclass(frozen=True)
class Missing:
    """Something that a configuration refers to and that is not on this disk."""

    path: str
    line: int
    what: str


@dataclass
class Menu:
    """What running a configuration gave. *variables* are as they are when the menu is shown."""

    platform: str
    entries: list[Entry] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    bls: list[Place] = field(default_factory=list)  # folders of entries that "blscfg" shows


def shown(image: Image, place: Place) -> str:
    """The path of a file in the running guest, or on its partition when that is mounted nowhere."""
    if place.partition is None:
        return place.path
    tops = [(path, mounted, top.partition) for mounted, top in image.tops().items() for path in (top.path, top.full)]
    for path, mounted, partition in sorted(tops, key=lambda each: (-len(each[0] or ""), each[1])):
        if partition == place.partition and path is not None and f"{place.path}/".startswith(f"{path}/"):
            return mounted.rstrip("/") + place.path.removeprefix(path)
    return f"(partition {place.partition}){place.path}"


def environment_block(content: bytes) -> dict[str, str]:
    """The variables in a grubenv file."""
    found = {}
    for line in content.decode("utf-8", "replace").splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found[name] = re.sub(r"\\(.)", r"\1", value)
    return found
