"""No setting leads to where the image was built: no proxy, and no package source on a private or nameless host.

What cloud-init would write into apt's settings counts like what is there.
A source on an installer's medium, or in a folder that the image does not have, answers no instance either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching
from factory.quoting import quoted
from factory.reading import cloud_init
from factory.reading.cloud_init import CloudInit
from factory.reading.lines import content_of, numbered

if TYPE_CHECKING:
    from factory.inspection import Image

PROXIES = (
    "/etc/apt/apt.conf",
    "/etc/apt/apt.conf.d/*",
    "/etc/dnf/dnf.conf",
    "/etc/yum.conf",
    "/etc/environment",
    "/etc/environment.d/*.conf",
    "/etc/profile",
    "/etc/profile.d/*",
    "/etc/bashrc",
    "/etc/bash.bashrc",
    "/etc/sysconfig/proxy",
    "/etc/wgetrc",
    "/etc/npmrc",
    "/etc/pip.conf",
    "/etc/gitconfig",
    "/root/.bashrc",
    "/root/.bash_profile",
    "/root/.profile",
    "/root/.curlrc",
    "/root/.wgetrc",
    "/root/.gitconfig",
    "/root/.npmrc",
    "/root/.config/pip/pip.conf",
    "/etc/docker/daemon.json",
    "/root/.docker/config.json",
    "/etc/rhsm/rhsm.conf",
    "/etc/systemd/system.conf",
    "/etc/systemd/system.conf.d/*.conf",
    "/etc/systemd/system/*.d/*.conf",
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
_VALUE = r"""["']?((?:https?|socks\w*)://[^\s"';]+|[\w.-]+:\d+)"""
_PROXY = re.compile(
    rf"""(?:^|[\s"'{{=])(?:(?:https?|ftp|all)?[_-]?proxy["']?\s*[=:]\s*{_VALUE}|proxy_hostname\s*=\s*([^\s#]+))""",
    re.IGNORECASE,
)
# One setting may be written in full, or in braces: Acquire { HTTP::Proxy "..."; };
_APT = re.compile(rf"""(?:^|[\s"{{;])(?:\w+::)*Proxy(?:::[\w.-]+)?"?\s+{_VALUE}""", re.IGNORECASE)
_OF_CLOUD_INIT = ("proxy", "http_proxy", "https_proxy", "ftp_proxy")
_URI = re.compile(r"(?<![+\w])((?:https?|ftp|tor\+https?)://(?:\[[\da-fA-F:.]+\])?[^\s\"',;\])]*)")
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
        for number, proxy, line in _proxies(path, content_of(looked.image, path)):
            whole = not path.endswith(".json") and line.count("{") == line.count("}")
            fix = without_line(path, number) if whole else f"Take the proxy out of {quoted(path)}"
            yield Problem(path, f"{path}:{number}: a proxy, {_shown(proxy)}", fix=fix)
    for path, _ in matching(looked.image, *SOURCES):
        seen += 1
        yield from _sources(looked.image, path)
    yield from _cloud_init(looked.know(cloud_init.read))
    yield Note(f"{seen} files")


def _proxies(path: str, content: str) -> Iterator[tuple[int, str, str]]:
    """The number of each line that sets a proxy, the proxy, and the line."""
    expression = _APT if path.startswith("/etc/apt/") else _PROXY
    for number, line in numbered(content, "#;/"):
        if match := expression.search(line):
            yield number, next(filter(None, match.groups())), line


def _cloud_init(settings: CloudInit) -> Iterator[Problem]:
    """What cloud-init would write into apt's settings and sources."""
    for key in ("conf", *_OF_CLOUD_INIT, "primary", "security", "sources", "sources_list"):
        path, where = settings.path("apt", key), ":".join(settings.place("apt", key).split(":")[:2])
        fix = f"Take {key}, below apt, out of {quoted(path)}"
        for value in _texts(settings.get("apt", key)):
            if key in _OF_CLOUD_INIT:
                told = [f"a proxy, {_shown(value)}"]
            elif key == "conf":
                told = [f"a proxy, {_shown(proxy)}" for _, proxy, _ in _proxies("/etc/apt/", value)]
            else:
                told = [_shown(uri) for uri in _URI.findall(value) if _private(_host(uri))]
            yield from (Problem(path, f"{where}: {each}", fix=fix) for each in told)


def _texts(value: Any) -> Iterator[str]:
    """Every text in what was read from YAML that says something."""
    if isinstance(value, str):
        yield from [value] if value.strip() else []
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _sources(image: Image, path: str) -> Iterator[Problem]:
    for number, line in _enabled(path, content_of(image, path)):
        for uri in _URI.findall(line):
            if _private(_host(uri)):
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


def _host(uri: str) -> str:
    """The host of a URI; "" when there is none, or none that could be one."""
    try:
        return urlsplit(uri.removeprefix("tor+")).hostname or ""
    except ValueError:
        return ""


def _private(host: str) -> bool:
    """Whether a host means something only in one network."""
    if not host or "$" in host or "%" in host:  # a variable, as apt, dnf and cloud-init write it
        return False
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.lower().rstrip(".").endswith(_LOCAL_NAMES)


def _shown(uri: str) -> str:
    """Without the password that a URI may hold."""
    return re.sub(r"//[^/@]*@", "//***@", uri)
