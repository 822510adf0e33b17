"""Nothing of the network where the image was made: no leases, no name servers, no names of another cloud's hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.checks.dhcp_for_any_card import known_services
from factory.leftovers import remaining
from factory.reading.lines import content_of, is_file, numbered

RESOLV, HOSTS = "/etc/resolv.conf", "/etc/hosts"
LEASES = (
    "/var/lib/dhcp/dhclient*",
    "/var/lib/dhclient/*",
    "/var/lib/dhcp6/*",
    "/var/lib/dhcpcd/*",
    "/var/db/dhcpcd/*",
    "/var/lib/NetworkManager/*.lease",
    "/var/lib/NetworkManager/internal-*",
    "/etc/dhcpcd.duid",
    "/etc/dhcpcd.secret",
    "/var/lib/wicked/*",
    "/var/lib/systemd/network/*",
)
# What writes the file that /etc/resolv.conf is a link to.
WRITERS = {
    "/run/systemd/resolve/": "systemd-resolved.service",
    "/usr/lib/systemd/resolv.conf": "systemd-resolved.service",
    "/run/resolvconf/": "resolvconf.service",
    "/run/NetworkManager/": "NetworkManager.service",
}
CLOUD_NAMES = re.compile(
    r"\bmetadata\.google\.internal\b|\.compute\.internal\b|\binstance-data\b|^169\.254\.169\.254\b"
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for leftover in remaining(looked.image, *LEASES):
        yield Problem(leftover.path, f"{leftover.path}: {leftover.evidence}")
    yield from _resolv_conf(looked)
    for number, line in numbered(content_of(looked.image, HOSTS), "#"):
        if CLOUD_NAMES.search(line.strip()):
            yield Problem(HOSTS, f"{HOSTS}:{number}: {line.strip()}", fix=without_line(HOSTS, number))
    yield Note("no lease, no name server, no name of another cloud")


def _resolv_conf(looked: Looked) -> Iterator[Problem]:
    found = looked.image.stat(RESOLV)
    if found is None:
        return
    if found.kind == "symlink":
        target = looked.image.readlink(RESOLV)
        path = re.sub(r"^(\.\./)+|^/?(?:var/)?", "/", target, count=1)
        service = next((unit for start, unit in WRITERS.items() if path.startswith(start)), "")
        systemd = known_services(looked).systemd
        if service and systemd.present and not known_services(looked).started(service):
            yield Problem(RESOLV, f"{RESOLV} -> {target}, and {systemd.why_not(service)}")
    if is_file(looked.image, RESOLV):
        for number, line in numbered(content_of(looked.image, RESOLV)):
            local = line.split()[1:2] in (["127.0.0.53"], ["127.0.0.1"], ["::1"], ["127.0.0.54"])
            if line.split()[0] == "nameserver" and not local:
                yield Problem(RESOLV, f"{RESOLV}:{number}: {line.strip()}")
                return
