"""OpenRC as an image holds it: which services its run levels start when the machine boots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import named, text
from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image

_FOLDER = "/etc/runlevels"
_STARTED = ("sysinit", "boot", "default")


@dataclass(frozen=True)
class OpenRC:
    """*present* says whether the image has OpenRC; *started* has the link in a run level for each service."""

    present: bool
    started: dict[str, str]


@once
def read(image: Image) -> OpenRC:
    """The services that start at boot: those in ``sysinit``, ``boot`` and the level that inittab names, stacked ones
    included. A link without an init script starts nothing."""
    if not image.exists(_FOLDER):
        return OpenRC(False, {})
    levels = list(_STARTED)
    for line in (text(image, "/etc/inittab") or "").splitlines():
        words = line.partition("#")[0].rpartition(":")[2].split()
        if len(words) == 2 and words[0].rpartition("/")[2] == "openrc":
            levels.append(words[1])
    started: dict[str, str] = {}
    left = list(dict.fromkeys(levels))
    seen = set(left)
    while left:
        for path, found in named(image, f"{_FOLDER}/{left.pop(0)}", ["*"]):
            name = path.rpartition("/")[2]
            if found.kind == "dir" or image.exists(f"{_FOLDER}/{name}"):  # a stacked run level
                left += [name] if name not in seen else []
                seen.add(name)
            elif image.exists(f"/etc/init.d/{name}"):
                started.setdefault(name, path)
    return OpenRC(True, started)
