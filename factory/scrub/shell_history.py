"""Deletes the histories that shells, editors and database clients keep in homes.

Commands hold passwords. A symbolic link, to /dev/null for example, is somebody's way to keep no history, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, named
from factory.reading import homes

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Histories of shells, editors and database clients"
ORDER = 300

_NAMES = (
    ".*_history",
    ".*_history-*",
    ".*_history.*",
    ".history",
    ".zhistory",
    ".sh_history",
    ".lesshst",
    ".viminfo*",
    ".wget-hsts",
    ".dbshell",
    ".local/share/fish/fish_history",
    ".local/share/nano/search_history",
    ".local/state/lesshst",
    ".local/share/nvim/shada/*",
    ".local/state/nvim/shada/*",
)
_FOLDERS: dict[str, list[str]] = {}  # folder below the home -> patterns of names in it
for _name in _NAMES:
    _folder, _slash, _last = _name.rpartition("/")
    _FOLDERS.setdefault(_slash + _folder, []).append(_last)


def apply(_: Facts) -> str:
    """The names are patterns only after the home, whose own name may hold anything."""
    patterns = " ".join(f'"$home"/{name}' for name in _NAMES)
    return f"""
    homes | while IFS= read -r home; do
        for file in {patterns}; do
            [ -L "$file" ] || remove "$file"
        done
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Files with content."""
    for home in homes.read(image).names:
        for folder, names in _FOLDERS.items():
            for path, found in named(image, f"{home}{folder}", names):
                if found.kind == "file" and found.size:
                    yield Leftover(path, f"a history of {found.size} bytes")
