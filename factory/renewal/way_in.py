"""Whether a guest lets root in by a key once its sshd has read its settings anew, as it does when a guest goes on.

A step may forbid it, and the build notices nothing: its session stands. A layer of that guest would be of no use.
"""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.guest import Guest

HOST = "10.0.2.2"  # whence a login comes, as the guest sees it
KEYS = {".ssh/authorized_keys", "%h/.ssh/authorized_keys", "/root/.ssh/authorized_keys"}
QUESTION = (
    "PATH=$PATH:/usr/sbin:/sbin; echo groups $(id -Gn root); "
    f"sshd -T -C user=root,host={HOST},addr={HOST},laddr=10.0.2.15,lport=22 2>&1; echo status $?"
)


def why_shut(guest: Guest, *, timeout: float = 60.0) -> str:
    """Why root's key would not log in to *guest* any more; empty when it would, or when its sshd cannot be asked."""
    return judged(guest.read(QUESTION, timeout=timeout))


def judged(answer: str) -> str:
    """What the *answer* to QUESTION means."""
    said: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, _, value = line.strip().partition(" ")
        said.setdefault(name.lower(), []).extend(value.split())
    if said.get("status") != ["0"]:
        broken = next(
            (line for line in answer.splitlines() if re.search(r"bad configuration|line \d+:", line, re.I)), ""
        )
        return f"its sshd refuses its settings: {broken.strip()[:200]}" if broken else ""
    if said.get("permitrootlogin") in (["no"], ["forced-commands-only"]):
        return f"PermitRootLogin is {said['permitrootlogin'][0]}"
    if said.get("pubkeyauthentication") == ["no"]:
        return "PubkeyAuthentication is no"
    if not {"any", "publickey"} & {*said.get("authenticationmethods", ["any"])}:
        return "AuthenticationMethods asks for more than a key"
    if not KEYS & {*said.get("authorizedkeysfile", KEYS)}:
        return f"AuthorizedKeysFile is {shlex.join(said['authorizedkeysfile'])}"
    groups = said.get("groups", [])
    for name, listed in (
        ("DenyUsers", any(map(_is_root, said.get("denyusers", [])))),
        ("DenyGroups", _among(groups, said.get("denygroups", []))),
        ("AllowUsers", "allowusers" in said and not any(map(_is_root, said["allowusers"]))),
        ("AllowGroups", "allowgroups" in said and not _among(groups, said["allowgroups"])),
    ):
        if listed:
            return f"{name} shuts root out"
    return ""


def _is_root(pattern: str) -> bool:
    user, _, host = pattern.partition("@")
    return fnmatchcase("root", user) and (not host or fnmatchcase(HOST, host))


def _among(groups: list[str], patterns: list[str]) -> bool:
    return any(fnmatchcase(group, pattern) for group in groups for pattern in patterns)
