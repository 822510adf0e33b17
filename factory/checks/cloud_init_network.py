"""cloud-init sets up the network, or the image's own settings do it by DHCP for any card."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.checks.dhcp_for_any_card import network_off, without_dhcp
from factory.reading import cloud_init


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if not looked.know(cloud_init.read).program:
        raise NotApplicable("cloud-init is not installed")
    off = network_off(looked)
    if not off:
        yield Note("cloud-init sets up the network")
        return
    lacking = without_dhcp(looked)
    if not lacking:
        yield Note(f"{off[0][1]}, and the image's own settings bring up any card by DHCP")
        return
    for path, place in off:
        yield Problem(path, f"{place} (and nothing else gives {', '.join(lacking)} an address)")
