"""polkit and doas: no rule is for a user who is not there, and none gives everything to somebody nobody allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching, text
from factory.reading import accounts

_POLKIT = tuple(
    f"{top}/polkit-1/{name}" for top in ("/etc", "/var/lib") for name in ("rules.d/*.rules", "localauthority/*/*.pkla")
)
_USER = re.compile(r"subject\.user\s*===?\s*[\"']([^\"']+)[\"']|unix-user:([A-Za-z_][\w.-]*)")
_DOAS = ("/etc/doas.conf", "/etc/doas.d/*.conf")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image, known = looked.image, looked.know(accounts.read)
    for pattern in _POLKIT:
        for path, _ in matching(image, pattern):
            for number, line in enumerate((text(image, path) or "").splitlines(), 1):
                bare = line.partition("//")[0] if not line.lstrip().startswith("#") else ""
                for match in _USER.finditer(bare):
                    name = match[1] or match[2]
                    if name not in known.names:
                        yield Problem(path, f"{path}:{number}: {line.strip()} ({name} is no account)")
    for pattern in _DOAS:
        for path, _ in matching(image, pattern):
            for number, line in enumerate((text(image, path) or "").splitlines(), 1):
                yield from _doas(looked, known, path, number, line.partition("#")[0].split())


def _doas(looked: Looked, known: accounts.Accounts, path: str, number: int, words: list[str]) -> Iterator[Problem]:
    if not words or words[0] != "permit":
        return
    who = next((word for word in words[1:] if word not in ("nopass", "persist", "keepenv", "nolog")), "")
    told, fix = f"{path}:{number}: {' '.join(words)}", without_line(path, number)
    if who.startswith(":"):
        if "nopass" in words:
            yield Problem(path, f"{told} (a group)", True, fix)
    elif who != "root":
        account = known.named(who)
        if account is None:
            yield Problem(path, f"{told} (no such user)", fix=fix)
        elif {account.name, str(account.uid)}.isdisjoint(looked.allow_users):
            yield Problem(path, f"{told} (a user whom nobody allowed)", not known.human(account), fix)
