"""Rules about the guest's own firewall: nothing that starts at boot closes a port, and SSH gets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest_tree import file, link
from tests.rule_images import Case, Change, Guest, append, benign, cases, defect, prove, replace, write
from tests.trees.common import enabled

FIREWALLD = "/etc/firewalld/firewalld.conf"
OFF = ("GEN-G26",)  # what closes port 22 is also on


def started(unit: str, text: str = "") -> Change:
    """A service of systemd that starts at boot."""
    return lambda guest: guest.files.update(enabled(unit, "multi-user.target", text=text))


def present(unit: str) -> Change:
    """A service of systemd that nothing starts."""
    return write(
        f"/usr/lib/systemd/system/{unit}", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    )


def openrc(service: str) -> Change:
    """A service of OpenRC that starts at boot."""

    def change(guest: Guest) -> None:
        guest.files[f"/etc/init.d/{service}"] = file(b"#!/sbin/openrc-run\n", 0o755)
        guest.files[f"/etc/runlevels/default/{service}"] = link(f"/etc/init.d/{service}")

    return change


def rules(*lines: str, policy: str = "DROP") -> str:
    """A file of iptables-save."""
    return "\n".join(["*filter", f":INPUT {policy} [0:0]", ":FORWARD ACCEPT [0:0]", *lines, "COMMIT", ""])


def table(*lines: str, policy: str = "drop") -> str:
    """A file of nftables."""
    head = "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n chain input {\n  type filter hook input priority "
    return head + f"filter; policy {policy};\n" + "".join(f"  {line}\n" for line in lines) + " }\n}\n"


LO = "-A INPUT -i lo -j ACCEPT"
KNOWN = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
SSH = "-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT"
REJECT = "-A INPUT -j REJECT --reject-with icmp-host-prohibited"
NFT = "/etc/nftables.conf"
RULES = "/etc/iptables/rules.v4"
UFW = [
    write("/etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n"),
    write("/etc/default/ufw", 'DEFAULT_INPUT_POLICY="DROP"\n'),
]
ALLOW = "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 22 -j ACCEPT\n"
PUBLIC = '<?xml version="1.0"?>\n<zone>\n <service name="ssh"/>\n <!-- <service name="http"/> -->\n</zone>\n'
ON = [
    defect("GEN-G26", "rhel", started("firewalld.service")),
    defect("GEN-G26", "rhel", started("firewalld.service"), write("/usr/lib/firewalld/zones/public.xml", PUBLIC)),
    defect("GEN-G26", "debian", started("ufw.service"), *UFW, write("/etc/ufw/user.rules", ALLOW)),
    defect(
        "GEN-G26", "debian", started("nftables.service"), write(NFT, table("iif lo accept", "tcp dport ssh accept"))
    ),
    defect("GEN-G26", "debian", started("netfilter-persistent.service"), write(RULES, rules(LO, KNOWN, SSH))),
    defect(
        "GEN-G26",
        "rhel",
        started("iptables.service"),
        write("/etc/sysconfig/iptables", rules(KNOWN, LO, SSH, REJECT, policy="ACCEPT")),
    ),
    defect(
        "GEN-G26",
        "suse",
        started("SuSEfirewall2.service"),
        write("/etc/sysconfig/SuSEfirewall2", 'FW_SERVICES_EXT_TCP="ssh"\n'),
    ),
    defect("GEN-G26", "alpine", openrc("iptables"), write("/etc/iptables/rules-save", rules(LO, SSH))),
    defect("GEN-G26", "debian", started("shorewall.service")),
    # Presets switch it on at the first boot.
    defect(
        "GEN-G26",
        "debian",
        present("firewalld.service"),
        write("/etc/machine-id", "uninitialized\n"),
        related=["GEN-G30"],
    ),
    benign("GEN-G26", "rhel", present("firewalld.service"), write(FIREWALLD, "DefaultZone=drop\n")),
    benign("GEN-G26", "debian", started("ufw.service"), write("/etc/ufw/ufw.conf", "ENABLED=no\n"), UFW[1]),
    benign("GEN-G26", "debian", started("nftables.service"), write(NFT, table("# drop", policy="accept"))),
    benign("GEN-G26", "debian", present("netfilter-persistent.service"), write(RULES, rules())),
    benign("GEN-G26", "suse", started("firewalld.service"), write(FIREWALLD, "DefaultZone=trusted\n")),
    benign("GEN-G26", "alpine", write("/etc/nftables.nft", table())),
    benign(
        "GEN-G26", "alpine", openrc("iptables"), write("/etc/iptables/rules-save", rules(LO, KNOWN, policy="ACCEPT"))
    ),
]
CLOSED = [
    defect("FW02", "rhel", started("firewalld.service"), write(FIREWALLD, "DefaultZone=drop\n"), related=OFF),
    defect(
        "FW02",
        "rhel",
        started("firewalld.service"),
        write("/etc/firewalld/zones/public.xml", '<zone>\n <service name="https"/>\n</zone>\n'),
        related=OFF,
    ),
    defect(
        "FW02",
        "suse",
        started("firewalld.service"),
        write(
            "/etc/firewalld/zones/public.xml",
            '<zone target="ACCEPT"><rule><service name="ssh"/><reject/></rule></zone>',
        ),
        related=OFF,
    ),
    defect("FW02", "debian", started("ufw.service"), *UFW, related=OFF),
    defect(
        "FW02",
        "debian",
        started("ufw.service"),
        *UFW,
        write("/etc/ufw/user.rules", "### tuple ### deny tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n" + ALLOW),
        related=OFF,
    ),
    defect(
        "FW02", "debian", started("nftables.service"), write(NFT, table("ct state established accept")), related=OFF
    ),
    defect(
        "FW02", "debian", started("nftables.service"), write(NFT, table("tcp dport { 80, 443 } accept")), related=OFF
    ),
    defect(
        "FW02",
        "debian",
        started("nftables.service"),
        write(NFT, table("ip saddr 10.0.0.0/8 tcp dport 22 accept")),
        related=OFF,
    ),
    defect(
        "FW02",
        "debian",
        started("nftables.service"),
        write(
            NFT,
            table("ct state vmap { established : accept, new : jump fresh }", policy="accept").replace(
                "\n}\n", "\n chain fresh {\n  tcp dport 0-1024 counter reject with tcp reset\n }\n}\n"
            ),
        ),
        related=OFF,
    ),
    defect(
        "FW02",
        "rhel",
        started("nftables.service", "[Service]\nExecStart=/sbin/nft -f /etc/sysconfig/nftables.conf\n"),
        write("/etc/sysconfig/nftables.conf", 'include "/etc/nftables/*.nft"\n'),
        write("/etc/nftables/main.nft", table()),
        related=OFF,
    ),
    defect("FW02", "debian", started("netfilter-persistent.service"), write(RULES, rules(LO, KNOWN)), related=OFF),
    defect(
        "FW02",
        "debian",
        started("netfilter-persistent.service"),
        write(
            RULES,
            rules("-A INPUT -j hosts", "-A hosts -p tcp --dport 20:25 -j DROP", ":hosts - [0:0]", policy="ACCEPT"),
        ),
        related=OFF,
    ),
    defect(
        "FW02",
        "rhel",
        started("iptables.service"),
        write("/etc/sysconfig/iptables", rules("-A INPUT ! -s 10.0.0.0/8 -j DROP", policy="ACCEPT")),
        related=OFF,
    ),
    defect("FW02", "suse", started("SuSEfirewall2.service"), write("/etc/sysconfig/SuSEfirewall2", ""), related=OFF),
    defect(
        "FW02", "alpine", openrc("nftables"), write("/etc/nftables.nft", table("meta l4proto icmp accept")), related=OFF
    ),
    defect(
        "FW02",
        "debian",
        write("/etc/network/if-pre-up.d/fw", "#!/bin/sh\niptables-restore < /etc/fw.rules\n", 0o755),
        write("/etc/fw.rules", rules(LO)),
        related=OFF,
    ),
    defect("FW02", "rhel", write("/etc/rc.local", "#!/bin/sh\niptables -P INPUT DROP\n", 0o755), related=OFF),
    defect(
        "FW02",
        "debian",
        started("lock.service", "[Service]\nExecStart=/usr/sbin/nft -f /etc/lock.nft\n"),
        write("/etc/lock.nft", table()),
        related=OFF,
    ),
    defect("FW02", "debian", write("/etc/cron.d/fw", "@reboot root /sbin/iptables -P INPUT DROP\n"), related=OFF),
    defect(
        "FW02",
        "suse",
        started("fw.service", '[Service]\nExecStart=/bin/sh -c "iptables -I INPUT -p tcp --dport 22 -j DROP"\n'),
        related=OFF,
    ),
    benign("FW02", "debian", write("/etc/cron.d/fw", "0 4 * * * root /sbin/iptables -P INPUT DROP\n")),
    benign("FW02", "debian", write("/etc/rc.local", "#!/bin/sh\niptables -P INPUT DROP\n", 0o644)),
    benign(
        "FW02",
        "debian",
        write(
            "/etc/network/if-pre-up.d/fw",
            "#!/bin/sh\n# iptables -P INPUT DROP\niptables -A INPUT -p tcp --dport 22 -j ACCEPT\n",
            0o755,
        ),
    ),
    benign("FW02", "debian", started("nftables.service"), write(NFT, table("tcp dport 22 accept", policy="accept"))),
    benign("FW02", "rhel", write("/etc/sysconfig/iptables", rules())),
    benign("FW02", "alpine", append("/etc/network/interfaces", "  # pre-up iptables -P INPUT DROP\n")),
]
ACCESS = [
    defect(
        "FW03", "rhel", write("/etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=targeted\n"), related=["GEN-G44"]
    ),
    defect(
        "FW03", "suse", replace("/boot/grub2/grub.cfg", "net.ifnames=0", "net.ifnames=0 apparmor=0"), related=["BT12"]
    ),
    benign(
        "FW03", "rhel", write("/etc/selinux/config", "# SELINUX=disabled\nSELINUX=enforcing\nSELINUXTYPE=targeted\n")
    ),
]
CASES = [*ON, *CLOSED, *ACCESS]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
