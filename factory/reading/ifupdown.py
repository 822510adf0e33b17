"""ifupdown's interfaces file with everything that it sources; Alpine's and Debian's alike."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from factory.inspection import Unreadable
from factory.reading.interfaces import Interface, fixed, is_virtual, matches
from factory.reading.lines import content_of, is_file, layered

if TYPE_CHECKING:
    from factory.inspection import Image

MAIN = "/etc/network/interfaces"
FILES = 100  # that source one another
STANZAS = 500
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class Stanza:
    """``iface NAME FAMILY METHOD`` with its options as (key, value, place)."""

    path: str
    place: str
    name: str
    family: str
    method: str
    options: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class File:
    """All stanzas, the names that are brought up at boot, and those that are when the card shows up."""

    stanzas: list[Stanza] = field(default_factory=list)
    auto: list[str] = field(default_factory=list)
    hotplug: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)  # (how, absolute pattern)

    def reads(self, path: str) -> bool:
        """Whether a file at *path* would be read, were it there."""
        folder, _, name = path.rpartition("/")
        for how, pattern in self.sources:
            if how == "source" and fnmatch(path, pattern):
                return True
            if how == "source-directory" and fnmatch(folder, pattern) and _NAME.fullmatch(name):
                return True
        return path == MAIN


def parse(image: Image) -> File:
    """The interfaces file and what it sources, in that order."""
    found = File()
    _file(image, MAIN, found)
    return found


def read(image: Image) -> list[Interface]:
    """Every stanza of a card; those of one name and path are one interface."""
    whole = parse(image)
    found: dict[str, Interface] = {}
    for stanza in whole.stanzas:
        interface = _interface(stanza, whole)
        old = found.get(stanza.name)
        found[stanza.name] = interface if old is None else replace(
            old,
            dhcp=old.dhcp or interface.dhcp,
            static=old.static + interface.static,
            servers=old.servers + interface.servers,
            narrow=old.narrow or interface.narrow,
        )  # fmt: skip
    return list(found.values())


def _interface(stanza: Stanza, whole: File) -> Interface:
    static, servers, ports, kind = [], [], False, "ethernet"
    for key, value, where in stanza.options:
        words = value.split()
        if key in ("address", "gateway", "up", "post-up") and any(_fixed_in(key, word) for word in words):
            static.append(where)
        if key in ("dns-nameservers", "dns-nameserver"):
            servers.append(where)
        if key in ("bridge_ports", "bridge-ports", "bond-slaves", "bond_slaves", "vlan-raw-device", "vlan_raw_device"):
            kind = {"br": "bridge", "bo": "bond", "vl": "vlan"}[key[:2]]
            ports = any(word != "none" and not is_virtual(word) for word in words)
    if stanza.method == "loopback" or stanza.name == "lo":
        kind = "loopback"
    auto = any(matches(stanza.name, [name]) or matches(name, [stanza.name]) for name in whole.auto[:STANZAS])
    hotplug = any(matches(stanza.name, [name]) or matches(name, [stanza.name]) for name in whole.hotplug[:STANZAS])
    return Interface(
        system="ifupdown",
        path=stanza.path,
        place=stanza.place,
        names=(stanza.name,),
        kind=kind,
        ports=ports,
        dhcp=stanza.method in ("dhcp", "auto") and not (stanza.family == "inet6" and stanza.method == "auto"),
        static=tuple(static) if stanza.method in ("static", "dhcp", "manual", "v4tunnel") else (),
        servers=tuple(servers),
        up=auto or hotplug,
        waits=auto,
    )


def _fixed_in(key: str, word: str) -> bool:
    return fixed(word) and (key in ("address", "gateway") or "/" in word or word.count(".") == 3)


def _file(image: Image, path: str, found: File) -> None:
    if path in found.paths or len(found.paths) >= FILES or not is_file(image, path):
        return
    found.paths.append(path)
    stanza: Stanza | None = None
    held, first = "", 0
    for number, line in enumerate(content_of(image, path).splitlines(), 1):
        first = first or number
        whole, held = held + line.strip(), ""
        if whole.endswith("\\"):
            held = whole[:-1] + " "
            continue
        words, start, first = whole.split(), first, 0
        if not words or whole.startswith("#"):
            continue
        where = f"{path}:{start}: {whole}"
        if words[0] == "iface" and len(words) >= 2:
            stanza = Stanza(path, where, _pattern(words[1]), *(words[2:4] if len(words) > 3 else ("inet", "dhcp")))
            found.stanzas.append(stanza)
            if len(found.stanzas) > STANZAS:
                raise Unreadable(f"{path} and its kin have more than {STANZAS} stanzas")
        elif words[0] == "auto" or words[0].startswith("allow-"):
            names = [_pattern(word) for word in words[1:]]
            (found.auto if words[0] in ("auto", "allow-auto") else found.hotplug).extend(names)
            stanza = None
        elif words[0] in ("source", "source-directory"):
            stanza = None
            for word in words[1:]:
                pattern = posixpath.normpath(posixpath.join(posixpath.dirname(path), word))
                found.sources.append((words[0], pattern))
                for sourced in _sourced(image, pattern, words[0]):
                    _file(image, sourced, found)
        elif words[0] in ("mapping", "rename", "template", "no-auto-down", "no-scripts"):
            stanza = None
        elif stanza is not None:
            stanza.options.append((words[0], " ".join(words[1:]), where))


def _sourced(image: Image, pattern: str, how: str) -> list[str]:
    if how == "source-directory":
        return [
            path for path in layered(image, [pattern], "")
            if _NAME.fullmatch(path.rpartition("/")[2]) or path.endswith(".cfg")
        ]  # fmt: skip
    found = []
    for path in image.glob(pattern):
        name = path.rpartition("/")[2]
        if not name.startswith(".") or pattern.rpartition("/")[2].startswith("."):
            found += [path] if is_file(image, path) else []
    return found


def _pattern(word: str) -> str:
    """``/eth*`` and ``/eth*=inet`` are patterns of names."""
    return re.sub(r"^/", "", word).split("=")[0].rstrip("/")
