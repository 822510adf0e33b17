"""No list of refused hosts keeps people out: hosts.allow, hosts.deny (for sshd), and bans that fail2ban remembers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching, size
from factory.reading.lines import content_of, numbered

ALLOW, DENY = "/etc/hosts.allow", "/etc/hosts.deny"
BANS = ("/var/lib/fail2ban/*.sqlite3", "/var/lib/denyhosts/*", "/var/lib/sshguard/*")
_DAEMONS = {"all", "sshd", "ssh"}
_EVERYBODY = {"all", "0.0.0.0/0", "0.0.0.0/0.0.0.0"}
_ANYBODY = {"paranoid", "unknown"}  # whoever has no name in DNS, or a wrong one: anybody in a cloud


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    yield from _refused(looked)
    for path, found in matching(looked.image, *BANS):
        if found.size:
            yield Problem(path, f"{path}: {size(found)}")
    yield Note("nobody is refused")


def _refused(looked: Looked) -> Iterator[Problem]:
    """The lines by which sshd refuses everybody: the first that fits decides, and the files are read in this order."""
    for path in (ALLOW, DENY):
        for number, line in numbered(content_of(looked.image, path), "#"):
            named, listed, verdict = _parts(line)
            if not named & _DAEMONS or not listed & (_EVERYBODY | _ANYBODY):
                continue
            if verdict == "refuse" or (not verdict and path == DENY):
                yield Problem(path, f"{path}:{number}: {line.strip()}", fix=without_line(path, number))
            elif listed & _EVERYBODY:
                return


def _parts(line: str) -> tuple[set[str], set[str], str]:
    """The daemons and the clients of a line of hosts_access(5), and what an option of hosts_options(5) decides."""
    daemons, clients, *options = [*re.sub(r"\[.*?\]", "", line.replace(r"\:", "")).split(":"), ""]
    words = [option.split()[0].lower() for option in options if option.split()]
    verdict = "refuse" if {"deny", "twist"}.intersection(words) else "allow" if "allow" in words else ""
    return _words(daemons), _words(clients), verdict


def _words(listed: str) -> set[str]:
    return {word.lower() for word in re.split(r"[\s,]+", listed.partition("EXCEPT")[0].strip())}
