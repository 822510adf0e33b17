"""The packet for which firewalls' rules are followed: what iptables and nftables have in common.

The packet is the first of a TCP connection from a public IPv4 address to a port of the machine, on one of its real
cards. A match that cannot be told for it (a set that is filled elsewhere, another address of the machine) counts as
not met.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

SOURCE = "203.0.113.7"  # of the documentation's addresses: nobody's
PORTS = {"ssh": 22, "http": 80, "https": 443, "domain": 53, "webcache": 8080}
CHAINS = 200  # that jump to one another


@dataclass(frozen=True)
class Verdict:
    """Whether the packet gets in, and ``path:line: text`` of the rule or policy that says no."""

    accepted: bool
    place: str = ""


ACCEPTED = Verdict(True)


@dataclass
class Chain:
    """A chain: its rules as (words, place) and its policy as ``ACCEPT`` or ``DROP``."""

    rules: list[tuple[list[str], str]] = field(default_factory=list)
    policy: str = "ACCEPT"
    place: str = ""


def in_ports(parts: Sequence[str], port: int) -> bool:
    """Whether *port* is in one of *parts*: ``22``, ``ssh``, ``1:1024``."""
    for part in parts:
        low, _, high = part.strip().replace("-", ":").partition(":")
        first = _port(low, 0)
        if first <= port <= (_port(high, 65535) if ":" in part.replace("-", ":") else first):
            return True
    return False


def _port(word: str, default: int) -> int:
    return int(word) if word.isdigit() else PORTS.get(word.lower(), default if not word else -1)


def in_network(network: str) -> bool:
    """Whether the packet comes from *network*."""
    if network in ("0/0", "anywhere"):
        return True
    try:
        return ipaddress.ip_address(SOURCE) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
