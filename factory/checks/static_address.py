"""No card has a fixed address, gateway or name server: what the network gives, DHCP brings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line, without_words
from factory.reading import boot_entries, network
from factory.reading.interfaces import fixed
from factory.reading.lines import Entry, content_of, entries, layered, numbered, shell

_DHCLIENT = re.compile(r"\s*(supersede|fixed-address|append|prepend)\b")
_SERVERS = ("domain-name-servers", "routers")
_RESOLVED = ("/etc/systemd/resolved.conf.d", "/usr/lib/systemd/resolved.conf.d")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = [interface for interface in looked.know(network.read) if interface.physical]
    for interface in found:
        for place in interface.static:
            yield Problem(interface.path, place)
        for place in interface.servers if not interface.static else ():
            yield Problem(interface.path, place, warn=True)
    yield from _clients(looked)
    for entry in looked.know(boot_entries.read).entries:
        for word in entry.options:
            name, _, value = word.partition("=")
            if name in ("ip", "nameserver", "rd.route") and fixed(value.split(":")[0]):
                yield Problem(entry.path, f"{entry.path}:{entry.line}: {word}", fix=without_words(word))
    yield Note(f"{len(found)} stanzas for cards, none with a fixed address")


def _clients(looked: Looked) -> Iterator[Problem]:
    """What is told to DHCP clients, and what holds for the machine as a whole."""
    image = looked.image
    for path in ("/etc/dhcp/dhclient.conf", "/etc/dhclient.conf"):
        for number, line in numbered(content_of(image, path), "#"):
            if _DHCLIENT.match(line) and any(map(fixed, re.split(r"[\s,;]+", line))):
                server = any(word in line for word in _SERVERS) or "fixed-address" in line
                yield _line(path, number, line, warn=not server)
    for number, line in numbered(content_of(image, "/etc/dhcpcd.conf"), "#"):
        if re.match(r"\s*static\s+(ip_address|ip6_address|routers)\s*=", line):
            yield _line("/etc/dhcpcd.conf", number, line)
    said = shell("/etc/sysconfig/network", content_of(image, "/etc/sysconfig/network"))
    if "GATEWAY" in said and fixed(said["GATEWAY"].value):
        yield _said(said["GATEWAY"])
    for number, line in numbered(content_of(image, "/etc/sysconfig/network/routes"), "#"):
        if any(map(fixed, line.split()[1:2])):
            yield _line("/etc/sysconfig/network/routes", number, line)
    suse = shell("/etc/sysconfig/network/config", content_of(image, "/etc/sysconfig/network/config"))
    servers = suse.get("NETCONFIG_DNS_STATIC_SERVERS")
    if servers and servers.value:
        yield _said(servers, warn=True)
    for path in ["/etc/systemd/resolved.conf", *layered(image, _RESOLVED, ".conf")]:
        for entry in entries(path, content_of(image, path)):
            if entry.key == "DNS" and entry.value:
                yield _said(entry, warn=True)


def _line(path: str, number: int, line: str, *, warn: bool = False) -> Problem:
    return Problem(path, f"{path}:{number}: {line.strip()}", warn, without_line(path, number))


def _said(entry: Entry, *, warn: bool = False) -> Problem:
    return Problem(entry.path, entry.place, warn, without_line(entry.path, entry.line))
