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
        opened = () if name in ("drop", "block") else ("22",)
        return Zone(name, place, _ZONES.get(name, "default"), opened, (), (CONFIGURATION,))
    text = re.sub(r"<!--.*?-->", "", content_of(image, path), flags=re.DOTALL)
    target = re.search(r"<zone\b[^>]*\btarget\s*=\s*[\"']([^\"']*)", text)
    closed = []
    for rule in re.findall(r"<rule\b.*?</rule>", text, re.DOTALL):
        text = text.replace(rule, "")
        if re.search(r"<(reject|drop)\b", rule) and "<source" not in rule:
            closed += _opened(image, rule)
    return Zone(
        name,
        place,
        target[1] if target else "default",
        tuple(_opened(image, text)),
        tuple(closed),
        (CONFIGURATION, path),
    )


def _opened(image: Image, text: str) -> list[str]:
    """The TCP ports of the ``<service>`` and ``<port>`` elements in *text*."""
    found = []
    for service in re.findall(r"<service\b[^>]*\bname\s*=\s*[\"']([\w.-]+)", text):
        paths = [path for folder in FOLDERS if is_file(image, path := f"{folder}/services/{service}.xml")]
        found += _ports(content_of(image, paths[0])) if paths else [_PORTS.get(service, "-1")]
    return found + _ports(text)


def _ports(text: str) -> list[str]:
    found = []
    for element in re.findall(r"<port\b[^>]*>", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)):
        port = re.search(r"\bport\s*=\s*[\"']([\d-]+)", element)
        if port and re.search(r"\bprotocol\s*=\s*[\"']tcp", element):
            found.append(port[1])
    return found
