"""systemd-networkd's .network files (with drop-ins), and udev's .link files: for each card the first by name counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory.reading.interfaces import Interface, fixed, is_virtual
from factory.reading.lines import Entry, content_of, entries, layered

if TYPE_CHECKING:
    from factory.inspection import Image

FOLDERS = (
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
)
_NARROW = {
    "MACAddress": "the MAC address",
    "PermanentMACAddress": "the MAC address",
    "Path": "the path",
    "Host": "the host",
    "Architecture": "the architecture",
    "SSID": "the SSID",
    "BSSID": "the BSSID",
    "KernelCommandLine": "the kernel command line",
    "Property": "the property",
}
_YES = ("yes", "true", "1", "on", "both", "ipv4", "v4", "ipv6", "v6", "any")
_FIXED = (("Network", "Address"), ("Address", "Address"), ("Network", "Gateway"), ("Route", "Gateway"))
_PHYSICAL_KINDS = ("", "!*")


def read(image: Image) -> list[Interface]:
    """Every .network file, in the order in which networkd tries them on a card."""
    held = {
        entry.value
        for path in layered(image, FOLDERS, ".network")
        for entry in file_entries(image, path)
        if (entry.section, entry.key) in (("Network", "Bridge"), ("Network", "Bond"))
    }
    said = [(path, file_entries(image, path)) for path in layered(image, FOLDERS, ".network")]
    # networkd ignores a file that does not say which cards it is for.
    return [_interface(path, lines, held) for path, lines in said if any(line.section == "Match" for line in lines)]


def file_entries(image: Image, path: str) -> list[Entry]:
    """What the file at *path* and its drop-ins say; an empty value forgets what was before."""
    name = path.rpartition("/")[2]
    found: list[Entry] = []
    for part in [path, *layered(image, [f"{folder}/{name}.d" for folder in FOLDERS], ".conf")]:
        for entry in entries(part, content_of(image, part)):
            if entry.value:
                found.append(entry)
            else:
                found = [old for old in found if (old.section, old.key) != (entry.section, entry.key)]
    return found


def links(image: Image) -> list[tuple[str, list[Entry]]]:
    """Every .link file in order of its name, with what it and its drop-ins say."""
    return [(path, file_entries(image, path)) for path in layered(image, FOLDERS, ".link")]


def names_kept(image: Image) -> bool:
    """Whether a masked or emptied default .link file leaves cards with the kernel's names, such as eth0."""
    for folder in FOLDERS:
        path = f"{folder}/99-default.link"
        found = image.stat(path)
        if found is None:
            continue
        if found.kind == "symlink" and image.readlink(path) == "/dev/null":
            return True
        policies = [entry.value for entry in file_entries(image, path) if entry.key == "NamePolicy"]
        return not policies or policies[-1].split() == ["kernel"]
    return False


def _interface(path: str, said: list[Entry], held: set[str]) -> Interface:
    match = {entry.key: entry.value for entry in said if entry.section == "Match"}
    names = tuple(word for entry in said if (entry.section, entry.key) == ("Match", "Name") for word in _split(entry))
    narrow = next((f"{what} {match[key]}" for key, what in _NARROW.items() if key in match), "")
    drivers = match.get("Driver", "").split()
    if drivers and not any(driver.startswith("virtio") or driver == "*" for driver in drivers):
        narrow = narrow or f"the driver {' '.join(drivers)}"
    if match.get("Virtualization", "").lower() in ("container", "no", "false", "!vm"):
        narrow = narrow or f"virtualization {match['Virtualization']}"
    kind = "ethernet"
    if match.get("Type", "ether") not in ("ether", "!loopback") and "ether" not in match.get("Type", "ether").split():
        kind = "loopback" if match["Type"] == "loopback" else "virtual"
    elif match.get("Kind", "") not in _PHYSICAL_KINDS:
        kind = "virtual"
    elif names == ("lo",):
        kind = "loopback"
    elif len(names) == 1 and names[0] in held:
        kind = "bridge"
    static = [entry.place for entry in said if (entry.section, entry.key) in _FIXED and fixed(entry.value)]
    last = {(entry.section, entry.key): entry for entry in said}
    dhcp = last.get(("Network", "DHCP"))
    required = last.get(("Link", "RequiredForOnline"))
    unmanaged = last.get(("Link", "Unmanaged"))
    return Interface(
        system="networkd",
        path=path,
        place=next((entry.place for entry in said if entry.section == "Match"), path),
        names=names,
        narrow=narrow,
        kind=kind,
        ports=kind == "bridge" and not is_virtual(names[0]),
        dhcp=dhcp is not None and dhcp.value.lower() in _YES and not (unmanaged and unmanaged.value.lower() in _YES),
        static=tuple(static),
        servers=tuple(entry.place for entry in said if entry.key == "DNS" and entry.section == "Network"),
        waits=not (required and required.value.lower() in ("no", "false", "0", "off")),
    )


def _split(entry: Entry) -> list[str]:
    words = entry.value.split()
    if words and words[0].startswith("!"):
        return ["!" + word.lstrip("!") for word in words]  # one "!" turns the whole list round
    return words
