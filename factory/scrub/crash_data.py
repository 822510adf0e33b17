"""Deletes dumps of programs and kernels that crashed in the build: they are copies of memory, keys included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below, named, size
from factory.reading import homes

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Crash dumps"
ORDER = 350

_FOLDERS = (
    "/var/crash",
    "/var/lib/systemd/coredump",
    "/var/lib/systemd/pstore",
    "/var/spool/abrt",
    "/var/lib/apport/coredump",
)
_CORES = ("core", "core.[0-9]*")


def apply(_: Facts) -> str:
    """Programs without a working directory of their own leave their cores in / or in a home."""
    return f"""
    empty {" ".join(_FOLDERS)}
    homes | while IFS= read -r home; do
        remove {" ".join(f'"$home"/{name}' for name in _CORES)}
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """A directory named core is somebody's own."""
    yield from any_below(image, *_FOLDERS)
    for home in homes.read(image).names:
        for path, found in named(image, home, _CORES):
            if found.kind != "dir":
                yield Leftover(path, size(found))
