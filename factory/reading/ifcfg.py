"""ifcfg files: those of the RHEL family (network-scripts) and those of SUSE (wicked)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.reading.interfaces import Interface, fixed, is_virtual
from factory.reading.lines import Entry, content_of, layered, numbered, place, shell

if TYPE_CHECKING:
    from factory.inspection import Image

RHEL = "/etc/sysconfig/network-scripts"
SUSE = "/etc/sysconfig/network"
_IGNORED = re.compile(r"(~|\.(bak|orig|old|save|template|rpm(new|orig|save)|swp|dpkg-\w+|augnew|augtmp))$")
_NO = ("no", "false", "0", "off", "n")
_GATEWAY = re.compile(r"(?:\bvia\s+|^\s*GATEWAY\d*=[\"']?)([\da-fA-F.:]+)")
_STATIC = re.compile(r"(IPADDR|GATEWAY|IPV6ADDR|IPV6_DEFAULTGW|REMOTE_IPADDR)(_?\w*)$")


def files(image: Image, folder: str) -> list[tuple[str, dict[str, Entry]]]:
    """Every ifcfg file in *folder* that counts, with its variables."""
    paths = [path for path in layered(image, [folder], "") if path.rpartition("/")[2].startswith("ifcfg-")]
    return [(path, shell(path, content_of(image, path))) for path in paths if not _IGNORED.search(path)]


def read(image: Image) -> list[Interface]:
    """Every ifcfg file of either family."""
    rhel, suse = files(image, RHEL), files(image, SUSE)
    held = {
        said[key].value for _, said in rhel for key in ("BRIDGE", "MASTER", "TEAM_MASTER") if key in said
    }  # fmt: skip
    return [_rhel(image, path, said, held) for path, said in rhel] + [_suse(image, path, said) for path, said in suse]


def _rhel(image: Image, path: str, said: dict[str, Entry], held: set[str]) -> Interface:
    def get(key: str) -> str:
        return said[key].value if key in said else ""

    name = get("DEVICE") or ("" if get("HWADDR") or get("NAME") else _suffix(path))
    kinds = {"bridge": "bridge", "bond": "bond", "team": "bond", "vlan": "vlan", "wireless": "wifi"}
    kind = kinds.get(get("TYPE").lower(), "ethernet")
    if get("VLAN").lower() in ("yes", "1"):
        kind = "vlan"
    kind = "loopback" if name == "lo" else kind
    return Interface(
        system="ifcfg",
        path=path,
        place=said["DEVICE"].place if "DEVICE" in said else path,
        names=(name,) if name else (),
        narrow=f"the MAC address {get('HWADDR')}" if get("HWADDR") else "",
        kind=kind,
        ports=kind == "vlan" or name in held,
        dhcp=get("BOOTPROTO").lower() in ("dhcp", "bootp") or get("DHCPV6C").lower() == "yes",
        static=(*_static(said), *_routes(image, _suffix(path))),
        servers=tuple(entry.place for key, entry in said.items() if re.fullmatch(r"DNS\d", key) and entry.value),
        up=get("ONBOOT").lower() not in _NO,
        waits=get("ONBOOT").lower() not in _NO,
    )


def _suse(image: Image, path: str, said: dict[str, Entry]) -> Interface:
    def get(key: str) -> str:
        return said[key].value if key in said else ""

    name = _suffix(path)
    kind = "bridge" if get("BRIDGE").lower() == "yes" else "bond" if get("BONDING_MASTER").lower() == "yes" else ""
    kind = "loopback" if name == "lo" else "vlan" if get("ETHERDEVICE") else kind or "ethernet"
    ports = any(not is_virtual(port) for port in get("BRIDGE_PORTS").split()) or kind in ("vlan", "bond")
    routes = f"{SUSE}/ifroute-{name}"
    gateways = [place(routes, text, word) for text in [content_of(image, routes)] for word in text.split()[1:2]]
    starts = get("STARTMODE").lower() or "manual"
    return Interface(
        system="ifcfg",
        path=path,
        place=path,
        names=(name,),
        kind=kind,
        ports=ports,
        dhcp=get("BOOTPROTO").lower().startswith(("dhcp", "auto")),
        static=(*_static(said), *gateways),
        up=starts not in ("off", "manual"),
        waits=starts in ("auto", "onboot", "on", "boot"),
    )


def _static(said: dict[str, Entry]) -> tuple[str, ...]:
    return tuple(e.place for key, e in said.items() if _STATIC.match(key) and any(map(fixed, e.value.split())))


def _routes(image: Image, name: str) -> Iterator[str]:
    """Where the routes of a card in network-scripts have a gateway: as words for ip, or as GATEWAY0=."""
    for path in (f"{RHEL}/route-{name}", f"{RHEL}/route6-{name}"):
        for number, line in numbered(content_of(image, path), "#"):
            if (match := _GATEWAY.search(line)) and fixed(match[1]):
                yield f"{path}:{number}: {line.strip()}"


def _suffix(path: str) -> str:
    return path.rpartition("/ifcfg-")[2]
