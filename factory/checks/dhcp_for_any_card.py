"""A card whose name and MAC address nobody knows yet gets its address by DHCP, by cloud-init or by other settings."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.quoting import quoted
from factory.reading import boot_entries, cloud_init, dhcp, netplan, network, openrc, systemd
from factory.reading.interfaces import Interface
from factory.reading.services import Services


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    off = network_off(looked)
    own = [each for each in looked.know(network.read) if each.system == "cloud-init" and each.physical]
    if not off and own:
        lacking = [n for n in names(looked).possible if not any(each.covers(n) and each.dhcp for each in own)]
        if lacking:
            yield Problem(own[0].path, f"{own[0].place} (in cloud-init's settings; it leaves out {', '.join(lacking)})")
    elif off:
        lacking = without_dhcp(looked)
        why = "; ".join(place for _, place in off)
        if lacking:
            yield Problem(off[0][0], f"{why}; and nothing else gives {', '.join(lacking)} an address by DHCP")
    elif unread := dhcp.unread(looked.image, known_services(looked)):
        yield Problem(*unread)
    elif taken := _taken(looked):
        told = f"{taken.place} (it takes the card before what cloud-init writes, and asks for no address)"
        yield Problem(taken.path, told, fix=f"rm -f {quoted(taken.path)}")
    for path, fault in netplan.faults(looked.image):
        yield Problem(path, f"{fault}; netplan then sets up nothing, not even what cloud-init writes")
    for why in dhcp.stopped(looked.image, known_services(looked)):
        yield Problem("image", f"no service sets up the network: {why}")
    yield Note("any card gets its address by DHCP")


def _taken(looked: Looked) -> Interface | None:
    return dhcp.shadow(looked.image, known_services(looked), looked.know(network.read), names(looked).possible)


def known_services(looked: Looked) -> Services:
    """What starts at boot."""
    return Services(looked.know(systemd.read), looked.know(openrc.read))


def names(looked: Looked) -> network.Names:
    """What the cards may be called."""
    alpine = looked.know(openrc.read).present
    return network.names(looked.image, looked.know(boot_entries.read), alpine=alpine)


def network_off(looked: Looked) -> list[tuple[str, str]]:
    """The (path, place) of what keeps cloud-init from setting up the network; empty when it does."""
    settings = looked.know(cloud_init.read)
    if not settings.program:
        return [("image", "cloud-init is not installed")]
    found = []
    if settings.get("network", "config") == "disabled":
        found.append((settings.path("network", "config"), settings.place("network", "config")))
    for entry in looked.know(boot_entries.read).entries:
        if "network-config=disabled" in entry.options:
            found.append((entry.path, entry.evidence))
    if looked.image.exists("/var/lib/cloud/data/upgraded-network"):
        found.append(("/var/lib/cloud/data/upgraded-network", "/var/lib/cloud/data/upgraded-network is there"))
    if looked.image.stat("/etc/cloud/cloud-init.disabled", follow=True):
        found.append(("/etc/cloud/cloud-init.disabled", "/etc/cloud/cloud-init.disabled switches cloud-init off"))
    return found


def without_dhcp(looked: Looked) -> list[str]:
    """The names that a card may have and for which the image's own settings do nothing."""
    interfaces = [each for each in looked.know(network.read) if each.system != "cloud-init"]
    found = known_services(looked)
    return [n for n in names(looked).possible if not dhcp.provider(looked.image, found, interfaces, n)]
