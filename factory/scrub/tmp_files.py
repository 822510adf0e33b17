"""Empties /tmp and /var/tmp, hidden files included, and leaves both with the mode 1777.

A recipe that needs a file later must put it elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Temporary files"
ORDER = 390  # last: the operations before it may use them

_FOLDERS = ("/tmp", "/var/tmp")  # noqa: S108  the guest's
_MODE = 0o1777


def apply(_: Facts) -> str:
    """Emptied, not removed and made again, which loses the mode: then only root could write there."""
    return f"""
    empty {" ".join(_FOLDERS)}
    for directory in {" ".join(_FOLDERS)}; do
        [ ! -d "$directory/." ] || chmod {_MODE:o} "$directory/."
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Both must be there for everybody."""
    yield from any_below(image, *_FOLDERS)
    for folder in _FOLDERS:
        found = image.stat(folder, follow=True)
        if found is None or found.kind != "dir":
            yield Leftover(folder, "is no directory")
        elif found.mode != _MODE or found.uid != 0:
            yield Leftover(folder, f"has the mode {found.mode:04o} and the owner {found.uid}, not {_MODE:04o} and 0")
