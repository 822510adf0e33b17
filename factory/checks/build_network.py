"""No setting leads to where the image was built: no proxy, and no package source on a private or nameless host.

A source on an installer's medium, or in a folder that the image does not have, answers no instance either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching
from factory.reading.lines import content_of, numbered

if TYPE_CHECKING:
    from factory.inspection import Image

PROXIES = (
    "/etc/apt/apt.conf",
    "/etc/apt/apt.conf.d/*",
    "/etc/dnf/dnf.conf",
    "/etc/yum.conf",
    "/etc/environment",
    "/etc/profile.d/*",
    "/etc/sysconfig/proxy",
    "/etc/wgetrc",
    "/etc/npmrc",
    "/etc/pip.conf",
    "/etc/gitconfig",
    "/root/.curlrc",
    "/root/.wgetrc",
    "/root/.gitconfig",
    "/root/.npmrc",
    "/root/.config/pip/pip.conf",
    "/etc/docker/daemon.json",
    "/etc/systemd/system.conf.d/*.conf",
    "/etc/systemd/system/*.d/*proxy*.conf",
    "/etc/snapd/proxy*",
    "/etc/yum.repos.d/*.repo",
)
SOURCES = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*.list",
    "/etc/apt/sources.list.d/*.sources",
    "/etc/yum.repos.d/*.repo",
    "/etc/zypp/repos.d/*.repo",
    "/etc/apk/repositories",
    "/etc/pip.conf",
    "/root/.config/pip/pip.conf",
    "/root/.npmrc",
    "/etc/npmrc",
    "/etc/apt/mirrors/*.list",
)
_PROXY = re.compile(
    r"""(?:^|[\s"'{])(?:Acquire::(?:https?|ftp)::Proxy(?:::[\w.-]+)?\s+|(?:https?|ftp|all|no)?_?proxy\s*[=:]\s*)"""
    r"""["']?((?:https?|socks\w*)://[^\s"';]+|[\w.-]+:\d+)""",
    re.IGNORECASE,
)
_NO_PROXY = re.compile(r"no_?proxy", re.IGNORECASE)
_URI = re.compile(r"(?<![+\w])((?:https?|ftp|tor\+https?)://[^\s\"',;\])]+)")
_MEDIUM = re.compile(r"(?:^|[\s=])(cdrom:[^\]]*\]?|(?:cd|dvd|iso|media):/\S*)")
_FOLDER = re.compile(r"[\s=]file:(?://)?(/[^\s?]*)")
_APK = re.compile(r"(?:@\S+\s+)?(/\S*)")
_KEY = re.compile(r"\s*(?:gpgkey|signed-by)", re.IGNORECASE)
_OFF = re.compile(r"\s*enabled\s*[=:]\s*(?:0|no|false)\b", re.IGNORECASE)
_LOCAL_NAMES = (".local", ".lan", ".internal", ".home", ".home.arpa", ".corp", ".localdomain", ".test", ".intranet")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    seen = 0
    for path, found in matching(looked.image, *PROXIES):
        if found.kind == "dir" or found.size > 1 << 20:
            continue
        seen += 1
        for number, line in numbered(content_of(looked.image, path), "#;/"):
            match = _PROXY.search(line)
            if match and not _NO_PROXY.search(line[: match.start(1)]):
                told = f"{path}:{number}: a proxy, {_shown(match[1])}"
                yield Problem(path, told, fix=without_line(path, number))
    for path, _ in matching(looked.image, *SOURCES):
        seen += 1
        yield from _sources(looked.image, path)
    yield Note(f"{seen} files")


def _sources(image: Image, path: str) -> Iterator[Problem]:
    for number, line in _enabled(path, content_of(image, path)):
        for uri in _URI.findall(line):
            if _private(urlsplit(uri.removeprefix("tor+")).hostname or ""):
                yield Problem(path, f"{path}:{number}: {_shown(uri)}")
        if _KEY.match(line):
            continue
        told = ""
        if medium := _MEDIUM.search(line):
            told = f"{medium[1].strip()} (a medium of the installation)"
        elif folder := _FOLDER.search(line) or (_APK.match(line) if path.startswith("/etc/apk/") else None):
            there = "$" in folder[1] or image.stat(folder[1], follow=True)
            told = "" if there else f"{folder[1]} (a folder that is not there)"
        if told:
            yield Problem(path, f"{path}:{number}: {told}", fix=without_line(path, number))


def _enabled(path: str, content: str) -> Iterator[tuple[int, str]]:
    """The lines of sources that are in use, with their numbers; a section may say at its end that it is not."""
    section: list[tuple[int, str]] = []
    for number, line in [*enumerate(content.splitlines(), 1), (0, "[")]:
        bare = line.strip()
        if bare.startswith("[") or (not bare and path.endswith(".sources")):
            if not any(_OFF.match(each) for _, each in section):
                yield from section
            section = []
        if bare and not bare.startswith("#"):
            section.append((number, line))


def _private(host: str) -> bool:
    """Whether a host means something only in one network."""
    if "$" in host or not host:
        return False
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.lower().rstrip(".").endswith(_LOCAL_NAMES)


def _shown(uri: str) -> str:
    """Without the password that a URI may hold."""
    return re.sub(r"//[^/@]*@", "//***@", uri)
