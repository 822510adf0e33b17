"""Rules about identities: by what a machine made from the image would be taken for another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rule_images import (
    Case,
    append,
    benign,
    cases,
    defect,
    esp,
    folder,
    link,
    prove,
    remove,
    replace,
    write,
)
from tests.rules.test_boot import BLS, in_initramfs
from tests.rules.test_cloud_init import on_lvm
from tests.trees.common import ROOT_UUID

DEVICES_FILE = "etc/lvm/devices/system.devices"
DEVICES = b"VERSION=1.1.1\nIDTYPE=sys_wwid IDNAME=naa.5000c500a0b1c2d3 DEVNAME=/dev/sda3 PVID=abc PART=3\n"
ON_LVM = (
    on_lvm,
    replace("/etc/fstab", f"UUID={ROOT_UUID}", "/dev/vg/root"),
    replace(BLS, f"root=UUID={ROOT_UUID}", "root=/dev/mapper/vg-root rd.lvm.lv=vg/root"),
    write("/usr/local/sbin/grow", "#!/bin/sh\nlvextend -r -l +100%FREE vg/root\n"),
)
ID = "0123456789abcdef0123456789abcdef"
LOADER = {"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(510)}
KERNEL = "5.14.0-427.13.1.el9_4.x86_64"
ENTRY = "/boot/loader/entries/ffffffffffffffffffffffffffffffff-" + KERNEL + ".conf"
PUBLIC = "/etc/machine-id"
KEYFILE = "/etc/NetworkManager/system-connections/any.nmconnection"
EVERY_CARD = """[connection]
id=any
type=ethernet
[ipv4]
method=auto
dhcp-client-id={0}
[ipv6]
method=auto
dhcp-duid={1}
"""
IFCFG = "/etc/sysconfig/network-scripts/ifcfg-eth0"
CARD = "TYPE=Ethernet\nNAME=x\nBOOTPROTO=dhcp\nONBOOT=yes\n"
DBUS = "/var/lib/dbus/machine-id"

MACHINE = [
    defect("GEN-G30", "debian", write(PUBLIC, f"{ID}\n", 0o444)),
    defect("GEN-G30", "rhel", write(PUBLIC, "uninitialized\n", 0o444)),
    defect("GEN-G30", "suse", remove(PUBLIC)),
    defect("GEN-G30", "suse", write(PUBLIC, "\n")),
    defect(
        "GEN-G30", "debian", replace("/boot/grub/grub.cfg", "tty0", f"tty0 systemd.machine_id={ID}"), related=("BT12",)
    ),
    defect("GEN-G30", "debian", write(DBUS, f"{ID}\n")),
    defect("GEN-G30", "alpine", write(DBUS, f"{ID}\n")),
    benign("GEN-G30", "debian", write(DBUS, ""), write(f"{PUBLIC}.bak", "")),
    benign("GEN-G30", "rhel", link(DBUS, "../../../etc/machine-id")),
    defect(
        "ID03",
        "rhel",
        write(ENTRY.replace("f" * 32, ID), f"title x\nlinux /boot/vmlinuz-{KERNEL}\n"),
        related=("GEN-G02", "GEN-G05", "GEN-G06", "BT01", "BT02", "BT03", "BT05"),
    ),
    defect("ID03", "suse", folder(f"/boot/{ID}")),
    benign("ID03", "rhel", write("/boot/loader/entries.srel", "type1\n"), write("/etc/kernel/entry-token", f"{ID}\n")),
    defect("GEN-G35", "debian", write("/var/lib/systemd/random-seed", "x" * 512, 0o600)),
    defect("GEN-G35", "rhel", write("/var/lib/systemd/credential.secret", "x" * 64, 0o400)),
    defect("GEN-G35", "alpine", write("/var/lib/seedrng/seed.credit", "x" * 64, 0o400)),
    defect("GEN-G35", "debian", esp({**LOADER, "loader/random-seed": b"x" * 32})),
    benign("GEN-G35", "debian", esp({**LOADER, "loader/loader.conf": b"timeout 1\n"}), folder("/var/lib/seedrng")),
    defect("ID06", "debian", write("/var/lib/systemd/coredump/core.x", "x"), related=("DL06",)),
    defect("ID06", "debian", write("/var/lib/systemd/linger/builder", "")),
    benign(
        "ID06", "debian", write("/var/lib/systemd/timers/stamp-x", "x"), write("/var/lib/systemd/timesync/clock", "")
    ),
    defect("ID07", "debian", write("/etc/hostname", "build-host-7\n")),
    defect("ID07", "alpine", write("/etc/conf.d/hostname", 'hostname="packer-alpine"\n')),
    defect(
        "ID07",
        "debian",
        append("/etc/network/interfaces", "iface eth1 inet manual\n    hostname builder-01\n"),
        related=("GEN-G25",),
    ),
    defect("ID07", "debian", write("/etc/dhcp/dhclient.conf", 'send host-name "packer-01";\n')),
    defect("ID07", "debian", write("/etc/dhcp/dhclient.conf", '  supersede host-name = "packer-01";\n')),
    benign("ID07", "alpine", append("/etc/network/interfaces", "\thostname localhost\n# hostname builder-01\n")),
    benign(
        "ID07",
        "debian",
        write(
            "/etc/dhcp/dhclient.conf",
            '#send host-name "andare.fugue.com";\nsend host-name = gethostname();\nrequest subnet-mask, host-name;\n',
        ),
        write("/etc/network/interfaces.d/x", "# hostname builder-01\n"),
    ),
    benign("ID07", "debian", write("/etc/hostname", "debian\n")),
    benign("ID07", "rhel", write("/etc/hostname", "localhost.localdomain\n")),
    # As Arch Linux and Kali have them.
    benign("ID07", "suse", write("/etc/hostname", "archlinux\n")),
    benign("ID08", "suse", append("/etc/hosts", "127.0.1.1 kali\n")),
    defect("ID08", "debian", append("/etc/hosts", "127.0.1.1 build-host-7.example.com build-host-7\n")),
    defect("ID08", "suse", append("/etc/hosts", "192.168.122.1 mirror\n")),
    benign("ID08", "debian", append("/etc/hosts", "# 10.0.0.1 x\nff02::1 ip6-allnodes\n127.0.1.1 debian\n")),
]
STORAGE = [
    defect(
        "ID09", "debian", write("/etc/iscsi/initiatorname.iscsi", "## x\nInitiatorName=iqn.1993-08.org.debian:01:abc\n")
    ),
    defect("ID09", "rhel", write("/var/lib/iscsi/nodes/iqn.x/10.0.0.1,3260,1/default", "node.name = x\n")),
    benign("ID09", "debian", write("/etc/iscsi/initiatorname.iscsi", "#InitiatorName=iqn.x\nGenerateName=yes\n")),
    defect("ID10", "suse", write("/etc/nvme/hostid", f"{ID}\n")),
    benign("ID10", "suse", write("/etc/nvme/hostid", ""), write("/etc/nvme/discovery.conf", "# x\n")),
    defect("ID11", "rhel", write("/var/lib/NetworkManager/secret_key", "x" * 48)),
    benign("ID11", "rhel", folder("/var/lib/NetworkManager")),
    defect("ID13", "debian", write("/etc/systemd/networkd.conf", "[DHCPv4]\nDUIDRawData=00:00:ab\n")),
    defect("ID13", "debian", write("/etc/dhcp/dhclient.conf", 'send dhcp-client-identifier "a";\n')),
    defect(
        "ID13", "rhel", write(KEYFILE, EVERY_CARD.format("mac", "00:01:00:01:2b:aa:bb:cc:52:54:00:12:34:56"), 0o600)
    ),
    defect("ID13", "rhel", write(KEYFILE, EVERY_CARD.format("01:52:54:00:12:34:56", "stable-uuid"), 0o600)),
    defect("ID13", "rhel", write("/etc/NetworkManager/conf.d/x.conf", "[connection]\nipv4.dhcp-client-id=packer-01\n")),
    defect("ID13", "rhel", write(IFCFG, CARD + "DHCP_CLIENT_ID=packer-01\n")),
    defect("ID13", "suse", write("/etc/sysconfig/network/dhcp", 'DHCLIENT_CLIENT_ID="01:52:54:00:12:34:56"\n')),
    defect("ID13", "alpine", append("/etc/network/interfaces", "\tclient packer-01\n")),
    defect(
        "ID13",
        "debian",
        write("/etc/systemd/network/10-a.network.d/x.conf", "[DHCPv6]\nDUIDRawData=00:01:00\n"),
    ),
    benign("ID13", "alpine", append("/etc/network/interfaces", "\tclient no\n#  client x\n")),
    *(
        benign("ID13", "rhel", write(KEYFILE, EVERY_CARD.format(client, duid), 0o600), alone=True)
        for client, duid in (("stable", "llt"), ("perm-mac ", "lease"), ("", "stable-ll"))
    ),
    benign(
        "ID13",
        "rhel",
        write("/etc/NetworkManager/conf.d/x.conf", "[connection]\nipv4.dhcp-client-id=mac\n#ipv6.dhcp-duid=00:01\n"),
        write(IFCFG, CARD + 'DHCP_CLIENT_ID="mac" # of the card\n#DHCP_CLIENT_ID=packer-01\n'),
    ),
    benign("ID13", "suse", write("/etc/sysconfig/network/dhcp", 'DHCLIENT_CLIENT_ID=""\nDHCLIENT6_CLIENT_ID=""\n')),
    benign("ID13", "debian", write("/etc/systemd/networkd.conf", "[DHCPv4]\n#DUIDRawData=\n")),
    benign("ID13", "debian", write("/etc/dhcp/dhclient.conf", "send dhcp-client-identifier = hardware;\n")),
    defect(
        "ID14", "rhel", write("/etc/lvm/devices/system.devices", "VERSION=1.1.1\nIDTYPE=devname\n"), related=("BT12",)
    ),
    *(
        defect("ID14", "rhel", *ON_LVM, write("/etc/lvm/lvm.conf", f"devices {{\n\t# x\n\t{text}\n}}\n"))
        for text in (
            'filter = ["a|/dev/sda2|", "r|.*|"]',
            'global_filter = [ "a|^/dev/disk/by-id/wwn-0x5000c500a0b1c2d3-part2$|",\n\t\t"r/.*/" ]',
            'filter = "r|^/dev/vd|"',
        )
    ),
    defect("ID14", "rhel", *ON_LVM, in_initramfs("rhel", {DEVICES_FILE: DEVICES})),
    defect(
        "ID14", "rhel", *ON_LVM, in_initramfs("rhel", {"etc/lvm/lvm.conf": b'devices { dir="/dev"\nfilter="r|.*|"\n}'})
    ),
    *(
        benign("ID14", "rhel", *ON_LVM, write("/etc/lvm/lvm.conf", f"devices {{\n\t{text}\n}}\n"), alone=True)
        for text in (
            '# filter = [ "r|.*|" ]\n\tfilter = [ "a|.*|" ]',
            'global_filter = [ "r|/dev/zd.*|", "r|^/dev/loop|" ]',
            'filter = [ "a|^/dev/[sv]d|", "a|/dev/disk/by-uuid/|", "r|.*|" ]',
            'filter = [ "a|((((.*)*)*)*)*x|", "r|.*|" ]',
        )
    ),
    benign("ID14", "suse", write("/etc/lvm/lvm.conf", 'devices {\n\tfilter = [ "r|.*|" ]\n}\n')),
    benign("ID14", "rhel", *ON_LVM, in_initramfs("rhel", {DEVICES_FILE: b"# IDTYPE=\n"}), alone=True),
    benign("ID14", "rhel", folder("/etc/lvm/archive"), write("/etc/lvm/lvm.conf", "devices {\n}\n")),
    defect("ID15", "debian", write("/etc/mdadm/mdadm.conf", "ARRAY /dev/md0 UUID=1:2:3:4\n")),
    defect("ID15", "suse", write("/etc/multipath/wwids", "# x\n/3600508/\n")),
    benign("ID15", "debian", write("/etc/mdadm/mdadm.conf", "#ARRAY /dev/md0\nHOMEHOST <system>\n")),
]
REGISTRATIONS = [
    defect("ID16", "rhel", write("/var/lib/yum/uuid", ID)),
    benign("ID16", "rhel", write("/var/lib/dnf/modulefailsafe/x.yaml", "x\n")),
    defect("GEN-G40", "rhel", write("/etc/pki/consumer/cert.pem", "x")),
    defect(
        "GEN-G40", "debian", append("/etc/apt/sources.list", "deb http://eu.ec2.archive.ubuntu.com/ubuntu jammy main\n")
    ),
    benign("GEN-G40", "rhel", folder("/etc/pki/entitlement"), write("/etc/rhsm/rhsm.conf", "[server]\n")),
    benign(
        "GEN-G40", "debian", append("/etc/apt/sources.list", "# deb http://azure.archive.ubuntu.com/ubuntu x main\n")
    ),
    defect("ID18", "suse", write("/etc/SUSEConnect", "url: https://scc.suse.com\n")),
    benign("ID18", "suse", write("/etc/SUSEConnect.example", "url: x\n"), folder("/etc/zypp/credentials.d")),
    defect("ID19", "debian", write("/var/lib/ubuntu-advantage/private/machine-token.json", "{}")),
    defect("ID19", "debian", write("/etc/popularity-contest.conf", f'MY_HOSTID="{ID}"\n')),
    benign("ID19", "debian", write("/etc/popularity-contest.conf", 'PARTICIPATE="no"\n#MY_HOSTID="0"\n')),
    defect("ID20", "debian", write("/var/lib/snapd/device/private-keys-v1/abc", "x")),
    benign("ID20", "debian", folder("/var/lib/snapd/device")),
]
SERVICES = [
    defect("ID21", "debian", write("/var/lib/docker/engine-id", "8f5b\n")),
    benign("ID21", "debian", write("/etc/docker/daemon.json", "{}\n"), folder("/var/lib/docker/swarm")),
    defect("ID22", "rhel", write("/etc/kubernetes/admin.conf", "x")),
    defect("ID22", "suse", write("/var/lib/rancher/k3s/server/token", "x")),
    benign("ID22", "rhel", folder("/etc/kubernetes/manifests"), folder("/var/lib/kubelet")),
    defect("ID23", "alpine", write("/var/lib/tailscale/tailscaled.state", "{}")),
    defect("ID23", "debian", write("/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = abc=\n", 0o600)),
    benign("ID23", "debian", write("/etc/wireguard/wg0.conf", "[Interface]\n#PrivateKey = put yours here\n", 0o600)),
    defect("ID24", "debian", write("/etc/salt/minion_id", "build-host\n")),
    defect("ID24", "rhel", write("/etc/puppetlabs/puppet/ssl/certs/ca.pem", "x")),
    benign("ID24", "debian", write("/etc/salt/minion", "master: salt\n"), folder("/etc/salt/pki/minion")),
    defect("ID25", "rhel", write("/etc/krb5.keytab", b"\5\2")),
    benign("ID25", "rhel", write("/etc/krb5.conf", "[libdefaults]\n"), folder("/var/lib/sss/db")),
    defect("ID26", "debian", write("/var/ossec/etc/client.keys", "001 host any 1234\n")),
    defect("ID26", "rhel", write("/etc/datadog-agent/datadog.yaml", f"api_key: {ID}\n")),
    benign(
        "ID26", "debian", write("/var/ossec/etc/client.keys", ""), write("/etc/newrelic-infra.yml", "#license_key: x\n")
    ),
    defect("ID28", "debian", write("/var/lib/mysql/auto.cnf", "[auto]\nserver-uuid=x\n")),
    benign("ID28", "debian", write("/var/lib/grafana/plugin", "x"), folder("/var/lib/chrony")),
]
CASES: list[Case] = MACHINE + STORAGE + REGISTRATIONS + SERVICES


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
