"""Rules about the network: nothing of the build's is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network_files import (
    ANY,
    ANY_DHCP,
    ANY_IFCFG,
    AUTO,
    IFCFG,
    MAC,
    NETPLAN,
    NETWORKD,
    NMD,
    SCRIPTS,
    SUSE,
    device,
    keyfile,
    plan,
    stanza,
    started,
)
from tests.rule_images import Case, append, benign, cases, defect, folder, link, prove, replace, write

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

CASES = [*MACS, *FIXED, *TRACES]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
