"""Login keys: no file that sshd or another SSH server reads holds one, for any user, and no command gives one.

Looked at are the files that sshd's configuration names (also in Match blocks), .ssh in every home, files of that name
anywhere in the image's own folders and in each initramfs, authorities whose certificates open accounts, and systemd's
user records. Parameters: ``files``, further places; ``commands``, AuthorizedKeysCommand programs that are part of a
distribution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.drivers import MADE_ANEW, readable
from factory.leftovers import matching, named, text
from factory.reading import accounts, homes, own_files, sshd

_NAMES = ("authorized_keys", "authorized_keys2")
_KEY = re.compile(r"(?:^|[\s\"])((?:ssh|ecdsa|sk-ssh|sk-ecdsa|x509v3)-[A-Za-z0-9@.-]+)\s+(\S+)")
_RECORDS = (
    "/etc/userdb/*.user",
    "/etc/userdb/*.user-privileged",
    "/usr/lib/userdb/*.user*",
    "/home/*.homedir/.identity",
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image, ssh = looked.image, looked.know(sshd.read)
    seen = set()
    for path in _files(looked, rule):
        found = image.stat(path, follow=True)
        if path not in seen and found and found.kind == "file" and found.size:
            seen.add(path)
            yield from _keys(path, text(image, path) or "")
    for archive in readable(looked):
        for name in archive.login_keys:
            fix = f"Remove the key from where {name} was taken from, then {MADE_ANEW}"
            for key in _keys(f"{archive.path}: {name}", archive.text(name)):
                yield Problem(archive.path, key.evidence, warn=key.warn, fix=fix)
    yield Note(f"{len(seen)} files with content, none with a key")
    for keyword in ("TrustedUserCAKeys", "AuthorizedKeysCommand", "AuthorizedPrincipalsCommand"):
        for line in ssh.deciding(keyword):
            if line.value in ("none", "") or line.words[0] in rule.parameters.get("commands", []):
                continue
            if keyword != "TrustedUserCAKeys" or any(_keys(line.words[0], text(image, line.words[0]) or "")):
                yield Problem(line.path, line.evidence, fix=line.removed)
    for line in ssh.deciding("HostbasedAuthentication"):
        if line.value == "yes":
            for path, found in matching(image, "/etc/ssh/shosts.equiv", "/etc/hosts.equiv"):
                if found.kind == "file" and found.size:
                    yield Problem(path, f"{path}: hosts whose users need no key ({line.evidence})")
    for pattern in _RECORDS:
        for path, _ in matching(image, pattern):
            if re.search(r'"sshAuthorizedKeys"\s*:\s*\[\s*"', text(image, path) or ""):
                yield Problem(path, f"{path}: authorized keys in a user record")


def _files(looked: Looked, rule: Rule) -> Iterator[str]:
    image, known = looked.image, looked.know(homes.read)
    for home in known.names:
        yield from (path for path, _ in named(image, f"{home}/.ssh", _NAMES))
    for line in looked.know(sshd.read).deciding("AuthorizedKeysFile"):
        for word in line.words:
            if word != "none":
                yield from _named(word, looked.know(accounts.read), known)
    for pattern in rule.parameters.get("files", []):
        yield from (path for path, _ in matching(image, pattern))
    for path, _ in looked.know(own_files.read):
        if path.rpartition("/")[2] in _NAMES:
            yield path


def _named(pattern: str, known: accounts.Accounts, all_homes: homes.Homes) -> Iterator[str]:
    """The files that a word of AuthorizedKeysFile means for every account, and for homes that no account has."""
    people = [(account.name, str(account.uid), account.home) for account in known.all]
    people += [(home.rpartition("/")[2], "", home) for home in all_homes.names]
    for name, uid, home in dict.fromkeys(people):
        path = pattern.replace("%%", "\0").replace("%u", name).replace("%U", uid).replace("%h", home).replace("\0", "%")
        path = path if path.startswith("/") else f"{home.rstrip('/')}/{path}"
        if path.startswith("/") and "/../" not in path:
            yield re.sub(r"/+", "/", path)


def _keys(path: str, content: str) -> Iterator[Problem]:
    for number, line in enumerate(content.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if found := _KEY.search(line):
            yield Problem(path, f"{path}:{number}: {found[1]}, a key of {len(found[2])} characters")
        else:
            yield Problem(path, f"{path}:{number}: a line of {len(line)} characters that is no comment", warn=True)
