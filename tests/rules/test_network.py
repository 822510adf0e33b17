"""Rules about the network: any card comes up by DHCP, and nothing of the build's network is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rule_images import Case, Change, append, benign, cases, defect, folder, link, prove, remove, replace, write
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
MACS = [
    defect(
        "GEN-G21", "debian", device("      dhcp4: true\n", match=f"match: {{macaddress: '{MAC}'}}\n      set-name: a")
    ),
    defect("GEN-G21", "debian", write(f"{NETWORKD}/10-card.link", f"[Match]\nMACAddress={MAC}\n[Link]\nName=lan0\n")),
    defect(
        "GEN-G21",
        "debian",
        write(f"{NETWORKD}/10-x.network", f"[Match]\nName=e*\n[Link]\nMACAddress={MAC.upper()}\n[Network]\nDHCP=yes\n"),
    ),
    defect(
        "GEN-G21",
        "debian",
        stanza(f"auto eth0\niface eth0 inet dhcp\n  hwaddress ether {MAC}\n"),
        related=["GEN-G25", "NET08", "NET10"],
    ),
    defect("GEN-G21", "rhel", keyfile(f"[ethernet]\nmac-address={MAC}\n{AUTO}")),
    defect("GEN-G21", "rhel", keyfile(f"[ethernet]\ncloned-mac-address={MAC.replace(':', '-')}\n{AUTO}")),
    defect("GEN-G21", "rhel", write(f"{NMD}/50-mac.conf", f"[connection]\nethernet.cloned-mac-address={MAC}\n")),
    defect("GEN-G21", "rhel", write(IFCFG, f'TYPE=Ethernet\nNAME=lan\nHWADDR="{MAC}"\nBOOTPROTO=dhcp\nONBOOT=yes\n')),
    defect("GEN-G21", "suse", append(f"{SUSE}/ifcfg-eth0", f"LLADDR='{MAC}'\n")),
    defect("GEN-G21", "alpine", append("/etc/network/interfaces", f"    hwaddress ether {MAC}\n")),
    defect(
        "GEN-G21",
        "suse",
        replace("/boot/grub2/grub.cfg", "net.ifnames=0", f"net.ifnames=0 ifname=eth0:{MAC}"),
        related=["BT12"],
    ),
    defect(
        "GEN-G21",
        "debian",
        write(
            "/etc/cloud/cloud.cfg.d/50-net.cfg",
            "network:\n  version: 1\n  config:\n"
            f"  - type: physical\n    name: eth0\n    mac_address: '{MAC}'\n    subnets: [{{type: dhcp}}]\n",
        ),
        related=["NET01", "GEN-G25", "NET08", "NET10"],
    ),
    benign("GEN-G21", "debian", device(f"      dhcp4: true  # was {MAC}\n      # macaddress: {MAC}\n")),
    benign("GEN-G21", "debian", plan(f"  ethernets: {{a: {{macaddress: '{MAC}'}}}}\n", f"{NETPLAN}.bak")),
    benign("GEN-G21", "debian", write("/etc/systemd/network/10.link.off", f"[Match]\nMACAddress={MAC}\n")),
    benign(
        "GEN-G21",
        "debian",
        write(
            "/etc/systemd/network/20.link",
            "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel\nMACAddressPolicy=persistent\n",
        ),
    ),
    benign("GEN-G21", "rhel", keyfile(f"[ethernet]\ncloned-mac-address=preserve\nmac-address-denylist={MAC};\n{AUTO}")),
    benign("GEN-G21", "rhel", write("/etc/sysconfig/network-scripts/ifcfg-eth0.bak", f"HWADDR={MAC}\n")),
    benign("GEN-G21", "suse", append(f"{SUSE}/ifcfg-eth0", f"# LLADDR='{MAC}'\n")),
    benign("GEN-G21", "alpine", append("/etc/network/interfaces", f"# hwaddress ether {MAC}\n")),
    defect(
        "GEN-G22",
        "debian",
        write(
            "/etc/udev/rules.d/70-persistent-net.rules",
            f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="{MAC}", NAME="eth0"\n',
        ),
    ),
    defect(
        "GEN-G22",
        "suse",
        write(
            "/etc/udev/rules.d/85-persistent-net-cloud-init.rules",
            f'SUBSYSTEM=="net", ATTR{{address}}=="{MAC}", NAME="eth0"\n',
        ),
    ),
    defect(
        "GEN-G22",
        "rhel",
        write("/etc/udev/rules.d/10-lan.rules", f'SUBSYSTEM=="net", ATTR{{address}}=="{MAC}", NAME="lan0"\n'),
    ),
    defect(
        "GEN-G22", "alpine", write("/lib/udev/rules.d/75-persistent-net-generator.rules", 'ACTION!="add", GOTO="e"\n')
    ),
    benign("GEN-G22", "debian", folder("/etc/udev/rules.d/70-persistent-net.rules")),
    benign("GEN-G22", "rhel", write("/etc/udev/rules.d/70-persistent-net.rules", "")),
    benign("GEN-G22", "suse", link("/etc/udev/rules.d/75-persistent-net-generator.rules", "/dev/null")),
    benign("GEN-G22", "suse", write("/usr/lib/udev/rules.d/75-persistent-net-generator.rules", 'ACTION!="add"\n')),
    benign("GEN-G22", "alpine", write("/etc/udev/rules.d/70-persistent-net.rules", f"# NAME={MAC}\n")),
    benign("GEN-G22", "debian", write("/etc/udev/rules.d/71-persistent-net.rules.bak", f'NAME="{MAC}"\n')),
]
FIXED = [
    defect("GEN-G23", "debian", device("      addresses: [192.168.122.50/24]\n      gateway4: 192.168.122.1\n")),
    defect("GEN-G23", "debian", device("      dhcp4: true\n      routes:\n        - {to: default, via: 10.0.2.2}\n")),
    defect(
        "GEN-G23", "debian", write(f"{NETWORKD}/x.network", "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\n")
    ),
    defect(
        "GEN-G23",
        "debian",
        write(f"{NETWORKD}/x.network", ANY),
        write(f"{NETWORKD}/x.network.d/a.conf", "[Address]\nAddress=2001:db8::15/64\n"),
    ),
    defect(
        "GEN-G23",
        "debian",
        stanza("auto ens3\niface ens3 inet static\n  address 10.0.2.15\n  gateway 10.0.2.2\n"),
        related=["GEN-G25", "NET08"],
    ),
    defect("GEN-G23", "rhel", keyfile("[ipv4]\nmethod=manual\naddress1=10.0.2.15/24,10.0.2.2\n")),
    defect(
        "GEN-G23",
        "rhel",
        write(IFCFG, "BOOTPROTO=none\nIPADDR=10.0.2.15\nPREFIX=24\nONBOOT=yes\n"),
        related=["GEN-G25"],
    ),
    defect(
        "GEN-G23", "suse", write(f"{SUSE}/ifcfg-eth0", "BOOTPROTO='static'\nIPADDR='10.0.2.15/24'\nSTARTMODE='auto'\n")
    ),
    defect("GEN-G23", "suse", write(f"{SUSE}/routes", "default 10.0.2.2 - -\n")),
    defect(
        "GEN-G23",
        "alpine",
        replace("/etc/network/interfaces", "eth0 inet dhcp", "eth0 inet static\n  address 10.0.2.15/24"),
    ),
    defect("GEN-G23", "alpine", write("/etc/dhcpcd.conf", "interface eth0\nstatic ip_address=10.0.2.15/24\n")),
    defect("GEN-G23", "debian", write("/etc/dhcp/dhclient.conf", "supersede domain-name-servers 10.0.2.3;\n")),
    defect(
        "GEN-G23",
        "debian",
        plan("  bridges:\n    br0:\n      interfaces: [ens3]\n      addresses: [10.0.2.15/24]\n"),
        related=["NET09", "NET08"],
    ),
    defect(
        "GEN-G23",
        "debian",
        write(
            "/etc/cloud/cloud.cfg.d/50-net.cfg",
            "network:\n  version: 2\n  ethernets:\n"
            "    all:\n      match: {name: 'e*'}\n      addresses: [10.0.2.15/24]\n",
        ),
        related=["NET01"],
    ),
    *(
        defect("GEN-G23", "rhel", write(ANY_IFCFG, ANY_DHCP), write(f"{SCRIPTS}/{name}", text))
        for name, text in (
            ("route-any", "# the build's\ndefault via 192.168.1.1\n"),
            ("route-any", "GATEWAY0=192.168.1.1\nNETMASK0=255.0.0.0\nADDRESS0=10.0.0.0\n"),
            ("route6-any", "2001:db8::/32 via 2001:db8:1::1\n"),
        )
    ),
    defect("GEN-G23", "rhel", keyfile("[ipv4]\nmethod=auto\nroute1=0.0.0.0/0,192.168.1.1\n")),
    defect("GEN-G23", "rhel", keyfile("[ipv6]\nmethod=auto\nroute2=2001:db8::/32,2001:db8:1::1,100\n")),
    benign(
        "GEN-G23",
        "rhel",
        write(ANY_IFCFG, ANY_DHCP),
        write(f"{SCRIPTS}/route-any", "#default via 192.168.1.1\n169.254.169.254/32 dev eth0\n"),
        write(f"{SCRIPTS}/route-gone", "default via 192.168.1.1\n"),
        keyfile("[ipv4]\nmethod=auto\nroute1=169.254.169.254/32,0.0.0.0,100\nroute-metric=100\n", "routed"),
        alone=True,
    ),
    benign("GEN-G23", "debian", append("/etc/network/interfaces", "iface lo:0 inet static\n  address 127.0.1.1/8\n")),
    benign("GEN-G23", "debian", device("      dhcp4: true\n      dhcp6: true\n      optional: true\n")),
    benign(
        "GEN-G23",
        "debian",
        write(
            f"{NETWORKD}/10-docker.network",
            "[Match]\nName=docker0 br-*\n[Network]\nAddress=172.17.0.1/16\n[Link]\nUnmanaged=yes\n",
        ),
    ),
    benign(
        "GEN-G23",
        "debian",
        write(
            "/usr/lib/systemd/network/80-container-ve.network",
            "[Match]\nKind=veth\nName=ve-*\n[Network]\nAddress=0.0.0.0/28\n",
        ),
    ),
    benign(
        "GEN-G23", "debian", stanza("auto lxcbr0\niface lxcbr0 inet static\n  bridge_ports none\n  address 10.0.3.1\n")
    ),
    benign("GEN-G23", "rhel", keyfile(f"{AUTO}[ipv6]\nmethod=auto\naddr-gen-mode=eui64\n", "any")),
    benign(
        "GEN-G23", "rhel", write("/etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\nIPADDR=127.0.0.1\nONBOOT=yes\n")
    ),
    benign("GEN-G23", "suse", write(f"{SUSE}/ifcfg-lo", "IPADDR=127.0.0.1/8\nSTARTMODE=nfsroot\nBOOTPROTO=static\n")),
    benign("GEN-G23", "alpine", append("/etc/network/interfaces", "# iface eth1 inet static\n#  address 10.0.2.15\n")),
]
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
    benign("NET12", "debian", write("/etc/hosts.deny", "# ALL: ALL\nin.ftpd: ALL\n")),
    benign("NET12", "suse", write("/etc/hosts.deny", "ALL: ALL\n"), write("/etc/hosts.allow", "sshd: ALL\n")),
]
TRACES = [
    defect("GEN-G36", "debian", write("/var/lib/dhcp/dhclient.ens3.leases", "lease {}\n"), related=["ID12"]),
    defect(
        "GEN-G36",
        "rhel",
        write("/var/lib/NetworkManager/internal-6c1e-ens3.lease", "ADDRESS=10.0.2.15\n"),
        related=["ID11", "ID12"],
    ),
    defect("GEN-G36", "alpine", write("/etc/resolv.conf", "search lan\nnameserver 192.168.122.1\n")),
    defect("GEN-G36", "debian", link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")),
    defect(
        "GEN-G36",
        "debian",
        append("/etc/hosts", "169.254.169.254 metadata.google.internal metadata\n"),
        related=["ID08", "GEN-G37"],
    ),
    benign("GEN-G36", "debian", write("/etc/resolv.conf", "# nameserver 192.168.122.1\noptions edns0\n")),
    benign("GEN-G36", "debian", write("/var/lib/dhcp/dhclient.leases", "")),
    benign("GEN-G36", "rhel", link("/etc/resolv.conf", "/run/NetworkManager/resolv.conf")),
    benign(
        "GEN-G36",
        "suse",
        started("systemd-resolved.service"),
        link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
    ),
    defect("GEN-G41", "debian", write("/etc/chrony/conf.d/aws.conf", "server 169.254.169.123 prefer iburst\n")),
    defect("GEN-G41", "rhel", write("/etc/chrony.conf", "server metadata.google.internal iburst\n")),
    defect("GEN-G41", "suse", write("/etc/systemd/timesyncd.conf", "[Time]\nNTP=169.254.169.254\n")),
    benign(
        "GEN-G41", "debian", write("/etc/chrony/chrony.conf", "# server 169.254.169.123\npool 2.debian.pool.ntp.org\n")
    ),
    benign(
        "GEN-G41",
        "rhel",
        write("/etc/chrony.conf", "pool 2.rocky.pool.ntp.org iburst\nrefclock PHC /dev/ptp0 poll 2\n"),
    ),
]
CASES = [*MACS, *FIXED, *ANY_CARD, *SYSTEMS, *TRACES]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
