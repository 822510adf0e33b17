"""Kernel settings leave the network as it is everywhere: none for a card by name, none that changes addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.reading.interfaces import is_virtual
from factory.reading.lines import content_of, layered, numbered

FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
_CARD = re.compile(r"net\.ipv[46]\.conf\.([^.]+)\.(\w+)$")
# The values that are wrong for a server in a cloud.
WRONG = {"use_tempaddr": ("1", "2"), "disable_ipv6": ("1",), "accept_ra": ("0",)}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    last: dict[str, tuple[str, str, int, str]] = {}
    paths = [*layered(looked.image, FOLDERS, ".conf"), "/etc/sysctl.conf"]
    for path in paths:
        for number, line in numbered(content_of(looked.image, path)):
            key, separator, value = line.strip().lstrip("-").partition("=")
            name = key.strip().replace("/", ".")
            if separator and _CARD.match(name):
                last[name] = (value.strip(), path, number, f"{path}:{number}: {line.strip()}")
    for name, (value, path, number, place) in last.items():
        match = _CARD.match(name)
        assert match is not None
        card, setting = match.groups()
        one = card not in ("all", "default", "*") and not is_virtual(card)
        if one or (card in ("all", "default") and value in WRONG.get(setting, ())):
            yield Problem(path, place, fix=without_line(path, number))
    yield Note(f"{len(last)} settings of cards")
