"""The guest's own firewall lets SSH in: no rule that is loaded at boot refuses a new connection to port 22."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.dhcp_for_any_card import known_services
from factory.reading import firewall
from factory.reading.firewall import Firewall

SSH = 22
PORTS = (SSH, 8080)  # the second stands for any other


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = firewalls(looked)
    for each in found:
        if place := each.closes(SSH):
            path = each.files[0] if each.files else each.started.split(",")[0]
            yield Problem(path, f"{each.name} is started by {each.started}: {place}")
    yield Note(f"{len(found)} firewalls start at boot" if found else "no firewall starts at boot")


def firewalls(looked: Looked) -> list[Firewall]:
    """Every firewall that starts at boot."""
    return firewall.read(looked.image, known_services(looked), PORTS)
