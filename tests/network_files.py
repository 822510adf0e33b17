"""Files of a guest that settle its network, for the rules about it."""

from __future__ import annotations

from tests.rule_images import Change, remove, write
from tests.trees.common import enabled

MAC = "52:54:00:12:34:56"
NETPLAN = "/etc/netplan/50-cloud-init.yaml"
NM = "/etc/NetworkManager/system-connections"
NMD = "/etc/NetworkManager/conf.d"
NETWORKD = "/etc/systemd/network"
IFCFG = "/etc/sysconfig/network-scripts/ifcfg-ens3"
SUSE = "/etc/sysconfig/network"
OFF = write("/etc/cloud/cloud.cfg.d/99-no.cfg", "network: {config: disabled}\n")
GRUB = "/boot/grub/grub.cfg"


def plan(text: str, path: str = NETPLAN) -> Change:
    return write(path, f"network:\n  version: 2\n{text}", 0o600)


def device(text: str, name: str = "any", match: str = "match: {name: 'e*'}") -> Change:
    return plan(f"  ethernets:\n    {name}:\n      {match}\n{text}")


def keyfile(text: str, name: str = "wired", mode: int = 0o600, kind: str = "ethernet") -> Change:
    return write(f"{NM}/{name}.nmconnection", f"[connection]\nid={name}\ntype={kind}\n{text}", mode)


def stanza(text: str) -> Change:
    return write("/etc/network/interfaces.d/card", text)


def started(unit: str) -> Change:
    """A service of systemd that starts at boot."""
    return lambda guest: guest.files.update(enabled(unit, "multi-user.target"))


ANY = "[Match]\nName=e*\n[Network]\nDHCP=yes\n"
NETPLAN_ALONE = [
    remove("/etc/systemd/system/multi-user.target.wants/networking.service"),
    write("/usr/lib/systemd/system/systemd-networkd.service", "[Service]\nExecStart=/bin/true\n"),
    write("/usr/lib/systemd/system-generators/netplan", "#!/bin/sh\n", 0o755),
]
SCRIPTS = "/etc/sysconfig/network-scripts"
ANY_IFCFG = f"{SCRIPTS}/ifcfg-any"
ANY_DHCP = "TYPE=Ethernet\nNAME=any\nBOOTPROTO=dhcp\nONBOOT=yes\n"
AUTO = "[ipv4]\nmethod=auto\n"
