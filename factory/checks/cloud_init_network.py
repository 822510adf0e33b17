"""cloud-init sets up the network, or the image's own settings do it by DHCP for any card."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, without_words
from factory.checks.dhcp_for_any_card import network_off, without_dhcp
from factory.reading import boot_entries, cloud_init


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
    entries = {entry.path for entry in looked.know(boot_entries.read).entries}
    for path, place in off:
        told = f"{place} (and nothing else gives {', '.join(lacking)} an address)"
        if path in entries:
            yield Problem(path, told, fix=without_words("network-config=disabled"))
        elif path == cloud_init.BASE:
            yield Problem(path, told, fix=f"Take network: {{config: disabled}} out of {path}")
        else:
            yield Problem(path, told)
