"""Whether a card whose name and MAC address nobody knows yet would get its address by DHCP, and by what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from factory.reading import ifcfg, ifupdown, netplan, network_manager
from factory.reading.interfaces import KERNEL, PREDICTABLE, Interface
from factory.reading.lines import content_of, numbered
from factory.reading.services import Services

if TYPE_CHECKING:
    from factory.inspection import Image

_NETWORK = ".network"
STACKS = (
    "systemd-networkd.service",
    "NetworkManager.service",
    "networking.service",
    "network.service",
    "wicked.service",
    "wickedd.service",
    "dhcpcd.service",
    "connman.service",
)


def stopped(image: Image, services: Services) -> list[str]:
    """Why none of the services that are installed sets up the network; empty when one does or when none is there."""
    if not services.systemd.present or netplan.installed(image):  # netplan starts networkd by itself
        return []
    there = [name for name in STACKS if services.systemd.path(name)]
    return [] if any(map(services.started, there)) else [services.systemd.why_not(name) for name in there]


def unread(image: Image, services: Services) -> tuple[str, str] | None:
    """The (path, why) of what keeps the settings that cloud-init writes from taking effect; None when nothing does."""
    manager = services.started("NetworkManager")
    networkd = services.started("systemd-networkd")
    others = [services.started(name) for name in ("network", "wicked", "dhcpcd", "connman")]
    ifupdown_only = services.started("networking") and not networkd and not manager and not any(others)
    if netplan.installed(image):
        if netplan.renderer(image) != "networkd" and not manager and not ifupdown_only:
            return netplan.FOLDERS[1], f"netplan leaves all to {netplan.renderer(image)}, which is not started"
        return None
    rendered = "/etc/network/interfaces.d/50-cloud-init"
    if ifupdown_only and not services.openrc.present and not ifupdown.parse(image).reads(rendered):
        return ifupdown.MAIN, f"{ifupdown.MAIN} does not source {rendered}, where cloud-init writes"
    alone = manager and not networkd and not services.started("networking") and not any(others)
    if alone and not any(network_manager.manages(image, name) for name in (*PREDICTABLE, *KERNEL)):
        said = [entry for entry in network_manager.settings(image) if entry.key in ("unmanaged-devices", "managed")]
        return said[-1].path, f"{said[-1].place} (NetworkManager touches no card)"
    return None


def shadow(image: Image, services: Services, interfaces: Iterable[Interface], names: Sequence[str]) -> Interface | None:
    """What takes a card from the settings that cloud-init writes, and gives it no address; None when nothing does.

    Of networkd's files the first by name that matches a card decides, those that netplan makes among them.
    """
    planned = netplan.installed(image)
    others = ("NetworkManager", "networking", "network", "wicked", "dhcpcd", "connman")
    if planned and netplan.renderer(image) != "networkd":
        return None
    if not planned and (not services.started("systemd-networkd") or any(map(services.started, others))):
        return None
    prefix = "10-netplan-" if planned else "10-cloud-init-"
    files = {"networkd": "{0}"} | ({"netplan": f"{prefix}{{1}}{_NETWORK}"} if planned else {})
    found = []
    for each in interfaces:
        if form := files.get(each.system):
            key = re.search(r":\d+: [\"']?([\w.-]+)", each.place)
            found.append((form.format(each.path.rpartition("/")[2], key[1] if key else ""), each))
    for name in names:
        own = f"{prefix}{name}{_NETWORK}"
        first = next(
            (each for file, each in sorted(found, key=itemgetter(0)) if file < own and each.covers(name)), None
        )
        if first and not first.dhcp and not first.static:
            return first
    return None


def provider(image: Image, services: Services, interfaces: Iterable[Interface], name: str) -> str:
    """The place of what gives a card called *name* an address by DHCP; empty when nothing does."""
    listed = list(interfaces)
    running = {system: started for system, started in _running(image, services).items() if started}
    decided = False
    for interface in listed:
        system = "wicked" if interface.path.startswith(f"{ifcfg.SUSE}/ifcfg-") else interface.system
        if system not in running or not interface.covers(name) or (system == "networkd" and decided):
            continue
        if interface.dhcp and interface.up:
            return interface.place
        decided = decided or system == "networkd"  # its first file that matches decides, whatever later ones say
    if "NetworkManager" in running and network_manager.makes_one_itself(image, name):
        return running["NetworkManager"]
    if started := services.started("dhcpcd"):
        denied = [words for _, line in _dhcpcd(image) if (words := line.split())[0] in _DENY]
        return "" if denied else started
    return services.started("connman")


_DENY = ("denyinterfaces", "allowinterfaces", "static")


def _running(image: Image, services: Services) -> dict[str, str]:
    """The systems whose files are in force."""
    manager = services.started("NetworkManager")
    networkd = services.started("systemd-networkd")
    planned = netplan.installed(image) and (netplan.renderer(image) == "networkd" or manager)
    return {
        "netplan": "netplan" if planned else "",
        "networkd": networkd,
        "NetworkManager": manager,
        "ifcfg": manager or services.started("network"),
        "wicked": services.started("wicked") or services.started("network"),
        "ifupdown": services.started("networking"),
    }


def _dhcpcd(image: Image) -> Sequence[tuple[int, str]]:
    return list(numbered(content_of(image, "/etc/dhcpcd.conf")))
