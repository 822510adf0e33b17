"""Deletes what installers leave in a system: their logs and the answers they were given.

Answer files hold password hashes. A base that the factory made has none of it; one that somebody installed by hand and
gave to the factory may.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below, remaining

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Logs and answer files of installers"
ORDER = 200

_FILES = (
    "/root/*-ks.cfg",
    "/root/ks-*",
    "/root/install.log*",
    "/root/preseed.cfg",
    "/var/adm/autoinstall/cache/*",
    "/factory-first-boot",
)
_FOLDERS = ("installer", "anaconda", "fai", "YaST2", "curtin", "kiwi")


def apply(_: Facts) -> str:
    """The folders go whole: no service writes there."""
    return f"""
    remove {" ".join(_FILES)}
    remove_trees {" ".join(f"/var/log/{folder}" for folder in _FOLDERS)}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Empty folders are no leftovers."""
    yield from remaining(image, *_FILES, empty=True)
    yield from any_below(image, *(f"/var/log/{folder}" for folder in _FOLDERS))
