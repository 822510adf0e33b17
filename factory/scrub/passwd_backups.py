"""Deletes the copies that tools keep of passwd, shadow and group, and Debian's backups of its package state.

A password that was changed or locked in the build is still in shadow-, and a deleted account in passwd-.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, matching, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Backups of the account databases"
ORDER = 130

_DATABASES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
_ENDINGS = ("-", "~", ".bak", ".old", ".orig", ".save", ".lock", ".[0-9]*", ".dpkg-*", ".ucf-*", ".rpmsave", ".rpmnew")
_PATTERNS = (
    *(f"/etc/{name}{ending}" for name in _DATABASES for ending in _ENDINGS),
    "/etc/.pwd.lock",
    *(f"/var/backups/{name}*" for name in _DATABASES),
    "/var/backups/dpkg.*",
    "/var/backups/apt.extended_states*",
    "/var/backups/alternatives.tar*",
)


def apply(_: Facts) -> str:
    """Other things in /var/backups may be the recipe's."""
    return f"""
    remove {" ".join(_PATTERNS)}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """/etc/.pwd.lock is always empty, and says only that an account was changed once."""
    for path, found in matching(image, *_PATTERNS):
        if found.size or path != "/etc/.pwd.lock":
            yield Leftover(path, size(found))
