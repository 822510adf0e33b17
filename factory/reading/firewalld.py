"""firewalld: what its default zone lets in, which is the zone of every card that no other zone names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.reading.lines import content_of, is_file, shell
from factory.reading.packet import ACCEPTED, Verdict, in_ports

if TYPE_CHECKING:
    from factory.inspection import Image

CONFIGURATION = "/etc/firewalld/firewalld.conf"
FOLDERS = ("/etc/firewalld", "/usr/lib/firewalld")
# The zones that firewalld brings, for an image that lacks their files.
_ZONES = {"trusted": "ACCEPT", "drop": "DROP", "block": "%%REJECT%%"}
_PORTS = {"ssh": "22", "http": "80", "https": "443", "cockpit": "9090"}


@dataclass(frozen=True)
class Zone:
    """The default zone: its target, the services and ports that it opens, and the rules that close a port."""

    name: str
    place: str
    target: str
    open: tuple[str, ...]  # ports
    closed: tuple[str, ...]
    files: tuple[str, ...]

    def verdict(self, port: int) -> Verdict:
        """Whether a new TCP connection to *port* gets in."""
        if in_ports(self.closed, port):
            return Verdict(False, f"{self.place} closes port {port}")
        if self.target == "ACCEPT" or in_ports(self.open, port):
            return ACCEPTED
        return Verdict(False, f"{self.place}: zone {self.name} does not open port {port}")


def read(image: Image) -> Zone:
    """The default zone of *image*."""
    setting = shell(CONFIGURATION, content_of(image, CONFIGURATION)).get("DefaultZone")
    name = setting.value if setting and re.fullmatch(r"[\w.-]+", setting.value) else "public"
    path = next((found for folder in FOLDERS if is_file(image, found := f"{folder}/zones/{name}.xml")), "")
    place = setting.place if setting else path or CONFIGURATION
    if not path:
        known: tuple[str, ...] = () if name in ("drop", "block") else ("22",)
        return Zone(name, place, _ZONES.get(name, "default"), known, (), (CONFIGURATION,))
    text = _uncommented(content_of(image, path))
    target = re.search(r"<zone\b[^>]{0,500}\btarget\s*=\s*[\"']([^\"']*)", text)
    first, *pieces = re.split(r"<rule\b", text)
    outside: list[str] = [first]
    closed: list[str] = []
    for rule, _, rest in (piece.partition("</rule>") for piece in pieces):
        outside.append(rest)
        if re.search(r"<(reject|drop)\b", rule) and "<source" not in rule:
            closed += _opened(image, rule)
    opened, found = tuple(_opened(image, "".join(outside))), target[1] if target else "default"
    return Zone(name, place, found, opened, tuple(closed), (CONFIGURATION, path))


def _opened(image: Image, text: str) -> list[str]:
    """The TCP ports of the ``<service>`` and ``<port>`` elements in *text*."""
    found = []
    for service in re.findall(r"<service\b[^>]{0,500}\bname\s*=\s*[\"']([\w.-]+)", text):
        paths = [path for folder in FOLDERS if is_file(image, path := f"{folder}/services/{service}.xml")]
        found += _ports(content_of(image, paths[0])) if paths else [_PORTS.get(service, "-1")]
    return found + _ports(text)


def _ports(text: str) -> list[str]:
    found = []
    for element in re.findall(r"<port\b[^>]{0,500}>", _uncommented(text)):
        port = re.search(r"\bport\s*=\s*[\"']([\d-]+)", element)
        if port and re.search(r"\bprotocol\s*=\s*[\"']tcp", element):
            found.append(port[1])
    return found


def _uncommented(text: str) -> str:
    first, *pieces = text.split("<!--")
    return first + "".join(piece.partition("-->")[2] for piece in pieces)
