"""Deletes caches in homes: ``.cache``, those of npm, cargo, composer and Ansible, and the waste basket.

They can be made again and make the image large. A recipe that fills a cache on purpose, with a model or a browser
perhaps, should put it elsewhere and name that place in the program's settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below
from factory.reading import homes

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Caches in homes"
ORDER = 310

_FOLDERS = (
    ".cache",
    ".npm/_cacache",
    ".npm/_logs",
    ".npm/_npx",
    ".cargo/registry",
    ".cargo/git",
    ".composer/cache",
    ".ansible/tmp",
    ".ansible_async",
    ".local/share/Trash",
    ".thumbnails",
)
_FILES = (".gnupg/random_seed",)


def apply(_: Facts) -> str:
    """Symbolic links in their place go too, not what they point to."""
    every = " ".join(f'"$home/{name}"' for name in (*_FOLDERS, *_FILES))
    return f"""
    homes | while IFS= read -r home; do
        remove_trees {every}
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """An empty folder is no leftover."""
    for home in homes.read(image).names:
        yield from any_below(image, *(f"{home}/{name}" for name in _FOLDERS))
        for name in _FILES:
            if image.exists(f"{home}/{name}"):
                yield Leftover(f"{home}/{name}", "a file that GnuPG makes anew")
