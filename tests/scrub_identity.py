"""Cases of operations on who the machine is and who may enter it; see :class:`tests.scrub_cases.Case`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.guest_tree import file, folder, link
from tests.scrub_cases import CLOUD_CFG, HOST, KEY, PASSWD, SHADOW, Case, paths

CASES: Mapping[str, list[Case]] = {
    "swap": [
        Case(
            {
                "/etc/fstab": "/swapfile none swap sw 0 0\n",
                "/swapfile": bytes(4086) + b"SWAPSPACE2" + b"secret" * 10000,
            },
            paths("/swapfile"),
            after={"/etc/fstab": b"/swapfile none swap sw 0 0\n"},
        ),
        Case(
            {
                "/etc/fstab": "/swap.img none swap sw,comment=cloudconfig 0 0\n",
                "/swap.img": bytes(4086) + b"S1SUSPEND\0" + bytes(8192),
            },
            paths("/swap.img"),
            after={"/swap.img": None},
        ),
Case({}, benign={"/etc/fstab": "UUID=0b1c2d3e-0000-4000-8000-000000000000 none swap sw,nofail 0 0\n"}),
    ],
    "cloud-init": [
        Case(
            {
                "/var/lib/cloud/instances/iid-1/user-data.txt": "#cloud-config\n",
                "/var/lib/cloud/seed/nocloud/meta-data": "x",
                "/var/lib/cloud/.hidden": "x",
                "/etc/ssh/sshd_config.d/50-cloud-init.conf": "PasswordAuthentication yes\n",
                "/etc/apt/apt.conf.d/90cloud-init-aptproxy": "x",
                "/var/log/cloud-init.log": "x",
                "/var/log/cloud-init-output.log": "x",
                "/etc/sudoers.d/90-cloud-init-users": "# Created by cloud-init\n\nroot ALL=(ALL) NOPASSWD:ALL\n",
                "/etc/fstab": "LABEL=root / ext4 defaults 0 1\n/dev/vdb /mnt auto nofail,comment=cloudconfig 0 2\n",
            },
            paths(
                "/var/lib/cloud/instances", "/var/lib/cloud/seed", "/var/lib/cloud/.hidden", "/var/log/cloud-init.log",
                "/etc/ssh/sshd_config.d/50-cloud-init.conf", "/etc/apt/apt.conf.d/90cloud-init-aptproxy", "/etc/fstab",
                "/var/log/cloud-init-output.log", "/etc/sudoers.d/90-cloud-init-users",
            ),
            after={
                "/etc/sudoers.d/90-cloud-init-users": None,
                "/etc/fstab": b"LABEL=root / ext4 defaults 0 1\n",
                "/etc/cloud/cloud.cfg": CLOUD_CFG.encode(),
            },
        ),
        Case(
            {"/etc/sudoers.d/90-cloud-init-users": "# Created\napp ALL=(ALL) ALL\napple ALL=(ALL) ALL\n"},
            after={"/etc/sudoers.d/90-cloud-init-users": b"app ALL=(ALL) ALL\n"},
        ),
        Case(
            {},
            benign={
                "/var/lib/cloud": folder(),
                "/etc/sudoers.d/app": "app ALL=(ALL) ALL\n",
                "/etc/cloud/cloud.cfg.d/05_logging.cfg": "## x\n",
            },
        ),
    ],
    "network-config": [
        Case(
            {
                "/etc/network/interfaces.d/50-cloud-init": "auto ens3\n",
                "/etc/network/interfaces.d/50-cloud-init.cfg": "auto ens3\n",
                "/etc/netplan/50-cloud-init.yaml": "network: {}\n",
                "/etc/systemd/network/10-cloud-init-ens3.network": "",
                "/etc/NetworkManager/system-connections/cloud-init-ens3.nmconnection": "x",
                "/etc/NetworkManager/conf.d/99-cloud-init.conf": "x",
                "/etc/udev/rules.d/70-persistent-net.rules": "x",
                "/etc/sysconfig/network-scripts/ifcfg-eth0": "# Created by cloud-init automatically\nDEVICE=eth0\n",
            },
            benign={
                "/etc/network/interfaces": "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n",
                "/etc/systemd/network/20-any.network": "[Match]\nName=e*\n# not 52:54:00:12:34:56\n",
                "/etc/udev/rules.d/75-persistent-net-generator.rules": folder(),
                "/etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\nHWADDR=00:00:00:00:00:00\n",
                "/etc/network/interfaces.d/ipv6": "address fe80:11:22:33:44:55:66:77\n",
            },
        ),
        Case(
            {"/etc/netplan/10-own.yaml": "network:\n  match: {macaddress: 52:54:00:AB:cd:ef}\n"},
            stays=paths("/etc/netplan/10-own.yaml"),
        ),
    ],
    "hostname": [
        Case(
            {
                "/etc/hostname": f"{HOST}\n",
                "/etc/hosts": f"# Added by cloud-init v. 22.4\n127.0.1.1 {HOST}\n127.0.0.1 localhost\n10.0.0.1 own\n",
                "/etc/mailname": f"{HOST}\n",
                "/etc/postfix/main.cf": f"myhostname = {HOST}\nmydestination = {HOST}, localhost\n",
                "/etc/name with spaces.conf": f"server {HOST}.local\n",
                "/var/cache/debconf/config.dat": f"Name: postfix/mailname\nValue: {HOST}\n",
            },
            after={
                "/etc/hostname": None,
                "/etc/hosts": b"127.0.0.1 localhost\n10.0.0.1 own\n",
                "/etc/mailname": b"localhost\n",
                "/etc/postfix/main.cf": b"myhostname = localhost\nmydestination = localhost, localhost\n",
                "/etc/name with spaces.conf": b"server localhost.local\n",
            },
        ),
        Case({"/etc/hosts": f"127.0.1.1 {HOST}\n"}, after={"/etc/hosts": b"127.0.0.1\tlocalhost\n"}),
        Case(
            {
                f"/etc/certificates/{HOST}.pem": "x",
                "/etc/current": link(f"certificates/{HOST}.pem"),
                "/etc/x.db": b"\0" + HOST.encode(),
            },
            stays=paths(f"/etc/certificates/{HOST}.pem", "/etc/current", "/etc/x.db"),
        ),
        Case({}, benign={"/etc/hostname": "appliance\n", "/etc/motd": "factory-made\n", "/etc/factory-0a1b": "x"}),
    ],
    "accounts": [
        Case(
            {"/etc/shadow": file(SHADOW.replace("root:*", "root:!$y$j9T$secret$hash").encode(), 0o640)},
            after={"/etc/shadow": SHADOW.encode()},
        ),
        Case({"/etc/shadow": SHADOW.replace("root:*", "root:")}, after={"/etc/shadow": SHADOW.encode()}),
        Case(
            {
                "/etc/passwd": PASSWD + "eve:x:1001:1001::/home/eve:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n",
                "/etc/shadow": SHADOW + "eve:*:1::::::\ntoor:*:1::::::\n",
            },
            paths("/etc/passwd"),
            stays=paths("/etc/passwd"),
        ),
        Case({"/etc/shadow": SHADOW.replace("daemon:*", "daemon:")}, stays=paths("/etc/shadow")),
        Case({"/etc/shadow": SHADOW.replace("postgres:!", "postgres:$6$x$y")}, stays=paths("/etc/shadow")),
        Case(
            {},
            benign={
                "/etc/passwd": PASSWD + "num:x:1500:1500::/home/num:/bin/sh\n+::::::\n",
                "/etc/shadow": SHADOW.replace("root:*", "root:!") + "num:!*:1::::::\n",
            },
        ),
    ],
    "machine-id": [
        Case(
            {"/etc/machine-id": file(b"0123456789abcdef\n", 0o444), "/var/lib/dbus/machine-id": "0123456789abcdef\n"},
            after={"/etc/machine-id": b"", "/var/lib/dbus/machine-id": None},
        ),
        Case({"/etc/machine-id": file(b"uninitialized\n", 0o444)}, after={"/etc/machine-id": b""}),
        Case({"/etc/machine-id": file(b"", 0o644)}, after={"/etc/machine-id": b""}),
        Case(
            {"/etc/machine-id": link("/var/lib/dbus/machine-id"), "/var/lib/dbus/machine-id": "0123\n"},
            after={"/etc/machine-id": b""},
        ),
        Case(
            {"/var/lib/dbus/machine-id": link("/var/lib/other-id")},
            after={"/var/lib/dbus/machine-id": b"-> /etc/machine-id"},
        ),
        Case(
            {"/boot/loader/entries/0123456789abcdef0123456789abcdef-6.1.conf": "x"},
            stays=paths("/boot/loader/entries/0123456789abcdef0123456789abcdef-6.1.conf"),
        ),
        Case(
            {},
            benign={
                "/var/lib/dbus/machine-id": link("/etc/machine-id"),
                "/boot/loader/entries/ffffffffffffffffffffffffffffffff-6.1.conf": "x",
            },
        ),
    ],
    "ssh-hostkeys": [
        Case(
            {
                "/etc/ssh/ssh_host_ed25519_key": "x",
                "/etc/ssh/ssh_host_ed25519_key.pub": "x",
                "/etc/ssh/ssh_host_tomorrow_key": "",
                "/etc/ssh/ssh_host_rsa_key-cert.pub": "x",
                "/etc/dropbear/dropbear_rsa_host_key": "x",
            },
            benign={"/etc/ssh/ssh_known_hosts": "x", "/etc/ssh/sshd_config.d/hardening.conf": "Ciphers aes\n"},
        ),
        Case(
            {
                "/etc/ssh/sshd_config.d/a.conf": 'hostkey = "/etc/keys/one"\n',
                "/etc/ssh/sshd_config.d/b.conf": "HostKey /etc/ssh/ssh_host_ed25519_key # x\n",
                "/etc/keys/one": "x",
                "/etc/keys/one.pub": "x",
            },
            paths("/etc/keys/one", "/etc/keys/one.pub"),
        ),
        Case(
            {"/etc/ssh/sshd_config": "HostKey /etc/keys/one\n", "/etc/keys/one": "x"},
            paths("/etc/keys/one", "/etc/ssh"),
            stays=paths("/etc/ssh"),
        ),
    ],
    "ssh-userdir": [
        Case(
            {
                "/root/.ssh/authorized_keys": KEY,
                "/root/.ssh/id_ed25519": "x",
                "/home/left/.ssh/known_hosts": "x",
                "/srv/app home/.ssh/authorized_keys2": KEY,
                "/var/lib/postgresql/.ssh/config": "x",
                "/etc/skel/.ssh/authorized_keys": KEY,
                "/.ssh/authorized_keys": KEY,
            },
            after={"/root/.bashrc": b"x", "/srv/app home/.profile": b"x"},
        ),
        Case(
            {"/root/.ssh": link("/data/ssh"), "/data/ssh/authorized_keys": KEY},
            paths("/root/.ssh/authorized_keys"),
            after={"/data/ssh/authorized_keys": KEY.encode(), "/root/.ssh": None},
        ),
        Case(
            {
                "/etc/ssh/sshd_config.d/k.conf": "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u %h/.keys\n",
                "/etc/ssh/keys/app": KEY,
                "/srv/app home/.keys": KEY,
            },
            paths("/etc/ssh/keys/app", "/srv/app home/.keys"),
            benign={"/etc/ssh/keys/README": "x"},
        ),
        Case(
            {"/etc/ssh/sshd_config.d/k.conf": "AuthorizedKeysFile /etc/%u\n", "/etc/app": KEY},
            paths("/etc/app"),
            after={"/etc/passwd": PASSWD.encode()},
        ),
    ],
    "passwd-backups": [
        Case(
            {
                "/etc/passwd-": "x",
                "/etc/shadow-": "x",
                "/etc/subuid-": "",
                "/etc/shadow.bak": "x",
                "/var/backups/shadow.bak": "x",
                "/var/backups/dpkg.status.0": "x",
                "/var/backups/apt.extended_states.1.gz": "x",
            },
            benign={"/var/backups/app/monday.sql": "x", "/etc/passwd-change.conf": "x"},
        ),
        Case({}, benign={"/etc/subuid": "", "/etc/group": "root:x:0:\n"}),
    ],
    "random-seed": [
        Case(
            {
                "/var/lib/systemd/random-seed": "x",
                "/var/lib/systemd/credential.secret": "x",
                "/boot/efi/loader/random-seed": "x",
                "/var/lib/urandom/random-seed": "",
            },
            benign={"/boot/efi/EFI/BOOT/BOOTX64.EFI": "x", "/var/lib/systemd/timesync/clock": ""},
        )
    ],
}  # fmt: skip
