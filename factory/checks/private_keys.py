"""Private keys: no file of the image's own holds one, whatever its name.

Host keys of SSH have a rule of their own. Parameters: ``allowed``, patterns of files that may hold one; ``folders``,
patterns of files that are taken for keys whatever their form, unless they hold a certificate or the like; ``shared``,
of keys that packages make while they are installed and that services need, so that one is only a warning unless a unit
makes it again at boot (a line of an enabled service with one of ``made_again`` in it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import own_files, secrets, systemd

_HOST_KEYS = re.compile(r"/(etc/ssh|usr/etc/ssh|var/lib/ssh|etc/dropbear[^/]*)(/[^/]+)*/[^/]*host[^/]*key[^/]*")

_PUBLIC = re.compile(rb"-----BEGIN (?!.*PRIVATE KEY)[A-Z0-9 ]+-----|^(ssh|ecdsa|sk)-\S+ \S+")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    given = rule.parameters
    for secret in looked.know(secrets.read):
        if not secret.key or _HOST_KEYS.fullmatch(secret.path) or _matches(secret.path, given.get("allowed", [])):
            continue
        if not _matches(secret.path, given.get("shared", [])):
            yield Problem(secret.path, secret.evidence)
        elif maker := _made_again(looked, given.get("made_again", [])):
            yield Note(f"{secret.evidence}: {maker} makes it again")
        else:
            yield Problem(secret.path, f"{secret.evidence}: a package made it, and nothing makes it again", warn=True)
    known = {secret.path for secret in looked.know(secrets.read)}
    for path, found in looked.know(own_files.read):
        if path not in known and _matches(path, given.get("folders", [])) and not _HOST_KEYS.fullmatch(path):
            start = looked.image.head(path, min(found.size, 1 << 16))
            if not _matches(path, [*given.get("allowed", []), *given.get("shared", [])]) and not _PUBLIC.search(start):
                yield Problem(path, f"{path}: {found.size} bytes where private keys are kept")


def _matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _made_again(looked: Looked, commands: list[str]) -> str:
    """The enabled service that runs one of *commands*."""
    units = looked.know(systemd.read)
    for name in units.enabled():
        unit = units.unit(name)
        for key in ("ExecStart", "ExecStartPre"):
            for setting in unit.get("Service", key) if unit else ():
                script = setting.value.split()[0].lstrip("-@+!:") if setting.value else ""
                body = setting.value + (
                    _script(looked, script) if not script.startswith(("/usr/bin", "/usr/sbin")) else ""
                )
                if any(command in body for command in commands):
                    return name
    return ""


def _script(looked: Looked, path: str) -> str:
    """The text of a script that a service runs; "" for a program."""
    own = path.startswith("/") and not path.startswith(("/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"))
    found = looked.image.stat(path, follow=True) if own else None
    if found is None or found.kind != "file":
        return ""
    start = looked.image.head(path, min(found.size, 1 << 16)) if found.size else b""
    return start.decode("utf-8", "replace") if start.startswith(b"#!") else ""
