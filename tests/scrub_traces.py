"""Cases of operations on what a build leaves behind; see :class:`tests.scrub_cases.Case`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.guest_tree import file, folder, link
from tests.scrub_cases import Case, paths

OTHER = "\nName: other/device\nValue: /dev/b\n\n"  # an answer of debconf that is none of ours

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
            after={
                "/etc/iscsi/initiatorname.iscsi": b"GenerateName=yes\n",
                "/etc/popularity-contest.conf": b'PARTICIPATE="no"\n',
            },
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
            benign={
                "/etc/ssl/private/site.key": "x",
                "/etc/dovecot/private/dovecot.pem": link("/etc/ssl/private/site.key"),
            },
        )
    ],
    "grub-state": [
        Case(
            {"/var/cache/debconf/config.dat": f"Name: grub-pc/install_devices\nValue: /dev/disk/by-id/x\n{OTHER}"},
            after={"/var/cache/debconf/config.dat": f"Name: grub-pc/install_devices\nValue: \n{OTHER}".encode()},
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
            {"/var/mail/root": "From x\n", "/var/spool/exim4/input/1x-H": "x", "/var/spool/postfix/deferred/A/A1": "x"},
            benign={
                "/var/spool/mail": link("../mail"),
                "/var/spool/cron/crontabs/root": "x",
                "/var/spool/postfix/pid/master.pid": "x",
            },
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
        Case(
            {"/tmp/x": "", "/tmp/.hidden/deep": "x", "/var/tmp/x y": "x"},
            paths("/tmp/x", "/tmp/.hidden", "/var/tmp/x y"),
        ),
        Case({"/tmp": folder(0o755)}),
    ],
}  # fmt: skip
