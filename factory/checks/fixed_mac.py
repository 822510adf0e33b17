"""No network setting is bound to the MAC address of one card, in any of the systems that set up the network."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.inspection import Image
from factory.reading import boot_entries, network

_IN_WORD = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for path, place in looked.know(_macs):
        yield Problem(path, place)
    for entry in looked.know(boot_entries.read).entries:
        words = [word for word in entry.options if word.startswith(("ifname=", "BOOTIF=", "ip="))]
        if found := [word for word in words if _IN_WORD.search(word)]:
            yield Problem(entry.path, f"{entry.path}:{entry.line}: {' '.join(found)}")
    yield Note("no MAC address in any network setting")


def _macs(image: Image) -> list[tuple[str, str]]:
    return list(network.macs(image))
