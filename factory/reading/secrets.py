"""Private keys and access tokens in the image's own files, found by what they look like, wherever they lie.

What is found is told by place, kind and length, never by its value. Examples that documentation prints, placeholders
and comments are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from factory.leftovers import text
from factory.reading import own_files
from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image

SMALL = 4 << 20  # bytes of a file that is searched as a whole, text or not
WHOLE = 64 << 20  # bytes of a text that is searched as a whole
START = 64 << 10  # bytes of a file that are looked at first
MOST = 100  # tokens of one kind in one file: a database of them is told well enough by these

_PEM = re.compile(
    rb"^[ \t>|\"']*-{4,5} ?BEGIN (?P<kind>(?:[A-Z0-9]+ )*?)PRIVATE KEY(?: BLOCK)? ?-{4,5}"
    rb"(?:[ \t]*\r?\n[ \t]*(?:[A-Za-z-]+:[^\n]*\n[ \t]*)*\n?|(?:\\r)?\\n)[ \t]*"
    rb"(?P<body>[A-Za-z0-9+/=][A-Za-z0-9+/=\s\\.]*)",
    re.MULTILINE,
)
_IN_JSON = re.compile(rb"-----BEGIN (?P<kind>(?:[A-Z0-9]+ )*?)PRIVATE KEY-----\\n(?P<body>[A-Za-z0-9+/=\\]{16,})")
_KEYS = {
    "PuTTY private key": re.compile(rb"^PuTTY-User-Key-File-\d: ", re.MULTILINE),
    "age private key": re.compile(rb"\bAGE-SECRET-KEY-1[0-9A-Z]{40,}"),
}
# How PKCS#8, encrypted PKCS#8, PKCS#1 and SEC 1 begin: in a certificate, or a public key, there is no number so early.
_LONG = rb"(?:[\x05-\x7f]|\x81.|\x82..)"
_DER = re.compile(
    rb"\A0" + _LONG + rb"(?:\x02\x01(?:"
    rb"[\x00\x01]0" + _LONG + rb"\x06(?:\x03\x2b\x65|\x07\x2a\x86\x48\xce|\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01)"
    rb"|\x00\x02" + _LONG + rb"|\x01\x04[\x1c-\x42])"
    rb"|0[\x10-\x7f]\x06[\x09\x0a]\x2a\x86\x48\x86\xf7\x0d\x01[\x05\x0c])",
    re.DOTALL,
)  # fmt: skip
_HASH = "hash of a password"
# Kind, the words without which there is none (they are found much faster), and what it looks like.
_TOKENS: tuple[tuple[str, str, bytes], ...] = (
    ("AWS access key", "AKIA ASIA", rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", rb"\bgh[pousr]_[A-Za-z0-9]{20,}"),
    ("GitHub token", "github_pat_", rb"\bgithub_pat_[A-Za-z0-9_]{22,}"),
    ("GitLab token", "glpat-", rb"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("Slack token", "xox", rb"\bxox[abeoprs]-[A-Za-z0-9-]{20,}"),
    ("Google API key", "AIza", rb"\bAIza[0-9A-Za-z_-]{35}\b"),
    ("npm token", "npm_", rb"\bnpm_[A-Za-z0-9]{36}\b"),
    ("PyPI token", "pypi-AgEI", rb"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{20,}"),
    ("DigitalOcean token", "_v1_", rb"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    ("Vault token", "hvs. hvb.", rb"\bhv[sb]\.[A-Za-z0-9_-]{24,}"),
    ("Stripe key", "k_live_", rb"\b[rs]k_live_[0-9a-zA-Z]{20,}"),
    ("SendGrid key", "SG.", rb"\bSG\.[\w-]{22}\.[\w-]{43}"),
    ("AWS secret key", "secret_access_key SECRET_ACCESS_KEY",
     rb"(?i:secret_access_key)[\"']?\s*[=:]\s*[\"']?(?P<value>[A-Za-z0-9/+]{30,})"),
    ("Azure storage key", "AccountKey=", rb"\bAccountKey=(?P<value>[A-Za-z0-9+/]{60,}={0,2})"),
    ("JSON web token", "eyJ", rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    (_HASH, "$1$ $5$ $6$ $y$ $2a$ $2b$ $2y$ $apr1$",
     rb"\$(?:[156y]|2[aby]|apr1)\$[./A-Za-z0-9$=,]{4,200}\$?[./A-Za-z0-9]{22,}"),
    ("password in a URL", "://",
     rb"://[^\s:/@\"'<>$%{}()\[\]]+:(?P<value>[^\s:/@\"'<>$%{}()\[\]]+)@[A-Za-z0-9]"),
)  # fmt: skip
_FORMS = tuple((kind, tuple(map(str.encode, words.split())), re.compile(form)) for kind, words, form in _TOKENS)
# The last two are the samples of Laravel and of jwt.io.
_EXAMPLE = re.compile(
    rb"EXAMPLE|^(?:pass(?:word|wd)?|pw|secret|token|x+|\*+|changeme|example|guest)$"
    rb"|92IXUNpkjO0rOQ5byMi\.Ye4oKoEa3Ro9llC|SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    re.IGNORECASE,
)
_COMMENT = re.compile(rb"\s*(?:#|;|//)")
_DATABASES = re.compile(r"/(etc|var/backups|root)/(passwd|shadow|group|gshadow)[^/]*")  # they have rules of their own
# Java calls a store that holds the certificates of others a trust store.
_CONTAINERS = re.compile(
    r"/(?![^/]*(?:trust|cacerts))[^/]*\.(p12|pfx|jks|keystore|kdbx)$|/(secring\.gpg|private-keys-v1\.d/[^/]+\.key)$"
)


@dataclass(frozen=True)
class Secret:
    """*line* is 0 for a file that is one as a whole; *length* is in bytes."""

    path: str
    line: int
    kind: str
    length: int
    key: bool  # a private key, not a token

    @property
    def evidence(self) -> str:
        """All that may be told."""
        return f"{self.path}{f':{self.line}' if self.line else ''}: {self.kind}, {self.length} bytes"


@once
def read(image: Image) -> tuple[Secret, ...]:
    """What is found, by path; what a package brought is left out."""
    found = []
    for path, status in own_files.read(image):
        if _CONTAINERS.search(path):
            found.append(Secret(path, 0, "private key store", status.size, True))
            continue
        content = image.head(path, min(START, status.size))
        if status.size > START and (status.size <= SMALL or (b"\0" not in content and status.size <= WHOLE)):
            content = image.read(path, limit=WHOLE)
        found += list(_search(path, content))
    suspects = {secret.path for secret in found}
    owned = _packaged(image, suspects) if suspects else set()
    return tuple(secret for secret in found if secret.path not in owned)


def _search(path: str, content: bytes) -> Iterator[Secret]:
    if b"PRIVATE KEY" in content:
        for pattern in (_PEM, _IN_JSON):
            for match, line, _ in islice(_found(pattern, content, "kind"), MOST):
                yield Secret(path, line, f"{match['kind'].decode()}private key", len(match["body"]), True)
    for kind, pattern in _KEYS.items():
        for match, line, _ in islice(_found(pattern, content), MOST):
            yield Secret(path, line, kind, len(match[0]), True)
    if _DER.match(content):
        yield Secret(path, 0, "private key in DER", len(content), True)
    if b"\0" in content:
        return  # tokens are looked for in texts only
    for kind, words, pattern in _FORMS:
        if not any(word in content for word in words) or (kind == _HASH and _DATABASES.fullmatch(path)):
            continue
        told = 0
        for match, line, begin in _found(pattern, content):
            value = match["value"] if pattern.groupindex else match[0]
            comment = _COMMENT.match(content, begin, min(match.start(), begin + 256))
            if not comment and not _EXAMPLE.search(value):
                yield Secret(path, line, kind, len(value), False)
                told += 1
            if told >= MOST:
                break


def _found(
    pattern: re.Pattern[bytes], content: bytes, group: str | int = 0
) -> Iterator[tuple[re.Match[bytes], int, int]]:
    """Every match with the line that *group* is in, its number and its first byte.

    Each byte is passed once, however many matches there are: a hostile file may hold nothing else.
    """
    line, begin, place = 1, 0, 0
    for match in pattern.finditer(content):
        start = match.start(group)
        line += content.count(b"\n", place, start)
        begin = content.rfind(b"\n", place, start) + 1 or begin
        place = start
        yield match, line, begin


def _packaged(image: Image, paths: set[str]) -> set[str]:
    """Those of *paths* that dpkg or apk unpacked."""
    found = set()
    for name in image.glob("/var/lib/dpkg/info/*.list"):
        found |= paths.intersection((text(image, name) or "").splitlines())
    folder = ""
    for line in (text(image, "/lib/apk/db/installed") or "").splitlines():
        if line.startswith("F:"):
            folder = line[2:]
        elif line.startswith("R:") and f"/{folder}/{line[2:]}" in paths:
            found.add(f"/{folder}/{line[2:]}")
    return found
