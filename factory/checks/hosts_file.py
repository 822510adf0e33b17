"""/etc/hosts: no address but of the machine itself, and no name but those that every machine has.

Names that a cloud gives to its own services have a rule of their own. Parameter ``names`` as in
:mod:`factory.checks.host_names`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.checks.build_host_traces import CLOUD_NAMES
from factory.leftovers import text
from factory.reading import host_names

HOSTS = "/etc/hosts"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    usual = host_names.usual(looked.image, rule.parameters.get("names", []))
    for number, line in enumerate((text(looked.image, HOSTS) or "").splitlines(), 1):
        words = line.partition("#")[0].split()
        try:
            address = ipaddress.ip_address(words[0].partition("%")[0]) if words else None
        except ValueError:
            continue
        if address is None or CLOUD_NAMES.search(line.strip()):
            continue
        told = f"{HOSTS}:{number}: {' '.join(words)}"
        own = address.is_loopback or address.is_multicast or address.is_unspecified
        other = [name for name in words[1:] if not usual(name)]
        if not own and str(address) not in ("fe00::", "255.255.255.255"):
            yield Problem(HOSTS, f"{told} (an address of the build's network)", fix=without_line(HOSTS, number))
        elif other:
            yield Problem(HOSTS, f"{told} (the host name {other[0]})", fix=without_line(HOSTS, number))
