"""Empties /etc/machine-id, so that every machine gets an id of its own when it boots.

Machines with the same id get the same DHCP address. The file stays, empty and 0444: without it, or with the word
"uninitialized" in it, systemd takes the boot for the very first and enables or disables services by its presets, which
undoes what the recipe chose. D-Bus's copy becomes a link or is removed, because the old id would come back from it.
Boot entries named after an id are only reported: which name is right depends on the distribution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, matching, size, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "The machine-id"
ORDER = 100

_ID = "/etc/machine-id"
_DBUS = "/var/lib/dbus/machine-id"
_ENTRIES = ("/boot/loader/entries/*.conf", "/boot/efi/loader/entries/*.conf", "/efi/loader/entries/*.conf")


def apply(_: Facts) -> str:
    """Truncated in place, which keeps its security label. D-Bus makes its own link when it has none."""
    return f"""
    [ ! -L {_ID} ] || rm -f {_ID}
    : >{_ID}
    chown 0:0 {_ID}
    chmod 0444 {_ID}
    if [ ! -L {_DBUS} ]; then
        rm -f {_DBUS}
    elif [ "$(readlink {_DBUS})" != {_ID} ]; then
        ln -sfn {_ID} {_DBUS}
    fi
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """An empty regular file; D-Bus's copy a link to it, absent, or empty too."""
    found = image.stat(_ID)
    if found is None:
        yield Leftover(_ID, "is not there, so systemd would take each first boot for an installation")
    elif found.kind != "file" or found.size:
        yield Leftover(_ID, f"is no empty file, but {size(found)}")
    elif found.mode != 0o444 or found.uid != 0:
        yield Leftover(_ID, f"has the mode {found.mode:04o} and the owner {found.uid}, not 0444 and 0")
    copy = image.stat(_DBUS)
    if copy and copy.kind == "symlink":
        target = image.readlink(_DBUS)
        if target not in (_ID, "../../../etc/machine-id"):
            yield Leftover(_DBUS, f"points to {target}")
    elif copy and (copy.kind != "file" or copy.size):
        yield Leftover(_DBUS, f"is no link to {_ID}, but {size(copy)}")
    token = (text(image, "/etc/kernel/entry-token") or "").strip()
    for path, _found in matching(image, *_ENTRIES):
        name = re.match(r".*/([0-9a-f]{32})-", path)
        if name and name[1] not in (token, "f" * 32):
            yield Leftover(path, "is named after a machine-id, and entries of later kernels will not be", "warn")
