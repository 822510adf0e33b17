"""Rules about the network: any card comes up by DHCP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network_files import (
    ANY,
    AUTO,
    IFCFG,
    NETPLAN_ALONE,
    NETWORKD,
    NMD,
    OFF,
    SUSE,
    device,
    keyfile,
    plan,
    stanza,
    started,
)
from tests.rule_images import Case, append, benign, cases, defect, link, prove, remove, replace, write

ANY_CARD = [
    defect("GEN-G24", "rhel", write("/usr/lib/NetworkManager/conf.d/00-server.conf", "[main]\nno-auto-default=*\n")),
    defect("GEN-G24", "rhel", write(f"{NMD}/x.conf", "[main]\nno-auto-default=interface-name:e*\n")),
    benign("GEN-G24", "rhel", write(f"{NMD}/x.conf", "[main]\n#no-auto-default=*\nignore-carrier=*\n")),
    benign(
        "GEN-G24",
        "rhel",
        write("/usr/lib/NetworkManager/conf.d/00-server.conf", "[main]\nno-auto-default=*\n"),
        link(f"{NMD}/00-server.conf", "/dev/null"),
    ),
    defect("GEN-G25", "debian", device("      dhcp4: true\n      optional: true\n", "ens3", "wakeonlan: true")),
    defect("GEN-G25", "debian", stanza("allow-hotplug enp1s0\niface enp1s0 inet dhcp\n")),
    defect("GEN-G25", "rhel", keyfile(f"interface-name=enp1s0\n{AUTO}")),
    defect("GEN-G25", "suse", write(f"{SUSE}/ifcfg-ens192", "BOOTPROTO=dhcp\nSTARTMODE=hotplug\n")),
    defect("GEN-G25", "debian", write(f"{NETWORKD}/x.network", ANY.replace("e*", "ens18"))),
    defect("GEN-G25", "debian", device("      dhcp4: true\n      set-name: lan0\n")),
    defect(
        "GEN-G25", "debian", write(f"{NETWORKD}/10-slot.link", "[Match]\nPath=pci-0000:00:03.0\n[Link]\nName=eth0\n")
    ),
    benign("GEN-G25", "debian", write(f"{NETWORKD}/10-br.link", "[Match]\nKind=bridge\n[Link]\nName=br0\n")),
    benign("GEN-G25", "debian", write(f"{NETWORKD}/x.network", ANY)),
    benign("GEN-G25", "debian", write(f"{NETWORKD}/y.network", ANY.replace("Name=e*", "Type=ether"))),
    benign("GEN-G25", "rhel", keyfile(f"{AUTO}[match]\ninterface-name=e*;\n", "pattern")),
    benign("GEN-G25", "alpine", append("/etc/network/interfaces", "\n")),
    defect("NET01", "debian", OFF, related=["GEN-G16"]),
    defect("NET01", "debian", OFF, device("      dhcp4: true\n"), related=["GEN-G16"]),  # netplan is not installed
    defect(
        "NET01",
        "debian",
        OFF,
        started("systemd-networkd.service"),
        write(f"{NETWORKD}/00-no.network", "[Match]\nName=en*\n[Network]\nLinkLocalAddressing=no\n"),
        write(f"{NETWORKD}/10-any.network", ANY),
        related=["GEN-G16"],
    ),
    defect(
        "NET01", "debian", OFF, stanza("allow-hotplug ens3\niface ens3 inet dhcp\n"), related=["GEN-G16", "GEN-G25"]
    ),
    defect("NET01", "rhel", OFF, write(f"{NMD}/x.conf", "[main]\nno-auto-default=*\n"), related=["GEN-G16", "GEN-G24"]),
    defect(
        "NET01",
        "rhel",
        OFF,
        write(f"{NMD}/x.conf", "[keyfile]\nunmanaged-devices=*,except:type:wifi\n"),
        related=["GEN-G16"],
    ),
    defect("NET01", "rhel", link("/etc/systemd/system/NetworkManager.service", "/dev/null")),
    defect("NET01", "debian", write("/etc/netplan/60-mine.yaml", "network: [\n")),
    # networkd takes the first file that matches, and those of netplan are called 10-netplan-ens3.network.
    defect(
        "NET01", "debian", *NETPLAN_ALONE, write(f"{NETWORKD}/05.network", "[Match]\nName=*\n[Link]\nUnmanaged=1\n")
    ),
    defect("NET01", "debian", *NETPLAN_ALONE, device("      dhcp4: false\n", "any")),
    benign(
        "NET01",
        "debian",
        *NETPLAN_ALONE,
        write(f"{NETWORKD}/80-no.network", "[Match]\nName=*\n[Network]\nDHCP=no\n"),
        write(f"{NETWORKD}/05-br.network", "[Match]\nName=docker*\n[Link]\nUnmanaged=1\n"),
        alone=True,
    ),
    defect("NET01", "debian", replace("/etc/network/interfaces", "source", "#source")),
    defect("NET01", "rhel", write(f"{NMD}/x.conf", "[keyfile]\nunmanaged-devices=*\n")),
    defect("NET01", "rhel", write(f"{NMD}/x.conf", "[device]\nmanaged=0\n")),
    defect(
        "NET01",
        "debian",
        remove("/etc/systemd/system/multi-user.target.wants/networking.service"),
        write("/usr/lib/systemd/system-generators/netplan", "#!/bin/sh\n", 0o755),
        plan("  renderer: NetworkManager\n", "/etc/netplan/01-network-manager-all.yaml"),
    ),
    defect("NET01", "suse", OFF, remove(f"{SUSE}/ifcfg-eth0"), related=["GEN-G16"]),
    defect("NET01", "alpine", OFF, replace("/etc/network/interfaces", "auto eth0", ""), related=["GEN-G16"]),
    benign(
        "NET01", "debian", OFF, started("systemd-networkd.service"), write(f"{NETWORKD}/any.network", ANY), alone=True
    ),
    benign(
        "NET01",
        "debian",
        OFF,
        device("      dhcp4: true\n"),
        write("/usr/lib/systemd/system-generators/netplan", "#!\n"),
        alone=True,
    ),
    benign("NET01", "rhel", OFF, alone=True),
    # netplan starts networkd by itself, which nothing else does.
    benign("NET01", "debian", *NETPLAN_ALONE, alone=True),
    benign("NET01", "suse", OFF),
    benign("NET01", "alpine", OFF),
]

SYSTEMS = [
    defect("NET03", "rhel", keyfile(AUTO, mode=0o644)),
    defect("NET03", "rhel", keyfile(f"{AUTO}[user]\norg.freedesktop.NetworkManager.origin=nm-initrd-generator\n")),
    benign("NET03", "rhel", keyfile(f"{AUTO}[user]\norg.freedesktop.NetworkManager.origin=\n", "mine")),
    defect("NET04", "rhel", write(IFCFG, "DEVICE=ens3\nBOOTPROTO=dhcp\nONBOOT=no\n"), related=["GEN-G25"]),
    defect("NET04", "rhel", write(IFCFG, "DEVICE=ens3\nBOOTPROTO=none\nONBOOT=yes\n"), related=["GEN-G25"]),
    defect(
        "NET04",
        "rhel",
        write(IFCFG, "DEVICE=ens3\nBOOTPROTO=dhcp\nONBOOT=yes\nNM_CONTROLLED=no\n"),
        related=["GEN-G25"],
    ),
    defect(
        "NET04",
        "rhel",
        write(IFCFG, "TYPE=Ethernet\nNAME=x\nBOOTPROTO=dhcp\nONBOOT=yes\nUUID=6c1e4a3e-7d0a-4f4c-9f55\n"),
    ),
    defect("NET04", "suse", write(f"{SUSE}/ifcfg-eth0", "BOOTPROTO='dhcp'\nSTARTMODE='off'\n")),
    benign(
        "NET04",
        "rhel",
        write(
            "/etc/sysconfig/network-scripts/ifcfg-any",
            "TYPE=Ethernet\nNAME=any\nBOOTPROTO=dhcp\nONBOOT=yes\n# UUID=x\n",
        ),
    ),
    benign("NET04", "suse", write(f"{SUSE}/ifcfg-eth0.rpmsave", "BOOTPROTO='none'\nSTARTMODE='off'\n")),
    defect("NET08", "debian", stanza("auto ens4\niface ens4 inet dhcp\n"), related=["GEN-G25"]),
    benign("NET08", "debian", stanza("auto lo\nallow-hotplug docker0\niface docker0 inet manual\n"), alone=True),
    defect(
        "NET09",
        "debian",
        write("/etc/wpa_supplicant/wpa_supplicant.conf", 'network={\n ssid="x"\n psk="secretsecret"\n}\n'),
        related=["GEN-G39"],
    ),
    defect(
        "NET09",
        "rhel",
        keyfile("[wifi]\nssid=x\n[wifi-security]\npsk=secretsecret\n", "x", kind="wifi"),
        related=["GEN-G39"],
    ),
    defect(
        "NET09",
        "debian",
        plan("  bonds:\n    bond0:\n      interfaces: [ens3, ens4]\n      dhcp4: true\n"),
        related=["NET08"],
    ),
    benign("NET09", "debian", write("/etc/systemd/network/25-br.netdev", "[NetDev]\nName=lxdbr1\nKind=bridge\n")),
    benign(
        "NET09",
        "debian",
        plan("  bridges:\n    lxdbr9: {interfaces: [], addresses: [10.9.0.1/24]}\n", "/etc/netplan/60.yaml"),
    ),
    benign(
        "NET09",
        "rhel",
        keyfile("interface-name=virbr7\n[ipv4]\nmethod=manual\naddress1=10.7.0.1/24\n", "virbr7", kind="bridge"),
    ),
    defect("NET10", "suse", replace("/etc/default/grub", " net.ifnames=0", "")),
    defect("NET10", "suse", replace("/boot/grub2/grub.cfg", " net.ifnames=0", ""), related=["GEN-G25", "NET08"]),
    defect(
        "NET10",
        "suse",
        OFF,
        replace("/boot/grub2/grub.cfg", " net.ifnames=0", ""),
        related=["GEN-G25", "NET08", "NET01", "GEN-G16"],
    ),
    benign(
        "NET10",
        "debian",
        link("/etc/systemd/network/99-default.link", "/dev/null"),
        stanza("allow-hotplug eth0\niface eth0 inet dhcp\n"),
        alone=True,
    ),
    benign("NET10", "suse", append("/etc/default/grub", "# net.ifnames=1\n")),
    defect("NET11", "debian", write("/etc/sysctl.d/10-ipv6-privacy.conf", "net.ipv6.conf.all.use_tempaddr = 2\n")),
    defect("NET11", "rhel", write("/etc/sysctl.d/x.conf", "net/ipv6/conf/default/disable_ipv6=1\n")),
    defect("NET11", "suse", write("/etc/sysctl.conf", "net.ipv4.conf.ens3.rp_filter = 0\n")),
    benign(
        "NET11",
        "debian",
        write("/etc/sysctl.d/10-ipv6-privacy.conf", "net.ipv6.conf.all.use_tempaddr = 2\n"),
        write("/etc/sysctl.d/99-cloud.conf", "net.ipv6.conf.all.use_tempaddr = 0\n"),
    ),
    benign(
        "NET11",
        "rhel",
        write(
            "/usr/lib/sysctl.d/50-default.conf",
            "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter\nnet.ipv6.conf.lo.disable_ipv6 = 0\n",
        ),
    ),
    defect("NET12", "debian", write("/etc/hosts.deny", "ALL: ALL\n")),
    defect("NET12", "suse", write("/etc/hosts.deny", "in.ftpd: 10.0.0.1\nsshd, in.telnetd : PARANOID\n")),
    defect("NET12", "rhel", write("/var/lib/fail2ban/fail2ban.sqlite3", b"SQLite format 3\0")),
    defect("NET12", "debian", write("/etc/hosts.allow", "sshd : ALL : DENY\nsshd : ALL\n")),
    defect("NET12", "debian", write("/etc/hosts.allow", "sshd : ALL : spawn (logger %a) : twist /bin/echo no\n")),
    defect(
        "NET12", "suse", write("/etc/hosts.deny", "sshd: ALL\n"), write("/etc/hosts.allow", "in.ftpd : ALL : ALLOW\n")
    ),
    benign(
        "NET12", "debian", write("/etc/hosts.deny", "sshd : ALL : severity auth.info : allow\nALL : ALL\n"), alone=True
    ),
    benign("NET12", "debian", write("/etc/hosts.allow", "sshd : [2001:db8::1] : DENY\nin.ftpd : ALL : DENY\n")),
    benign("NET12", "debian", write("/etc/hosts.deny", "# ALL: ALL\nin.ftpd: ALL\n")),
    benign("NET12", "suse", write("/etc/hosts.deny", "ALL: ALL\n"), write("/etc/hosts.allow", "sshd: ALL\n")),
]

CASES = [*ANY_CARD, *SYSTEMS]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
