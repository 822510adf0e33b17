"""Rules about accounts, their passwords and rights, and what they left in their homes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest_tree import file
from tests.images import debugfs
from tests.rule_images import (
    Case,
    Change,
    Guest,
    append,
    benign,
    cases,
    defect,
    folder,
    link,
    on_disk,
    prove,
    remove,
    replace,
    write,
)
from tests.rule_images import edit as edited
from tests.rules.test_data import owned
from tests.trees.common import elf

HASH = "$6$saltsalt$jK0Vw3vTn1mEXAMPLEhash/of.a.password"
PERSON = append("/etc/passwd", "eve:x:1000:1000::/home/eve:/bin/bash\n")
LOCKED = append("/etc/shadow", "eve:!:19700:0:99999:7:::\n")
STAR = append("/etc/shadow", "eve:*:19700:0:99999:7:::\n")
SUDO = "/etc/sudoers.d/90-cloud-init-users"

GETTY = write("/usr/lib/systemd/system/getty@.service", "[Service]\nExecStart=-/sbin/agetty --noclear %I\n")
DROP_IN = "/etc/systemd/system/getty@tty1.service.d"
START = "[Service]\nExecStart=\nExecStart="
PASSWORDS = [
    defect("GEN-G31", "debian", replace("/etc/shadow", "root:*:", f"root:{HASH}:")),
    defect("GEN-G31", "debian", replace("/etc/shadow", "root:*:", "root::")),
    defect("GEN-G31", "rhel", replace("/etc/shadow", "root:*:", f"root:!!{HASH}:")),
    defect("GEN-G31", "suse", replace("/etc/shadow", "mail:*:", "mail:$y$j9T$abcd$ijkl:"), related=("GEN-G20",)),
    defect("GEN-G31", "alpine", replace("/etc/passwd", "daemon:x:", "daemon::"), related=("GEN-G20",)),
    defect("GEN-G31", "debian", append("/etc/shadow", f"gone:{HASH}:19700:0:99999:7:::\n")),
    defect("GEN-G31", "debian", replace("/etc/gshadow", "daemon:*:", f"daemon:{HASH}:")),
    defect(
        "GEN-G31",
        "debian",
        write("/etc/userdb/eve.user-privileged", f'{{"privileged":{{"hashedPassword":["{HASH}"]}}}}'),
    ),
    defect("GEN-G31", "suse", remove("/etc/shadow")),
    defect("GEN-G31", "debian", GETTY, write(f"{DROP_IN}/a.conf", f"{START}-/sbin/agetty --autologin root %I\n")),
    defect("GEN-G31", "alpine", append("/etc/inittab", "tty1::respawn:/sbin/agetty -a root 38400 tty1 linux\n")),
    benign("GEN-G31", "debian", GETTY, write(f"{DROP_IN}/a.conf", f"{START}-/sbin/agetty -o '-p -- u' --noclear %I\n")),
    benign("GEN-G31", "debian", write(f"{DROP_IN}/b.conf.off", f"{START}-/sbin/agetty --autologin root %I\n")),
    benign("GEN-G31", "alpine", append("/etc/inittab", "#tty1::respawn:/sbin/agetty -a root 38400 tty1 linux\n")),
    benign("GEN-G31", "debian", replace("/etc/shadow", "root:*:", "root:!:")),
    benign("GEN-G31", "debian", replace("/etc/shadow", "mail:*:", "mail:!*:")),
    benign("GEN-G31", "rhel", replace("/etc/shadow", "root:*:", "root:!!:")),
    benign("GEN-G31", "rhel", replace("/etc/shadow", "root:*:", "root:!unprovisioned:"), alone=True),
    defect("GEN-G31", "rhel", replace("/etc/shadow", "root:*:", "root:!unprovisionec:")),  # a hash of DES, kept
    benign("GEN-G31", "suse", remove("/etc/gshadow")),
]
STRANGERS = [
    defect("SH07", "debian", PERSON, STAR),
    defect(
        "SH07",
        "debian",
        append("/etc/passwd", "toor:x:0:0::/root:/bin/sh\n"),
        append("/etc/shadow", "toor:*:1::::::\n"),
    ),
    defect("SH07", "rhel", append("/etc/passwd", "svc:x:70001:70001::/srv:/sbin/nologin\n")),
    defect(
        "SH07",
        "debian",
        replace("/etc/passwd", "/var/mail:/usr/sbin/nologin", "/var/mail:/usr/sbin/nologin\nx:x:900:900::/:/bin/sh"),
    ),
    defect("SH07", "alpine", append("/etc/group", "wheel:x:10:root,builder\n")),
    benign("SH07", "debian", append("/etc/passwd", "postgres:x:105:110::/var/lib/postgresql:/bin/bash\n")),
    benign(
        "SH07",
        "debian",
        append("/etc/passwd", "sync:x:4:65534:sync:/bin:/bin/sync\nsnap_daemon:x:584788:584788::/:/bin/false\n"),
    ),
    benign("SH07", "debian", append("/etc/passwd", "+nis::::::\n"), append("/etc/group", "wheel:x:10:root\n")),
]
NO_PAM = replace("/etc/ssh/sshd_config", "UsePAM yes\n", "")
ALPINE = "alpine:x:1000:1000::/home/alpine:/bin/ash\n"
STARRED = "alpine:*:19700:0:99999:7:::\n"
LOCKS = [
    defect("SH08", "alpine", NO_PAM, PERSON, LOCKED, related=("SH07",)),
    # The default user is made at the first boot, and locked.
    defect("SH08", "debian", replace("/etc/ssh/sshd_config", "UsePAM yes", "UsePAM no")),
    defect("SH08", "rhel", remove("/etc/ssh/sshd_config.d/50-redhat.conf")),
    defect("SH08", "alpine", NO_PAM),
    benign(
        "SH08",
        "alpine",
        NO_PAM,
        append("/etc/passwd", ALPINE),
        append("/etc/shadow", f"{STARRED}"),
        alone=True,
        known={"allow_users": ("alpine",)},
    ),
    defect(
        "SH08", "debian", replace("/etc/ssh/sshd_config", "UsePAM yes", "UsePAM no"), PERSON, LOCKED, related=("SH07",)
    ),
    benign("SH08", "alpine", replace("/etc/shadow", "daemon:*:", "daemon:!:")),
    benign("SH08", "debian", replace("/etc/shadow", "daemon:*:", "daemon:!:")),
]
EXPIRY = [
    defect("SH09", "debian", replace("/etc/shadow", "root:*:19700:0:99999:7:::", "root:*:19700:0:99999:7::18000:")),
    defect("SH09", "rhel", replace("/etc/shadow", "root:*:19700:", "root:*:0:")),
    defect("SH09", "suse", replace("/etc/shadow", "root:*:19700:0:99999:", "root:*:19700:0:90:")),
    benign("SH09", "rhel", replace("/etc/shadow", "mail:*:19700:0:99999:7:::", "mail:*:19700:0:99999:7::99999:")),
    benign("SH09", "debian", replace("/etc/shadow", "sshd:*:19700:0:99999:7:::", "sshd:!*:0:::::1:")),
]
SUDOERS = [
    defect("SH10", "debian", write(SUDO, "# User rules for debian\ndebian ALL=(ALL) NOPASSWD:ALL\n", 0o440)),
    defect("SH10", "rhel", write("/etc/sudoers.d/vagrant", "vagrant ALL=(ALL) ALL\n", 0o440)),
    defect("SH10", "debian", write("/etc/sudoers.d/x", "User_Alias B = eve\nB ALL=(ALL) NOPASSWD: /bin/sh\n", 0o440)),
    defect("SH10", "debian", write("/etc/sudoers.d/x", "daemon ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)),
    defect("SH10", "debian", write("/etc/sudoers.d/x", "#1234 ALL=(ALL:ALL) ALL\n", 0o440)),
    defect("SH10", "debian", write("/etc/sudoers.d/x", "ALL ALL=(ALL) NOPASSWD: ALL\n", 0o440)),
    defect("SH10", "alpine", write("/etc/sudoers", "%wheel ALL=(ALL) NOPASSWD: ALL\n")),
    defect("SH10", "suse", append("/etc/sudoers", "Defaults targetpw\n")),
    defect("SH10", "debian", write("/etc/sudoers.d/x", "daemon ALL=(ALL NOPASSWD:/bin/sh\n", 0o440)),
    defect("SH10", "debian", write("/etc/sudoers.d/x", "foo bar baz\n", 0o440)),
    defect("SH10", "suse", append("/etc/sudoers", "root ALL=(ALL) NOPASSWD ALL\n")),
    defect("SH10", "rhel", append("/etc/sudoers", "root ALL=\n")),
    defect("SH10", "rhel", append("/etc/sudoers", "root ALL=(ALL)\n")),
    benign(
        "SH10",
        "rhel",
        append(
            "/etc/sudoers",
            'Cmnd_Alias A = /bin/a, \\\n /bin/b\nDefaults!A !syslog\n"%domain users" ALL=(root, bin : adm) PASSWD: A\n'
            "%x ALL=() /bin/a \\,(b x, (: adm) EXEC: /bin/b ^(a|b)=(c)$ : H = ROLE=r TYPE=t sudoedit /x, !/bin/c\n",
        ),
    ),
    benign("SH10", "debian", write(f"{SUDO}.bak", "packer ALL=(ALL) NOPASSWD:ALL\n", 0o440)),
    benign("SH10", "debian", write("/etc/sudoers.d/x~", "packer ALL=(ALL) NOPASSWD:ALL\n", 0o440)),
    benign("SH10", "debian", write("/etc/sudoers.d/README", "# packer ALL=(ALL) NOPASSWD:ALL\n", 0o440)),
    benign("SH10", "debian", append("/etc/sudoers", "%sudo ALL=(ALL:ALL) ALL\nDefaults !targetpw, env_reset\n")),
    benign("SH10", "debian", write("/etc/sudoers.d/mail", "mail ALL = (root) NOPASSWD: /usr/bin/newaliases\n", 0o440)),
]
RIGHTS = [
    defect(
        "SH11",
        "debian",
        write(
            "/etc/polkit-1/rules.d/10-x.rules",
            'polkit.addRule(function(a, subject) {\n  if (subject.user == "packer")\n',
        ),
    ),
    defect(
        "SH11", "suse", write("/var/lib/polkit-1/localauthority/50-local.d/x.pkla", "[x]\nIdentity=unix-user:packer\n")
    ),
    defect("SH11", "alpine", write("/etc/doas.d/x.conf", "permit nopass builder as root\n")),
    defect("SH11", "alpine", write("/etc/doas.conf", "permit nopass keepenv :wheel\n")),
    benign("SH11", "debian", write("/etc/polkit-1/rules.d/10-x.rules", 'if (subject.user == "root") // "packer"\n')),
    benign("SH11", "debian", write("/usr/share/polkit-1/rules.d/10-x.rules", 'subject.user == "packer"\n')),
    benign(
        "SH11", "alpine", write("/etc/doas.conf", "# permit nopass builder\npermit persist :wheel\ndeny nopass eve\n")
    ),
]
BACKUPS = [
    defect("SH12", "debian", write("/etc/shadow-", f"root:{HASH}:19700:0:99999:7:::\n", 0o600)),
    defect("SH12", "debian", write("/var/backups/shadow.bak", f"root:!{HASH}:19700:0:99999:7:::\n", 0o600)),
    defect("SH12", "rhel", write("/etc/passwd-", "builder:x:1000:1000::/home/builder:/bin/bash\n")),
    defect("SH12", "suse", write("/etc/group.old", "root:x:0:\nbuilder:x:1000:\n")),
    benign(
        "SH12", "suse", write("/etc/group.old", "root:x:0:\n"), write("/etc/shadow-", "root:*:19700::::::\n", 0o600)
    ),
    benign("SH12", "debian", write("/etc/shadow-", "", 0o600), write("/etc/.pwd.lock", "", 0o600)),
    benign("SH12", "debian", folder("/etc/passwd.d"), write("/var/backups/dpkg.status.0", "Package: shadow\n")),
]
HISTORIES = [
    defect("GEN-G32", "debian", write("/root/.bash_history", "mysql -psecret\n", 0o600)),
    defect("GEN-G32", "debian", write("/root/.histfile", "mysql -psecret\n", 0o600)),
    defect("GEN-G32", "rhel", write("/home/x/.python_history", "import os\n", 0o600)),
    defect("GEN-G32", "suse", write("/etc/skel/.viminfo", "# x\n")),
    defect("GEN-G32", "alpine", write("/root/.ash_history", "ls\n")),
    defect("GEN-G32", "debian", write("/home/x/.local/share/fish/fish_history", "- cmd: ls\n")),
    benign("GEN-G32", "debian", write("/root/.bash_history", ""), link("/root/.zsh_history", "/dev/null")),
    benign(
        "GEN-G32", "debian", write("/root/.bashrc", "HISTFILE=\n"), write("/usr/share/doc/bash/.bash_history", "x\n")
    ),
]
RECORDS = [
    benign("SH14", "debian", write("/var/log/faillog", bytes(3200))),
    defect("SH14", "debian", write("/var/lib/lastlog/lastlog2.db", b"SQLite format 3\0"), related=("GEN-G33",)),
    defect("SH14", "rhel", write("/var/lib/faillock/root", "x"), related=("GEN-G33",)),
    benign("SH14", "debian", write("/var/log/faillog", ""), folder("/var/lib/faillock")),
]
BANNERS = [
    defect("SH15", "debian", write("/etc/motd", "Welcome to 192.168.122.45\n")),
    defect("SH15", "alpine", write("/etc/issue.d/x.issue", "10.0.0.7\n")),
    benign(
        "SH15",
        "debian",
        write("/etc/motd", "Linux 6.1.0.18, see https://example.org\n"),
        write("/etc/issue", "127.0.0.1 \\n \\l\n"),
    ),
]


def anothers(uid: int) -> Change:
    """The whole system but /tmp and /var/tmp belongs to user number *uid*."""
    names: list[str] = []

    def change(disk: Path) -> None:
        debugfs(disk, *(f'set_inode_field "{name}" uid {uid}' for name in names))

    def collect(guest: Guest) -> None:
        every = {*guest.files, *(str(parent) for path in guest.files for parent in Path(path).parents)}
        names.extend(sorted(every - {"/tmp", "/var/tmp"}))
        guest.after.append(change)

    return collect


def group_of(path: str, gid: int) -> Change:
    """The file or folder at *path* is of a group by number."""

    def change(disk: Path) -> None:
        debugfs(disk, f'set_inode_field "{path}" gid {gid}')

    return on_disk(change)


def mode(path: str, bits: int) -> Change:
    """A file or folder of the healthy guest, with another mode."""

    def change(guest: Guest) -> None:
        content = guest.files[path]
        if isinstance(content, tuple):
            guest.files[path] = (content[0], bits)
        else:
            guest.files[path] = file(content if isinstance(content, bytes) else content.encode(), bits)

    return change


OWNERS = [
    defect("SH16", "debian", anothers(1000)),
    defect("SH16", "rhel", anothers(1000)),
    defect("SH16", "debian", mode("/etc/sudoers", 0o666)),
    defect("SH16", "suse", mode("/etc/shadow", 0o644)),
    defect("SH16", "rhel", mode("/etc/ssh/sshd_config", 0o666)),
    defect("SH16", "alpine", mode("/root", 0o777)),
    defect("SH16", "debian", mode("/home", 0o1777)),
    defect("SH16", "debian", mode("/etc/passwd", 0o664), group_of("/etc/passwd", 1000)),
    defect("SH16", "debian", write("/usr/bin/sudo", elf(), 0o4777)),
    defect("SH16", "debian", write("/etc/sudoers.d/x", "root ALL=(ALL) ALL\n", 0o440), owned("/etc/sudoers.d/x", 1000)),
    # A group's folder is told, no more.
    defect("SH16", "debian", mode("/home", 0o775), group_of("/home", 50)),
    benign("SH16", "debian", mode("/etc/shadow", 0o640), group_of("/etc/shadow", 42)),
    benign("SH16", "debian", write("/usr/bin/sudo", elf(), 0o4755), folder("/usr/local/bin", 0o2775)),
    benign("SH16", "debian", group_of("/usr/local/bin", 50), folder("/var/log/journal", 0o2755)),
    benign("SH16", "debian", mode("/etc/sudoers", 0o640), mode("/var/log", 0o775), group_of("/var/log", 104)),
    benign("SH16", "debian", write("/srv/x", "x", 0o666), folder("/var/crash", 0o1777), mode("/root", 0o770)),
    benign("SH16", "rhel", mode("/root", 0o550), mode("/etc/shadow", 0), mode("/etc/ssh/sshd_config", 0o600)),
    benign("SH16", "rhel", write("/usr/bin/sudo", elf(), 0o4111), folder("/var/empty/sshd", 0o711)),
    benign("SH16", "suse", mode("/etc/shadow", 0o640), group_of("/etc/shadow", 15)),
    benign("SH16", "suse", remove("/home"), folder("/var/home"), link("/home", "var/home")),
    benign("SH16", "alpine", mode("/etc/shadow", 0o640), folder("/var/empty", 0o555)),
]
DEFAULT_USER = [
    defect("GEN-G45", "debian", replace("/etc/cloud/cloud.cfg", "    name: debian\n", ""), related=("CI10",)),
    defect("GEN-G45", "rhel", replace("/etc/cloud/cloud.cfg", "  - default\n", "  - name: eve\n"), related=("CI10",)),
    benign(
        "GEN-G45", "debian", edited("/etc/cloud/cloud.cfg", lambda text: text.replace("name: debian", "name: cloud"))
    ),
]
CASES: list[Case] = [
    *PASSWORDS,
    *STRANGERS,
    *LOCKS,
    *EXPIRY,
    *SUDOERS,
    *RIGHTS,
    *BACKUPS,
    *HISTORIES,
    *RECORDS,
    *BANNERS,
    *DEFAULT_USER,
    *OWNERS,
]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
