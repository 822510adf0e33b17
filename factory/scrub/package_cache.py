"""Removes what package systems keep to be faster: downloaded packages, package lists, backups of their databases.

They make up much of an image's size, are out of date when it boots, and the lists tell which mirror the build used.
A package system fetches its lists anew at its next update. The databases themselves stay, as do debconf's answers,
which packages need when they are upgraded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below, below, remaining, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Downloaded packages, package lists and backups of the package databases"
ORDER = 10

_WHOLE = ("/var/cache/dnf", "/var/cache/yum", "/var/cache/zypp", "/var/cache/apk", "/etc/apk/cache")
_FILES = (
    "/var/cache/apt/*.bin",
    "/var/cache/debconf/*-old",
    "/var/lib/dpkg/*-old",
    "/var/lib/apt/periodic/*",
    "/var/lib/unattended-upgrades/*",
    "/var/lib/update-notifier/*",
)


def apply(_: Facts) -> str:
    """Files only below apt's folders: their directories belong to the user _apt, and apt wants them there."""
    return f"""
    for directory in /var/cache/apt/archives /var/lib/apt/lists; do
        [ ! -d "$directory" ] || find "$directory" -xdev -type f ! -name lock -delete
    done
    remove {" ".join(_FILES)}
    empty {" ".join(_WHOLE)}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """apt's lock files, which are always empty, and its directories are no leftovers."""
    for path, found in below(image, "/var/cache/apt/archives", "/var/lib/apt/lists"):
        if not path.endswith("/lock"):
            yield Leftover(path, size(found))
    yield from remaining(image, *_FILES)
    yield from any_below(image, *_WHOLE)
