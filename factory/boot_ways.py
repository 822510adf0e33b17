"""What a boot test must know of a disk that nobody described: which firmware boots it, and whom cloud-init lets in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from factory.inspection import Image, Unreadable
from factory.reading import default_user
from factory.reading.boot_firmware import read_bios, read_uefi

T = TypeVar("T")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")  # the disk may be hostile, and the name ends up in a command line


@dataclass(frozen=True)
class BootWays:
    """*firmware* holds bios, uefi or both: those that find a loader; *user* is empty when the disk names none."""

    firmware: tuple[str, ...]
    user: str


def read(image: Image, architecture: str = "x86_64") -> BootWays:
    """How *image* boots. What cannot be told, a boot has to try: then both kinds of firmware are named."""
    lacks = {
        "bios": _told(lambda: read_bios(image), ""),
        "uefi": _told(lambda: read_uefi(image, [architecture]), ""),
    }
    found = tuple(name for name, why in lacks.items() if not why)
    return BootWays(found or tuple(lacks), user_of(image))


def user_of(image: Image) -> str:
    """Whom cloud-init lets in on *image*; empty when that cannot be told."""
    user = _told(lambda: default_user.read(image).name, "")
    return user if _USER.fullmatch(user) else ""


def _told(reader: Callable[[], T], otherwise: T) -> T:
    """What *reader* says, or *otherwise* when the image cannot be read there."""
    try:
        return reader()
    except Unreadable:
        return otherwise
