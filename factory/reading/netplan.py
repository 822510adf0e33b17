"""netplan's YAML: all files merged by name as netplan does it, and cloud-init's own ``network:`` in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factory import yamlfile
from factory.errors import RecipeError
from factory.inspection import Unreadable
from factory.reading.cloud_init import flat
from factory.reading.interfaces import Interface, fixed, is_virtual
from factory.reading.lines import content_of, layered, place

if TYPE_CHECKING:
    from factory.inspection import Image

FOLDERS = ("/run/netplan", "/etc/netplan", "/usr/lib/netplan", "/lib/netplan")
GENERATORS = (
    "/usr/lib/systemd/system-generators/netplan",
    "/lib/systemd/system-generators/netplan",
    "/usr/libexec/netplan/generate",
    "/usr/sbin/netplan",
)
MOST = 200  # cards, and addresses of one
_KINDS = {
    "ethernets": "ethernet",
    "wifis": "wifi",
    "modems": "tunnel",
    "bonds": "bond",
    "bridges": "bridge",
    "vlans": "vlan",
    "tunnels": "tunnel",
    "dummy-devices": "virtual",
    "virtual-ethernets": "virtual",
}
_YES = ("true", "yes", "on", "y", "1")


def installed(image: Image) -> bool:
    """Whether netplan turns its files into configuration at boot."""
    return any(image.exists(path) for path in GENERATORS)


def read(image: Image) -> list[Interface]:
    """Every stanza of the merged files. A file that is no YAML is left out, as nothing of it takes effect."""
    merged: dict[str, Any] = {}
    texts = []
    for path in layered(image, FOLDERS, ".yaml"):
        content = content_of(image, path)
        try:
            found = flat(yamlfile.foreign(content, path), path)
        except RecipeError:
            continue
        if isinstance(found, dict) and isinstance(found.get("network"), dict):
            merged = _over(merged, found["network"])
            texts.append((path, content))
    return stanzas(merged, texts, "netplan")


def faults(image: Image) -> list[tuple[str, str]]:
    """The (path, what is wrong) of files that keep netplan from making anything at all."""
    found = []
    for path in layered(image, FOLDERS, ".yaml"):
        content = content_of(image, path)
        try:
            whole = flat(yamlfile.foreign(content, path), path) if content.strip() else {}
        except RecipeError as error:
            found.append((path, str(error.faults[0])))
            continue
        if whole and not isinstance(whole, dict):
            found.append((path, f"{path} holds no mapping"))
    return found


def renderer(image: Image) -> str:
    """``networkd`` or ``NetworkManager``: what brings up what netplan's files say."""
    found = "networkd"
    for path in layered(image, FOLDERS, ".yaml"):
        try:
            network = flat(yamlfile.foreign(content_of(image, path), path), path)["network"]
            found = str(network.get("renderer", found))
        except (RecipeError, KeyError, TypeError, AttributeError):
            continue
    return found


def stanzas(network: dict[str, Any], texts: list[tuple[str, str]], system: str) -> list[Interface]:
    """The stanzas of a ``network:`` mapping of version 1 (cloud-init's) or 2; *texts* are the files that it is from."""
    if str(network.get("version", "2")) == "1":
        return _version_1(network, texts, system)
    found: list[Interface] = []
    for section, kind in _KINDS.items():
        devices = network.get(section)
        for name, device in devices.items() if isinstance(devices, dict) else ():
            if len(found) > MOST:
                raise Unreadable(f"{texts[0][0]} and its kin have more than {MOST} cards")
            if isinstance(device, dict):
                found.append(_device(str(name), device, kind, texts, system))
    return found


def _device(name: str, device: dict[str, Any], kind: str, texts: list[tuple[str, str]], system: str) -> Interface:
    match = device.get("match")
    names: tuple[str, ...] = (name,)
    narrow = ""
    if isinstance(match, dict):
        names = tuple(_words(match.get("name"))) if match.get("name") else ()
        drivers = _words(match.get("driver"))
        if match.get("macaddress"):
            narrow = f"the MAC address {match['macaddress']}"
        elif drivers and not any(driver.startswith("virtio") or driver == "*" for driver in drivers):
            narrow = f"the driver {' '.join(drivers)}"
    if kind == "ethernet" and names == ("lo",):
        kind = "loopback"
    addresses = [_address(value) for value in _items(device.get("addresses"))[:MOST]]
    static = [_place(texts, value) for value in addresses if fixed(value)]
    static += [_place(texts, f"{key}:") for key in ("gateway4", "gateway6") if device.get(key)]
    static += [
        _place(texts, str(route["via"]))
        for route in _items(device.get("routes"))[:MOST]
        if isinstance(route, dict) and fixed(str(route.get("via", "")))
    ]
    servers = device.get("nameservers")
    listed = _words(servers.get("addresses")) if isinstance(servers, dict) else []
    holds = [*_words(device.get("interfaces")), *_words(device.get("link"))]
    return Interface(
        system=system,
        path=_place(texts, f"{name}:").split(":")[0],
        place=_place(texts, f"{name}:"),
        names=names,
        narrow=narrow,
        kind=kind,
        ports=any(not is_virtual(port) for port in holds),
        dhcp=any(str(device.get(key, "")).lower() in _YES for key in ("dhcp4", "dhcp6")),
        static=tuple(static),
        servers=tuple(_place(texts, value) for value in listed),
        waits=str(device.get("optional", "")).lower() not in _YES,
        renamed=str(device.get("set-name", "")),
    )


def _version_1(network: dict[str, Any], texts: list[tuple[str, str]], system: str) -> list[Interface]:
    found = []
    kinds = {"physical": "ethernet", "bond": "bond", "bridge": "bridge", "vlan": "vlan", "loopback": "loopback"}
    for device in _items(network.get("config"))[:MOST]:
        kind = kinds.get(str(device.get("type"))) if isinstance(device, dict) else None
        if kind is None:
            continue
        subnets = [subnet for subnet in _items(device.get("subnets")) if isinstance(subnet, dict)]
        values = [str(subnet.get(key, "")) for subnet in subnets for key in ("address", "gateway")]
        servers = [word for subnet in subnets for word in _words(subnet.get("dns_nameservers"))]
        name = str(device.get("name", ""))
        mac = device.get("mac_address")
        found.append(
            Interface(
                system=system,
                path=_place(texts, name).split(":")[0],
                place=_place(texts, name),
                names=(name,) if name else (),
                narrow=f"the MAC address {mac}" if mac else "",
                kind=kind,
                ports=kind in ("bond", "bridge", "vlan"),
                dhcp=any(str(subnet.get("type", "")).startswith("dhcp") for subnet in subnets),
                static=tuple(_place(texts, value) for value in values if fixed(value)),
                servers=tuple(_place(texts, value) for value in servers),
                waits=True,
            )
        )
    return found


def _over(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """As netplan merges: mappings into one another, lists one after the other, the rest replaced."""
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = _over(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            result[key] = old + value
        else:
            result[key] = value
    return result


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [word for word in _items(value) if isinstance(word, str)]


def _address(value: Any) -> str:
    """An address may be a mapping with its options below it."""
    return str(next(iter(value), "")) if isinstance(value, dict) else str(value)


def _place(texts: list[tuple[str, str]], needle: str) -> str:
    found = [place(path, content, needle) if needle else path for path, content in texts]
    return next((where for where in reversed(found) if ":" in where), found[-1] if found else "")
