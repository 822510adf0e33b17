"""No list of refused hosts keeps people out: no hosts.deny for sshd, and no ban that fail2ban remembers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching, size
from factory.reading.lines import content_of, numbered

ALLOW, DENY = "/etc/hosts.allow", "/etc/hosts.deny"
BANS = ("/var/lib/fail2ban/*.sqlite3", "/var/lib/denyhosts/*", "/var/lib/sshguard/*")
_DAEMONS = ("all", "sshd", "ssh")
_EVERYBODY = ("all", "0.0.0.0/0", "0.0.0.0/0.0.0.0", "paranoid", "unknown")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    allowed = any(_matches(line) for _, line in numbered(content_of(looked.image, ALLOW), "#"))
    for number, line in numbered(content_of(looked.image, DENY), "#"):
        if _matches(line) and not allowed:
            yield Problem(DENY, f"{DENY}:{number}: {line.strip()}", fix=without_line(DENY, number))
    for path, found in matching(looked.image, *BANS):
        if found.size:
            yield Problem(path, f"{path}: {size(found)}")
    yield Note("nobody is refused")


def _matches(line: str) -> bool:
    """Whether a line of hosts_access(5) is about sshd and everybody."""
    daemons, _, clients = line.replace("[::]", "").partition(":")
    named = [word.lower() for word in re.split(r"[\s,]+", daemons.partition("EXCEPT")[0].strip())]
    listed = [word.lower() for word in re.split(r"[\s,]+", clients.split(":")[0].partition("EXCEPT")[0].strip())]
    return bool(set(named) & set(_DAEMONS)) and bool(set(listed) & set(_EVERYBODY))
