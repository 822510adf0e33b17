"""Host names: no file that sets one has the name of the build's machine.

Parameter ``names``: what a distribution calls a machine without a name; the ID of os-release and ``localhost`` count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import text
from factory.reading import host_names

_NAME = r"^\s*([^#\s]\S*)\s*$"
_OF_CARD = r"^\s*hostname\s+([^#\s$]\S*)\s*$"  # of a stanza, for DHCP
_SENT = r"^\s*(?:send|supersede)\s+(?:host-name|fqdn\.fqdn)\s*=?\s*\"([^\"]+)\""
FILES = {
    "/etc/hostname": _NAME,
    "/etc/HOSTNAME": _NAME,
    "/etc/mailname": _NAME,
    "/etc/sysconfig/network": r"^\s*HOSTNAME=[\"']?([^\"'\s]+)",
    "/etc/machine-info": r"^\s*PRETTY_HOSTNAME=[\"']?([^\"']+)",
    "/etc/network/interfaces": _OF_CARD,
    "/etc/network/interfaces.d/*": _OF_CARD,
    "/etc/dhcp/dhclient.conf": _SENT,
    "/etc/dhclient.conf": _SENT,
    "/etc/conf.d/hostname": r"^\s*hostname=[\"']?([^\"'\s]+)",
}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    usual = host_names.usual(looked.image, rule.parameters.get("names", []))
    found_in = [(path, expression) for pattern, expression in FILES.items() for path in looked.image.glob(pattern)]
    for path, expression in found_in:
        status = looked.image.stat(path, follow=True)
        if status is None or status.kind != "file":
            continue
        for number, line in enumerate((text(looked.image, path) or "").splitlines(), 1):
            found = re.search(expression, line)
            if found and not usual(found[1]):
                fix = None if expression == _NAME else without_line(path, number)
                yield Problem(path, f"{path}:{number}: {line.strip()}", fix=fix)
