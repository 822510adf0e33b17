"""Host names that say nothing: those that distributions give to a machine that has none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from factory.leftovers import text

if TYPE_CHECKING:
    from factory.inspection import Image

_LOCAL = re.compile(
    r"localhost\d?(\.localdomain\d?)?|(ip6|ipv6)-\S+|local|broadcasthost|\(none\)|\$\{?hostname\}?", re.IGNORECASE
)


def usual(image: Image, names: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name is one of *names*, the distribution's own or ``localhost``, with any domain."""
    release = text(image, "/etc/os-release") or text(image, "/usr/lib/os-release") or ""
    system = re.search(r"^ID=[\"']?([\w.-]+)", release, re.MULTILINE)
    known = {*map(str.lower, names), *([system[1].lower()] if system else [])}
    return lambda name: bool(_LOCAL.fullmatch(name)) or name.partition(".")[0].lower() in known
