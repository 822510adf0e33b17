"""The boot waits for no card of one name: where that card is missing, it would stand still for minutes."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.dhcp_for_any_card import known_services, names
from factory.reading import network

_WAITING = {
    "netplan": ("systemd-networkd-wait-online", "NetworkManager-wait-online"),
    "cloud-init": ("systemd-networkd-wait-online", "networking", "NetworkManager-wait-online"),
    "networkd": ("systemd-networkd-wait-online",),
    "NetworkManager": ("NetworkManager-wait-online", "NetworkManager"),
    "ifupdown": ("networking",),
    "ifcfg": ("wicked", "network"),
}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    called, services = names(looked), known_services(looked)
    for interface in looked.know(network.read):
        name = interface.one_name
        if not name or not interface.waits or (called.kernel and name in called.possible):
            continue
        if started := services.started(*_WAITING[interface.system]):
            yield Problem(interface.path, f"{interface.place} ({started} waits for {name})")
    yield Note("the boot waits for no card by name")
