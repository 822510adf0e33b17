"""NetworkManager may bring up a card that no file speaks of: nothing forbids it to make a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, without_line
from factory.checks.dhcp_for_any_card import names
from factory.reading import network_manager


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if not any(map(looked.image.exists, network_manager.PROGRAMS)):
        raise NotApplicable("NetworkManager is not installed")
    said = looked.know(network_manager.settings)
    possible = names(looked).possible
    for entry in said:
        no_auto = (entry.section, entry.key) == ("main", "no-auto-default")
        if no_auto and any(network_manager.listed(entry.value, name) for name in possible):
            yield Problem(entry.path, entry.place, fix=without_line(entry.path, entry.line))
    yield Note("a card without a file gets a connection by DHCP")
