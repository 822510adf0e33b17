"""Deletes caches of the system that are made again: of the linker, man pages, fonts, block devices and file names.

Databases of file names (locate) list files that the scrub deletes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, below, remaining, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Caches of the system"
ORDER = 320

_FILES = (
    "/var/cache/ldconfig/aux-cache",
    "/etc/blkid.tab*",
    "/var/lib/mlocate/mlocate.db",
    "/var/lib/plocate/plocate.db",
)
_FOLDERS = ("/var/cache/man", "/var/cache/fontconfig", "/var/cache/PackageKit", "/var/cache/app-info")


def apply(_: Facts) -> str:
    """Directories stay: that of man pages belongs to an account of its own."""
    return f"""
    remove {" ".join(_FILES)}
    for directory in {" ".join(_FOLDERS)}; do
        [ ! -d "$directory" ] || find "$directory" -xdev -type f -delete
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """A mark that fontconfig leaves in its folder counts like everything else there."""
    yield from remaining(image, *_FILES)
    for path, found in below(image, *_FOLDERS):
        if found.kind == "file":
            yield Leftover(path, size(found))
