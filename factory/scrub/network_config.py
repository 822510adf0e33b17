"""Removes the network settings that were made for the build's one network card.

cloud-init renders them with the name or the MAC address of that card; udev rules bind names to MAC addresses. An
instance has another card, so it would come up without network and be lost for good. cloud-init renders them anew
for every instance. A recipe's own settings stay, but a MAC address in them refuses the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, below, matching, remaining, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Network settings made for the build's network card"
ORDER = 40

_RENDERED = (
    "/etc/network/interfaces.d/50-cloud-init*",
    "/etc/netplan/50-cloud-init*",
    "/etc/systemd/network/*cloud-init*",
    "/etc/NetworkManager/system-connections/cloud-init-*",
    "/etc/NetworkManager/conf.d/*cloud-init*",
)
_RULES = "/etc/udev/rules.d/*persistent-net*"
_IFCFG = ("/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network/ifcfg-*")
_MARK = "Created by cloud-init"
_PLACES = (
    "/etc/network/interfaces",
    "/etc/network/interfaces.d",
    "/etc/netplan",
    "/etc/systemd/network",
    "/etc/NetworkManager/system-connections",
    "/etc/sysconfig/network-scripts",
    "/etc/sysconfig/network",
)
# Neither all zeros nor all ones, which name no card, and not a part of an IPv6 address.
_MAC = re.compile(
    r"(?<![0-9a-f:])(?!(?:00[:-]){5}00|(?:ff[:-]){5}ff)(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:])", re.IGNORECASE
)


def apply(_: Facts) -> str:
    """A directory in place of a rules file is somebody's way to keep udev from writing it, and stays."""
    return f"""
    remove {" ".join(_RENDERED)} {_RULES}
    for file in {" ".join(_IFCFG)}; do
        if [ -f "$file" ] && grep -q {_MARK!r} "$file"; then
            rm -f "$file"
        fi
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Whoever wrote a file, a MAC address in it binds the image to one card."""
    yield from remaining(image, *_RENDERED, _RULES, empty=True)
    for path, found in [*matching(image, _PLACES[0]), *below(image, *_PLACES[1:])]:
        if found.kind != "file":
            continue
        content = text(image, path) or ""
        if re.search(r"/ifcfg-[^/]*$", path) and _MARK in content:
            yield Leftover(path, "made by cloud-init")
        for number, line in enumerate(content.splitlines(), 1):
            if not line.lstrip().startswith(("#", ";")) and _MAC.search(line):
                yield Leftover(path, f"line {number} has a MAC address")
