"""Greetings: what is shown before and after a login names no address of the build's network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching, text

_FILES = (
    "/etc/motd",
    "/etc/motd.d/*",
    "/etc/issue",
    "/etc/issue.net",
    "/etc/issue.d/*",
    "/etc/update-motd.d/*",
    "/var/lib/update-notifier/*",
)
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for pattern in _FILES:
        for path, _ in matching(looked.image, pattern):
            found = looked.image.stat(path, follow=True)
            if found is None or found.kind != "file":
                continue
            for number, line in enumerate((text(looked.image, path) or "").splitlines(), 1):
                if address := next(filter(_private, _ADDRESS.findall(line)), ""):
                    yield Problem(path, f"{path}:{number}: the address {address}", fix=without_line(path, number))


def _private(word: str) -> bool:
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        return False
    return address.is_private and not address.is_loopback and not address.is_unspecified
