"""NetworkManager's connections count and are not the builder's: readable for root alone, not made by the initramfs."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import network_manager

ORIGIN = "org.freedesktop.NetworkManager.origin"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = [each for each in looked.know(network_manager.connections) if each.said]
    if not found:
        raise NotApplicable("there is no connection of NetworkManager")
    for connection in found:
        if connection.refused:
            yield Problem(connection.path, f"{connection.path}: {connection.refused}, so NetworkManager leaves it out")
        for entry in connection.said:
            if entry.key == ORIGIN and "initrd" in entry.value:
                yield Problem(connection.path, entry.place)
    yield Note(f"{len(found)} connections")
