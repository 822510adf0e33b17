"""NetworkManager: its settings (conf.d and all) and the connections in its keyfiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from factory.reading.interfaces import Interface, fixed
from factory.reading.lines import Entry, content_of, entries, is_file, layered

if TYPE_CHECKING:
    from factory.inspection import Image

MAIN = "/etc/NetworkManager/NetworkManager.conf"
OWN = "/etc/NetworkManager/conf.d"
SYSTEM = ("/run/NetworkManager/conf.d", "/usr/lib/NetworkManager/conf.d")
CONNECTIONS = (
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
)
PROGRAMS = ("/usr/sbin/NetworkManager", "/usr/bin/NetworkManager", "/sbin/NetworkManager")
_KINDS = {
    "ethernet": "ethernet",
    "802-3-ethernet": "ethernet",
    "wifi": "wifi",
    "802-11-wireless": "wifi",
    "bridge": "bridge",
    "bond": "bond",
    "team": "bond",
    "vlan": "vlan",
    "loopback": "loopback",
    "dummy": "virtual",
    "vpn": "tunnel",
    "wireguard": "tunnel",
    "ip-tunnel": "tunnel",
    "tun": "virtual",
}


@dataclass(frozen=True)
class Connection:
    """A keyfile: what it says, and whether its mode keeps NetworkManager from reading it."""

    path: str
    said: tuple[Entry, ...]
    refused: str = ""

    def get(self, section: str, *keys: str) -> Entry | None:
        """The last line of *section* with one of *keys*."""
        found = [entry for entry in self.said if entry.section == section and entry.key in keys]
        return found[-1] if found else None

    def value(self, section: str, *keys: str) -> str:
        """What that line says, empty without one."""
        found = self.get(section, *keys)
        return found.value if found else ""


def settings(image: Image) -> list[Entry]:
    """What the settings say, those that count last: of the same section and key, the last line is in force."""
    shadowed = {path.rpartition("/")[2] for path in layered(image, [OWN], ".conf")}
    # A link to /dev/null in /etc masks a file of the system too.
    if (top := image.stat(OWN, follow=True)) and top.kind == "dir":
        shadowed |= {name for name in image.listdir(OWN) if name.endswith(".conf")}
    paths = [path for path in layered(image, SYSTEM, ".conf") if path.rpartition("/")[2] not in shadowed]
    paths += [MAIN] if is_file(image, MAIN) else []
    paths += layered(image, [OWN], ".conf")
    found: dict[tuple[str, str], list[Entry]] = {}
    for path in paths:
        for entry in entries(path, content_of(image, path)):
            key = entry.key.removesuffix("+").strip()
            added = found.get((entry.section, key), []) if entry.key.endswith("+") else []
            found[entry.section, key] = [*added, Entry(entry.section, key, entry.value, entry.path, entry.line)]
    return [entry for listed in found.values() for entry in listed]


def connections(image: Image) -> list[Connection]:
    """Every keyfile; in /etc those without a suffix count too."""
    found = []
    for index, folder in enumerate(CONNECTIONS):
        for path in layered(image, [folder], "" if index == 0 else ".nmconnection"):
            stat = image.stat(path, follow=True)
            if stat is None or path.endswith(("~", ".swp", ".pem", ".der")):
                continue
            loose = stat.mode & 0o077 and index == 0
            refused = f"mode {stat.mode:04o}" if loose else f"owner {stat.uid}" if stat.uid else ""
            found.append(Connection(path, tuple(entries(path, content_of(image, path))), refused))
    return found


def read(image: Image) -> list[Interface]:
    """Every connection."""
    found = connections(image)
    masters = {connection.value("connection", "master", "controller") for connection in found}
    return [_interface(connection, masters) for connection in found if connection.said]


def makes_one_itself(image: Image, name: str) -> bool:
    """Whether NetworkManager makes a connection by DHCP for a card called *name* that no file speaks of."""
    said = settings(image)
    auto = [entry for entry in said if (entry.section, entry.key) == ("main", "no-auto-default")]
    return manages(image, name) and not any(listed(entry.value, name) for entry in auto)


def manages(image: Image, name: str) -> bool:
    """Whether NetworkManager may touch a card called *name*."""
    said = settings(image)
    unmanaged = [entry for entry in said if entry.key == "unmanaged-devices" and entry.section == "keyfile"]
    if any(listed(entry.value, name) for entry in unmanaged):
        return False
    for entry in said:
        if entry.section.startswith("device") and entry.key == "managed":
            match = [e.value for e in said if e.section == entry.section and e.key == "match-device"]
            if entry.value.lower() in ("0", "false", "no") and (not match or listed(match[-1], name)):
                return False
    return True


def listed(devices: str, name: str) -> bool:
    """Whether NetworkManager's list *devices* (``*,except:type:wifi``) has an Ethernet card called *name* in it."""
    found = False
    for word in re.split(r"[,;]\s*", devices.strip()):
        negated = word.startswith("except:")
        bare = word.removeprefix("except:")
        kind, colon, rest = bare.partition(":")
        if kind == "interface-name":
            hit = fnmatchcase(name, rest.removeprefix("=").removeprefix("~"))
        elif kind == "type":
            hit = rest.removeprefix("=") == "ethernet"
        elif kind == "driver":
            hit = fnmatchcase("virtio_net", rest)
        else:
            hit = not colon and fnmatchcase(name, bare)  # a MAC address has colons and is not this card's
        if hit and negated:
            return False
        found = found or hit
    return found


def _interface(connection: Connection, masters: set[str]) -> Interface:
    get = connection.value
    kind = _KINDS.get(get("connection", "type"), "virtual")
    name = get("connection", "interface-name")
    names = tuple(filter(None, [name, *re.split(r"[;,\s]\s*", get("match", "interface-name"))]))
    mac = get("ethernet", "mac-address") or get("802-3-ethernet", "mac-address")
    path = get("match", "path")
    static, servers = [], []
    for entry in connection.said:
        if entry.section not in ("ipv4", "ipv6"):
            continue
        values = re.split(r"[,;]", entry.value)
        if re.fullmatch(r"address(es)?\d*|gateway", entry.key) and any(map(fixed, values)):
            static.append(entry.place)
        # route1=NETWORK,GATEWAY,METRIC; one without a gateway holds in any network.
        if re.fullmatch(r"routes?\d*", entry.key) and any(map(fixed, re.split(r"[,;\s]+", entry.value)[1:2])):
            static.append(entry.place)
        if entry.key == "dns" and entry.value:
            servers.append(entry.place)
    up = get("connection", "autoconnect").lower() not in ("false", "no", "0") and not connection.refused
    ids = {get("connection", "id"), get("connection", "uuid"), name}
    place = connection.get("connection", "interface-name")
    return Interface(
        system="NetworkManager",
        path=connection.path,
        place=place.place if place else connection.path,
        names=names,
        narrow=f"the MAC address {mac}" if mac else f"the path {path}" if path else "",
        kind=kind,
        ports=kind == "vlan" or bool(masters & ids - {""}),
        dhcp="auto" in (get("ipv4", "method"), get("ipv6", "method")) or get("ipv6", "method") == "dhcp",
        static=tuple(static),
        servers=tuple(servers),
        up=up,
        waits=up and get("connection", "wait-device-timeout") not in ("", "0"),
    )
