"""Removes the name servers of the build's network from /etc/resolv.conf.

They are addresses inside the build's virtual network: an instance that keeps them waits for each of them in vain. A
file that DHCP wrote is deleted and written again by the next DHCP, or becomes systemd-resolved's link. A symbolic link
is the distribution's choice and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, remaining, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "The build's name servers"
ORDER = 140

_FILE = "/etc/resolv.conf"
_COPIES = ("/etc/resolv.conf.*", "/etc/.resolv.conf.*")


def apply(_: Facts) -> str:
    """A link to a file on the disk keeps the link and loses what is in the file."""
    return f"""
    remove {" ".join(_COPIES)}
    if [ ! -L {_FILE} ]; then
        rm -f {_FILE}
    elif target=$(readlink -f {_FILE}); then
        case $target in
            /run/* | /usr/*) ;;
            *) [ ! -f "$target" ] || : >"$target" ;;
        esac
    fi
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """A file without name servers, whoever wrote it, does no harm."""
    target = image.stat(_FILE, follow=True)
    if target and target.kind == "file":
        count = len(re.findall(r"^\s*nameserver\s", text(image, _FILE) or "", re.MULTILINE))
        if count:
            yield Leftover(_FILE, f"names {count} name server{'' if count == 1 else 's'}")
    yield from remaining(image, *_COPIES, empty=True)
