"""Deletes what sudo remembers: who gave a password lately, and who was lectured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "What sudo remembers of users"
ORDER = 330

_FOLDERS = ("/var/lib/sudo/lectured", "/var/lib/sudo/ts", "/var/db/sudo/lectured", "/var/db/sudo/ts")


def apply(_: Facts) -> str:
    """sudo wants its directories."""
    return f"empty {' '.join(_FOLDERS)}"


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Its files are empty; their names are those of users."""
    yield from any_below(image, *_FOLDERS)
