"""What each scrub operation must find, remove and leave alone: one case or more for every operation.

A case lays *dirty* over the clean guest: ``verify`` must report exactly *reported*, and after ``apply`` only *stays*.
*benign* looks like dirt and is none: it must not be reported and must survive as it is. *after* says what some files
hold then, ``-> target`` for a symbolic link; None: they are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from factory.scrub import Facts
from tests.guest_tree import Content, file, folder, link

HOST = "factory-0a1b2c3d4e"
FACTS = Facts(
    HOST, allow_users=("app", "1500"), own_files=("/etc/apt/apt.conf.d/99factory",), addresses=("10.9.8.7:3142",)
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== build\n"

PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
postgres:x:105:110:PostgreSQL:/var/lib/postgresql:/bin/bash
app:x:1000:1000::/srv/app home:/bin/bash
"""
SHADOW = (
    "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\npostgres:!:19000::::::\napp:$y$j9T$abc$def:19000::::::\n"
)
CLOUD_CFG = """users: [default]
disable_root: true
cloud_init_modules:
 - migrator
 - growpart
 - ssh
"""
GUEST: Mapping[str, Content] = {
    "/etc/passwd": PASSWD,
    "/etc/shadow": file(SHADOW.encode(), 0o640),
    "/etc/group": "root:x:0:\n",
    "/etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
    "/etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "/etc/machine-id": file(b"", 0o444),
    "/etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n#HostKey /etc/ssh/ssh_host_rsa_key\nUsePAM yes\n",
    "/etc/ssh/moduli": "x",
    "/etc/cloud/cloud.cfg": CLOUD_CFG,
    "/etc/cloud/cloud.cfg.d/README": "x",
    "/etc/cloud/cloud.cfg.d/90_dpkg.cfg": "# to update this file, run dpkg-reconfigure cloud-init\ndatasource_list: [NoCloud]\n",
    "/etc/skel/.bashrc": "x",
    "/etc/systemd/system/cloud-init.target.wants/cloud-init.service": link("/lib/systemd/system/cloud-init.service"),
    "/etc/systemd/system/multi-user.target.wants/ssh.service": link("/lib/systemd/system/ssh.service"),
    "/usr/lib/systemd/system/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd -D\n",
    "/usr/lib/systemd/system/cloud-init.service": "[Service]\nExecStart=/usr/bin/cloud-init init\n",
    "/usr/lib/systemd/system-generators/cloud-init-generator": "#!/bin/sh\n",
    "/lib": link("usr/lib"),
    "/usr/sbin/sshd": "x",
    "/usr/bin/cloud-init": "x",
    "/root/.bashrc": "x",
    "/home": folder(),
    "/srv/app home/.profile": "x",
    "/var/lib/postgresql/15/main/PG_VERSION": "15\n",
    "/tmp": folder(0o1777),
    "/var/tmp": folder(0o1777),
    "/var/log/journal": folder(),
    "/var/log/apt": folder(),
    "/var/log/nginx": folder(),
    "/var/log/wtmp": file(b"", 0o664),
    "/var/lib/apt/lists/partial": folder(),
    "/var/cache/apt/archives/partial": folder(),
    "/var/lib/dpkg/status": "Package: x\n",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """See this module's docstring."""

    dirty: Mapping[str, Content]
    reported: frozenset[str] = frozenset()  # empty: every path of dirty
    stays: frozenset[str] = frozenset()
    benign: Mapping[str, Content] = field(default_factory=dict)
    after: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def expected(self) -> frozenset[str]:
        return self.reported or frozenset(self.dirty)


def paths(*names: str) -> frozenset[str]:
    return frozenset(names)


CASES: Mapping[str, list[Case]] = {
    "package-cache": [
        Case(
            {
                "/var/cache/apt/archives/htop_3.2_amd64.deb": b"!<arch>",
                "/var/cache/apt/archives/partial/x.deb": b"!<arch>",
                "/var/cache/apt/pkgcache.bin": b"x",
                "/var/lib/apt/lists/deb.debian.org_dists_bookworm_InRelease": b"x",
                "/var/lib/apt/periodic/update-stamp": b"1",
                "/var/lib/dpkg/status-old": b"x",
                "/var/cache/debconf/config.dat-old": b"x",
                "/var/cache/dnf/fedora.solv": b"x",
            },
            benign={
                "/var/cache/apt/archives/lock": b"",
                "/var/lib/apt/extended_states": b"x",
                "/var/cache/debconf/config.dat": b"x",
                "/var/cache/debconf/templates.dat": b"x",
                "/var/lib/apt/lists/partial": folder(),
            },
        )
    ],
    "swap": [
        Case(
            {"/etc/fstab": "/swapfile none swap sw 0 0\n", "/swapfile": bytes(4086) + b"SWAPSPACE2" + b"secret" * 10000},
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
        Case({}, benign={"/swapfile": bytes(4086) + b"SWAPSPACE2" + bytes(65536)}),
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
                "/etc/hosts": f"# Added by cloud-init v. 22.4 on Sat, 01 Jan\n127.0.1.1 {HOST} {HOST}\n127.0.0.1 localhost\n10.0.0.1 own\n",
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
            {f"/etc/certificates/{HOST}.pem": "x", "/etc/current": link(f"certificates/{HOST}.pem"), "/etc/x.db": b"\0" + HOST.encode()},
            stays=paths(f"/etc/certificates/{HOST}.pem", "/etc/current", "/etc/x.db"),
        ),
        Case({}, benign={"/etc/hostname": "appliance\n", "/etc/motd": "factory-made\n", "/var/lib/app/factory-0a1b": "x"}),
    ],
    "accounts": [
        Case(
            {"/etc/shadow": file(SHADOW.replace("root:*", "root:!$y$j9T$secret$hash").encode(), 0o640)},
            after={"/etc/shadow": SHADOW.encode()},
        ),
        Case({"/etc/shadow": file(SHADOW.replace("root:*", "root:").encode(), 0o640)}, after={"/etc/shadow": SHADOW.encode()}),
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
            {"/etc/machine-id": file(b"0123456789abcdef0123456789abcdef\n", 0o444), "/var/lib/dbus/machine-id": "0123\n"},
            after={"/etc/machine-id": b"", "/var/lib/dbus/machine-id": None},
        ),
        Case({"/etc/machine-id": file(b"uninitialized\n", 0o444)}, after={"/etc/machine-id": b""}),
        Case({"/etc/machine-id": file(b"", 0o644)}, after={"/etc/machine-id": b""}),
        Case({"/etc/machine-id": link("/var/lib/dbus/machine-id"), "/var/lib/dbus/machine-id": "0123\n"}, after={"/etc/machine-id": b""}),
        Case({"/var/lib/dbus/machine-id": link("/var/lib/other-id")}, after={"/var/lib/dbus/machine-id": b"-> /etc/machine-id"}),
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
                "/etc/ssh/sshd_config.d/keys.conf": 'hostkey = "/etc/keys/one"\nHostKey /etc/ssh/ssh_host_ed25519_key # x\n',
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
    "resolv-conf": [
        Case(
            {"/etc/resolv.conf": "search lan\nnameserver 10.0.2.3\n", "/etc/resolv.conf.dhclient-new.512": ""},
            after={"/etc/resolv.conf": None},
        ),
        Case(
            {"/etc/resolv.conf": link("/var/lib/static-resolv"), "/var/lib/static-resolv": "nameserver 10.0.2.3\n"},
            paths("/etc/resolv.conf"),
            after={"/var/lib/static-resolv": b""},
        ),
        Case({}, benign={"/etc/resolv.conf": link("../run/systemd/resolve/stub-resolv.conf")}),
        Case({}, benign={"/etc/resolv.conf.d/base": "options edns0\n"}),
    ],
    "dhcp-client-state": [
        Case(
            {
                "/var/lib/dhcp/dhclient.ens3.leases": "lease {}\n",
                "/var/lib/dhclient/dhclient.leases": "x",
                "/var/lib/dhcpcd/duid": "x",
                "/var/lib/dhcpcd/ens3.lease": "x",
                "/var/lib/NetworkManager/secret_key": "x",
                "/var/lib/NetworkManager/internal-x.lease": "x",
                "/var/lib/systemd/network/x": "x",
            },
            benign={
                "/var/lib/dhcp/dhcpd.leases": "x",
                "/var/lib/NetworkManager/NetworkManager.state": "x",
                "/var/lib/dhcpcd/empty": folder(),
            },
        )
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
    "service-state": [
        Case(
            {
                "/etc/nvme/hostid": "x",
                "/var/lib/docker/engine-id": "x",
                "/var/lib/mysql/auto.cnf": "x",
                "/etc/lvm/devices/system.devices": "x",
                "/etc/salt/pki/minion/minion.pem": "x",
                "/etc/iscsi/initiatorname.iscsi": "## x\nInitiatorName=iqn.1993-08.org.debian:01:abc\n",
                "/etc/popularity-contest.conf": 'PARTICIPATE="no"\nMY_HOSTID="0123"\n',
            },
            after={"/etc/iscsi/initiatorname.iscsi": b"GenerateName=yes\n", "/etc/popularity-contest.conf": b'PARTICIPATE="no"\n'},
            benign={"/var/lib/mysql/app/orders.ibd": "x", "/var/lib/docker/volumes/data/x": "x"},
        ),
        Case(
            {"/etc/iscsi/initiatorname.iscsi": "InitiatorName=iqn.1993-08.org.debian:01:abc\n"},
            after={"/etc/iscsi/initiatorname.iscsi": b"GenerateName=yes\n"},
        ),
        Case({}, benign={"/etc/iscsi/initiatorname.iscsi": "GenerateName=yes\n", "/etc/salt/minion": "x"}),
    ],
    "shared-private-keys": [
        Case(
            {
                "/var/lib/mysql/server-key.pem": "x",
                "/var/lib/mysql/ca.pem": "x",
                "/etc/pki/tls/private/localhost.key": "x",
                "/etc/ssl/private/ssl-cert-snakeoil.key": "x",
            },
            stays=paths("/etc/ssl/private/ssl-cert-snakeoil.key"),
            benign={"/etc/ssl/private/site.key": "x", "/etc/dovecot/private/dovecot.pem": link("/etc/ssl/private/site.key")},
        )
    ],
    "grub-state": [
        Case(
            {"/var/cache/debconf/config.dat": "Name: grub-pc/install_devices\nValue: /dev/disk/by-id/x\n\nName: a\nValue: /dev/b\n\n"},
            after={"/var/cache/debconf/config.dat": b"Name: grub-pc/install_devices\nValue: \n\nName: a\nValue: /dev/b\n\n"},
        ),
        Case(
            {},
            benign={"/boot/grub/grubenv": b"# GRUB Environment Block\nsaved_entry=0\n" + b"#" * (1024 - 39)},
        ),
    ],
    "installer-traces": [
        Case(
            {
                "/root/anaconda-ks.cfg": "rootpw x",
                "/root/original-ks.cfg": "",
                "/var/log/installer/autoinstall-user-data": "x",
                "/var/log/installer/cdebconf/questions.dat": "x",
                "/factory-first-boot": "x",
            },
            paths(
                "/root/anaconda-ks.cfg", "/root/original-ks.cfg", "/factory-first-boot",
                "/var/log/installer/autoinstall-user-data", "/var/log/installer/cdebconf",
            ),
            benign={"/root/install.sh": "x"},
        )
    ],
    "factory-files": [
        Case({"/etc/apt/apt.conf.d/99factory": 'Acquire::http::Proxy "http://10.9.8.7:3142";\n'}),
        Case(
            {"/etc/environment": "http_proxy=http://10.9.8.7:3142\n"},
            stays=paths("/etc/environment"),
            benign={"/etc/apt/apt.conf.d/98own": "x", "/usr/share/doc/x": "10.9.8.7:3142"},
        ),
    ],
    "shell-history": [
        Case(
            {
                "/root/.bash_history": "mysql -psecret\n",
                "/home/left/.zsh_history": "x",
                "/srv/app home/.python_history": "x",
                "/var/lib/postgresql/.psql_history": "x",
                "/etc/skel/.lesshst": "x",
                "/root/.viminfo": "x",
                "/root/.bash_history-00123.tmp": "x",
                "/root/.local/share/fish/fish_history": "x",
                "/.bash_history": "x",
            },
            benign={
                "/var/lib/postgresql/.bash_history": link("/dev/null"),
                "/root/.local/share/fish/config.fish": "x",
                "/root/history": "x",
            },
        )
    ],
    "home-cache": [
        Case(
            {
                "/root/.cache/pip/http/x": "x",
                "/srv/app home/.npm/_cacache/x": "x",
                "/home/left/.cargo/registry/x": "x",
                "/root/.gnupg/random_seed": "x",
                "/root/.local/share/Trash/files/x": "x",
            },
            paths(
                "/root/.cache/pip", "/srv/app home/.npm/_cacache/x", "/home/left/.cargo/registry/x",
                "/root/.gnupg/random_seed", "/root/.local/share/Trash/files",
            ),
            benign={"/root/.npmrc": "x", "/root/.gnupg/pubring.kbx": "x", "/root/.cargo/bin/tool": "x"},
        ),
        Case({}, benign={"/root/.npm/other": "x"}),
    ],
    "system-cache": [
        Case(
            {
                "/var/cache/ldconfig/aux-cache": "x",
                "/var/cache/man/index.db": "x",
                "/var/cache/man/de/index.db": "x",
                "/var/lib/plocate/plocate.db": "x",
            },
            benign={"/var/cache/man/fr": folder(), "/var/cache/nginx/kept": "x", "/var/cache/debconf/config.dat": "x"},
        )
    ],
    "sudo-state": [
        Case(
            {"/var/lib/sudo/lectured/app": "", "/var/lib/sudo/ts/app": "x"},
            benign={"/var/lib/sudo": folder(0o700), "/etc/sudoers.d/app": "x"},
        )
    ],
    "systemd-state": [
        Case(
            {"/var/lib/systemd/rfkill/x": "1", "/var/lib/systemd/backlight/x": "1", "/var/lib/systemd/linger/gone": ""},
            benign={
                "/var/lib/systemd/linger/app": "",
                "/var/lib/systemd/timers/stamp-apt-daily.timer": "",
                "/var/lib/systemd/timesync/clock": "",
                "/var/lib/systemd/catalog/database": "x",
            },
        )
    ],
    "crash-data": [
        Case(
            {
                "/var/crash/_usr_bin_x.crash": "x",
                "/var/lib/systemd/coredump/core.x.zst": "x",
                "/core": "x",
                "/root/core.1234": "x",
                "/srv/app home/core": "x",
            },
            benign={"/root/core.py": "x", "/var/lib/postgresql/core/x": "x", "/home/core": folder()},
        )
    ],
    "mail-spool": [
        Case(
            {"/var/mail/root": "From cron\n", "/var/spool/exim4/input/1x-H": "x", "/var/spool/postfix/deferred/A/A1": "x"},
            benign={
                "/var/spool/mail": link("../mail"),
                "/var/mail/app": "",
                "/var/spool/cron/crontabs/root": "x",
                "/var/spool/postfix/pid/master.pid": "x",
            },
            after={"/var/mail/app": None},
        )
    ],
    "logfiles": [
        Case(
            {
                "/var/log/syslog": "x",
                "/var/log/nginx/access.log": "x",
                "/var/log/apt/history.log.1.gz": "x",
                "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal": "x",
                "/var/log/app.log": file(b"x", 0o666),
                "/var/log/app.log.1": file(b"", 0o666),
                "/var/log/app.log-20240101": file(b"", 0o666),
                "/var/lib/logrotate/status": "x",
                "/var/log/btmp.1": "x",
            },
            paths(
                "/var/log/syslog", "/var/log/nginx/access.log", "/var/log/apt/history.log.1.gz", "/var/log/app.log.1",
                "/var/log/journal/0123456789abcdef0123456789abcdef", "/var/log/app.log", "/var/log/app.log-20240101",
                "/var/lib/logrotate/status", "/var/log/btmp.1",
            ),
            benign={
                "/var/log/README": link("../../usr/share/doc/systemd/README.logs"),
                "/var/log/wtmp": file(b"x", 0o664),
                "/var/log/lastlog": file(b"x", 0o664),
                "/var/log/postgresql": folder(0o1775),
                "/var/log/private": folder(0o700),
            },
            after={"/var/log/syslog": None, "/var/log/app.log": b"", "/var/log/app.log.1": None},
        )
    ],
    "login-records": [
        Case(
            {
                "/var/log/wtmp": file(b"x" * 384, 0o664),
                "/var/log/btmp": file(b"x", 0o660),
                "/var/log/lastlog": file(b"x", 0o664),
                "/var/lib/wtmpdb/wtmp.db": "SQLite",
                "/var/lib/lastlog/lastlog2.db-wal": "x",
                "/var/lib/faillock/app": "",
            },
            after={"/var/log/wtmp": b"", "/var/log/btmp": b"", "/var/lib/wtmpdb/wtmp.db": None},
        )
    ],
    "tmp-files": [
        Case({"/tmp/x": "", "/tmp/.hidden/deep": "x", "/var/tmp/x y": "x"}, paths("/tmp/x", "/tmp/.hidden", "/var/tmp/x y")),
        Case({"/tmp": folder(0o755)}),
    ],
}  # fmt: skip
