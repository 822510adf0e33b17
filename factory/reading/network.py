"""The network configuration of a guest as a whole: every system's interfaces, MAC addresses, and what cards are called.

cloud-init's own ``network:`` is one of the systems: it wins over what the cloud says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.reading import cloud_init, ifcfg, ifupdown, netplan, network_manager, networkd
from factory.reading.interfaces import KERNEL, PREDICTABLE, Interface
from factory.reading.lines import content_of, layered, numbered

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.reading.boot_entries import BootEntries

# Neither all zeros nor all ones, which name no card, and not a part of an IPv6 address or of a longer identifier.
MAC = re.compile(
    r"(?<![0-9a-f:-])(?!(?:00[:-]){5}00|(?:ff[:-]){5}ff)(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:-])", re.IGNORECASE
)
# Lines whose addresses bind nothing: another machine's, or what must not be used.
_NO_CARD = re.compile(r"blacklist|denylist|static-arp|bridge.?mac|neigh|MACAddressPolicy", re.IGNORECASE)
_FILES = (
    (networkd.FOLDERS, (".network", ".link")),
    (netplan.FOLDERS, (".yaml",)),
    (network_manager.CONNECTIONS, ("",)),
    (("/etc/NetworkManager/conf.d", "/usr/lib/NetworkManager/conf.d"), (".conf",)),
)


@dataclass(frozen=True)
class Names:
    """What a machine's first card may be called: *kernel* when every way to boot leaves it as eth0.

    *mixed* says that only some do, with the evidence of one that does not.
    """

    kernel: bool
    mixed: str = ""

    @property
    def possible(self) -> tuple[str, ...]:
        """The names that configuration must be ready for."""
        return KERNEL if self.kernel else PREDICTABLE


def read(image: Image) -> list[Interface]:
    """Every interface of every system that has configuration in *image*, whether that system runs or not."""
    found = [*netplan.read(image), *networkd.read(image), *network_manager.read(image)]
    return found + ifcfg.read(image) + ifupdown.read(image) + of_cloud_init(cloud_init.read(image))


def of_cloud_init(settings: cloud_init.CloudInit) -> list[Interface]:
    """The interfaces in cloud-init's own ``network:``."""
    network = settings.get("network")
    if not isinstance(network, dict):
        return []
    inner = network.get("network", network)
    texts = [(part.path, part.text) for part in settings.parts if "network" in (part.settings or {})]
    return netplan.stanzas(inner, texts, "cloud-init") if isinstance(inner, dict) else []


def macs(image: Image) -> Iterator[tuple[str, str]]:
    """The (path, ``path:line: text``) of every line of network configuration that has a card's MAC address in it."""
    for path, content in _texts(image):
        for number, line in numbered(content):
            bare = re.sub(r"\s#.*", "", line)
            if MAC.search(bare) and not _NO_CARD.search(bare):
                yield path, f"{path}:{number}: {line.strip()}"


def _texts(image: Image) -> Iterator[tuple[str, str]]:
    paths = [path for folders, ends in _FILES for end in ends for path in layered(image, folders, end)]
    paths += [path for folder in (ifcfg.RHEL, ifcfg.SUSE) for path, _ in ifcfg.files(image, folder)]
    paths += ifupdown.parse(image).paths
    paths += ["/etc/NetworkManager/NetworkManager.conf", "/etc/dhcpcd.conf", "/etc/dhcp/dhclient.conf"]
    for path in dict.fromkeys(paths):
        for part in [path, *layered(image, [f"{path}.d"], ".conf")]:
            yield part, content_of(image, part)
    for settings in cloud_init.read(image).parts:
        if isinstance(settings.settings, dict) and "network" in settings.settings:
            yield settings.path, settings.text


def names(image: Image, entries: BootEntries, *, alpine: bool) -> Names:
    """What cards are called when the machine boots by any of *entries*; *alpine*: nothing renames them."""
    if alpine or networkd.names_kept(image):
        return Names(True)
    kept = [entry for entry in entries.entries if "0" in entry.option("net.ifnames")[-1:]]
    other = [entry for entry in entries.entries if entry not in kept]
    if kept and not other:
        return Names(True)
    return Names(False, other[0].evidence if kept else "")
