"""No setting is only for a card of one name, which the machine's card will have by chance alone."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.dhcp_for_any_card import names
from factory.reading import network


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    called = names(looked)
    for interface in looked.know(network.read):
        name = interface.one_name
        if name and not (called.kernel and name in called.possible):
            yield Problem(interface.path, f"{interface.place} (only for {name})")
    yield Note(f"ready for {', '.join(called.possible)}")
