"""Deletes the leases and identities of DHCP clients.

A lease makes a new machine ask for the build's address; a stored DUID makes all machines the same client to the DHCP
server, which then gives all of them one address. The clients make new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, remaining

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "DHCP leases and client identities"
ORDER = 150

# By name where a folder is also for other things: /var/lib/dhcp is a DHCP server's too.
_PATTERNS = (
    "/var/lib/dhcp/dhclient*",
    "/var/lib/dhclient/*",
    "/var/lib/dhcp6/*",
    "/var/lib/dhcpcd/*",
    "/var/db/dhcpcd/*",
    "/etc/dhcpcd.duid",
    "/etc/dhcpcd.secret",
    "/var/lib/systemd/network/*",
    "/var/lib/wicked/*",
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/NetworkManager/timestamps",
    "/var/lib/NetworkManager/seen-bssids",
    "/var/lib/NetworkManager/*.lease",
    "/var/lib/NetworkManager/internal-*",
    "/var/lib/NetworkManager/NetworkManager-intern.conf",
)


def apply(_: Facts) -> str:
    """Directories stay, with the owners that the clients' own accounts need."""
    return f"""
    remove {" ".join(_PATTERNS)}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """An empty lease file says nothing."""
    yield from remaining(image, *_PATTERNS)
