"""Every directory of an image that is or may be a home, and what is directly in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING

from factory.reading import accounts
from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image

_MEMORY = ("/dev/", "/proc/", "/run/", "/sys/")


@dataclass(frozen=True)
class Homes:
    """*names* has the names directly in each home, by its path; the path "" is the root directory."""

    names: dict[str, tuple[str, ...]]

    def below(self, patterns: Iterable[str]) -> Iterator[str]:
        """*patterns* below every home, for :meth:`factory.inspection.Image.glob`, where something can match at all."""
        for pattern in patterns:
            first, slash, rest = pattern.partition("/")
            expression = re.compile(translate(first))
            for home, names in self.names.items():
                for name in filter(expression.match, names):
                    # What the home and the name hold is no pattern.
                    yield re.sub(r"([*?\[])", r"[\1]", f"{home}/{name}") + slash + rest


@once
def read(image: Image) -> Homes:
    """Those in passwd, /root, /home/* and /etc/skel. One on a partition that is not on the disk raises Unreadable.

    What lies in a machine's memory (the account sys has the home /dev) is none.
    """
    named = [account.home.rstrip("/") for account in accounts.read(image).all if account.home.startswith("/")]
    found = {}
    for home in dict.fromkeys(["", "/root", "/etc/skel", *image.glob("/home/*"), *named]):
        status = image.stat(home or "/", follow=True)
        if status and status.kind == "dir" and not f"{home}/".startswith(_MEMORY):
            found[home] = tuple(image.listdir(home or "/"))
    return Homes(found)
