"""No setting is only for a card of one name, which the machine's card will have by chance alone."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.dhcp_for_any_card import names
from factory.reading import network, networkd
from factory.reading.interfaces import is_virtual


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    called = names(looked)
    for interface in looked.know(network.read):
        name = interface.one_name
        if name and not (called.kernel and name in called.possible):
            yield Problem(interface.path, f"{interface.place} (only for {name})")
        elif interface.renamed and not interface.narrow:
            yield Problem(interface.path, f"{interface.place} (renames the card to {interface.renamed})")
    for path, said in looked.know(networkd.links):
        given = [entry for entry in said if (entry.section, entry.key) == ("Link", "Name")]
        match = {entry.key: entry.value for entry in said if entry.section == "Match"}
        virtual = match.get("Kind", "!*") != "!*" or is_virtual(match.get("OriginalName", "*"))
        bound = any(key.endswith("MACAddress") for key in match)  # another rule's
        if given and not bound and not virtual and not is_virtual(given[0].value):
            yield Problem(path, f"{given[0].place} (the name of one card)")
    yield Note(f"ready for {', '.join(called.possible)}")
