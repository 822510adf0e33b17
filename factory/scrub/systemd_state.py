"""Deletes what systemd remembers of the build's hardware, and services of users who are no more.

The states of the build's backlights and radio switches mean nothing elsewhere. A "lingering" user's services start at
boot: what a recipe arranged for a user that exists stays. Time stamps of timers stay too, because without them all
timers would fire at the first boot, and so does the clock's, which is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below
from factory.reading import accounts

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "systemd's memory of the build's hardware and of users who are no more"
ORDER = 340

_HARDWARE = ("/var/lib/systemd/rfkill", "/var/lib/systemd/backlight")
_LINGER = "/var/lib/systemd/linger"


def apply(_: Facts) -> str:
    """A file for each lingering user, by its name."""
    return f"""
    empty {" ".join(_HARDWARE)}
    for file in {_LINGER}/*; do
        [ ! -f "$file" ] || grep -q "^${{file##*/}}:" /etc/passwd || rm -f "$file"
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """As apply does."""
    yield from any_below(image, *_HARDWARE)
    names = accounts.read(image).names
    for leftover in any_below(image, _LINGER):
        if leftover.path.rpartition("/")[2] not in names:
            yield Leftover(leftover.path, "services of a user who is no more")
