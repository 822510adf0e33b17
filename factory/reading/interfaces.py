"""What the network configuration of a guest says about one card (or kind of card), whichever system reads it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

# Names that a virtual machine's first card gets under systemd's naming; nobody knows which before it boots.
PREDICTABLE = ("ens3", "ens18", "ens192", "enp1s0", "enp0s3", "enp7s0")
KERNEL = ("eth0",)  # its name without that naming: net.ifnames=0, Alpine
_VIRTUAL = re.compile(
    r"(lo|docker|br-|virbr|veth|dummy|tun|tap|wg|lxcbr|lxdbr|cni|flannel|cali|cilium|vxlan|geneve|vnet|podman|ppp|nebula"
    r"|tailscale|zt|kube|ve-|vb-|vt-|vz-|host0|6rd-|incusbr|mpqemubr|ib|can|usb|sit|gre|ip6tnl|ifb|macvlan|ipvlan|vrf)"
)


@dataclass(frozen=True)
class Interface:
    """One stanza. Places are ``path:line: text``."""

    system: str  # netplan, networkd, NetworkManager, ifcfg, ifupdown, cloud-init
    path: str
    place: str
    names: tuple[str, ...] = ()  # patterns such as e*; without any, every card
    narrow: str = ""  # why only some cards match: a MAC address, a driver, ...; empty when the name alone decides
    kind: str = "ethernet"  # ethernet, wifi, bridge, bond, vlan, tunnel, virtual, loopback
    ports: bool = False  # a bridge, bond or VLAN that holds cards of the machine
    dhcp: bool = False
    static: tuple[str, ...] = ()  # places of fixed addresses and gateways
    servers: tuple[str, ...] = ()  # places of fixed name servers
    up: bool = True  # brought up at boot
    waits: bool = False  # the boot waits for it
    renamed: str = ""  # the name that the card gets

    @property
    def physical(self) -> bool:
        """Whether it is about a card of the machine, by itself or in a bridge, bond or VLAN."""
        if self.kind in ("bridge", "bond", "vlan"):
            return self.ports
        names = [name for name in self.names if not name.startswith("!")]
        return self.kind == "ethernet" and not (names and all(map(is_virtual, names)))

    @property
    def one_name(self) -> str:
        """The name of the only card that it is for, empty when it is for several or any."""
        one = self.kind == "ethernet" and self.physical and len(self.names) == 1
        return self.names[0] if one and not re.search(r"[*?\[]", self.names[0]) else ""

    def covers(self, name: str) -> bool:
        """Whether a card called *name* is meant, as far as its name tells."""
        return self.physical and not self.narrow and (not self.names or matches(name, self.names))


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether *name* matches one of *patterns* and none that begins with ``!``."""
    listed = list(patterns)
    if any(pattern.startswith("!") and fnmatchcase(name, pattern[1:]) for pattern in listed):
        return False
    wanted = [pattern for pattern in listed if not pattern.startswith("!")]
    return not wanted or any(fnmatchcase(name, pattern) for pattern in wanted)


def is_virtual(name: str) -> bool:
    """Whether a card of that name is none of the machine's: loopback, a container's bridge, a tunnel."""
    return bool(_VIRTUAL.match(name))


def fixed(address: str) -> bool:
    """Whether *address* (with or without a prefix length) is a fixed one of a network: not loopback or link-local."""
    try:
        found = ipaddress.ip_interface(address.strip().strip("\"'")).ip
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local or found.is_unspecified or found.is_multicast)
