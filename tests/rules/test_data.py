"""Rules about what the build's machine wrote: logs, caches, crash data, leftovers of installers and tools."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.guest_tree import Content
from tests.images import ESP_START, ROOT_START
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
from tests.rules.test_boot import GRUB
from tests.trees.common import elf

BUILDER = "0123456789abcdef0123456789abcdef"
CORE = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 4, 62, 1) + bytes(4000)
JOURNAL = f"/var/log/journal/{BUILDER}"
LABEL = "system_u:object_r:{}:s0"
POLICY = "/etc/selinux/targeted/policy/policy.33"


def labelled(*wrong: tuple[str, str | None]) -> list[Change]:
    """A guest with a policy of SELinux whose files are labelled, but for those in *wrong*: another type, or none."""
    others = dict(wrong)

    def change(disk: Path) -> None:
        from tests.images import debugfs

        commands = []
        for path in debugfs_paths:
            kind = others.get(path, {"/etc/shadow": "shadow_t", "/etc/gshadow": "shadow_t"}.get(path, "etc_t"))
            if kind:
                commands.append(f'ea_set "{path}" security.selinux {LABEL.format(kind)}')
        debugfs(disk, *commands)

    debugfs_paths: list[str] = []

    def collect(guest: Guest) -> None:
        files: dict[str, Content] = guest.files
        parents = {str(parent) for path in files for parent in Path(path).parents}
        links = [path for path, content in files.items() if isinstance(content, tuple) and content[0] == "link"]
        debugfs_paths.extend(sorted({*files, *parents} - set(links)))

    return [write(POLICY, "x"), collect, on_disk(change)]


def owned(path: str, uid: int) -> Change:
    """The file or folder at *path* belongs to a user by number."""

    def change(disk: Path) -> None:
        from tests.images import debugfs

        debugfs(disk, f'set_inode_field "{path}" uid {uid}')

    return on_disk(change)


def swap_partition(disk: Path, last: bytes) -> None:
    """Swap in place of the EFI system partition, with *last* as its end."""
    with disk.open("r+b") as file:
        file.seek(ESP_START)
        file.write((bytes(4086) + b"SWAPSPACE2").ljust(ROOT_START - ESP_START - len(last), b"\0") + last)


CASES = [
    # GEN-G33: logs
    defect("GEN-G33", "debian", write("/var/log/syslog", "Nov 22 builder sshd: x\n")),
    defect("GEN-G33", "debian", write(f"{JOURNAL}/system.journal", b"LPKSHHRH" + bytes(500))),
    defect("GEN-G33", "rhel", write("/var/log/audit/audit.log", "type=USER_LOGIN\n")),
    defect("GEN-G33", "rhel", write("/var/log/wtmp", b"\7\0\0\0" + b"root" * 90)),
    defect("GEN-G33", "suse", write("/var/log/messages-20240101.xz", b"\xfd7zXZ\0rest")),
    defect("GEN-G33", "alpine", write("/var/log/dmesg", "[0.0] Linux\n")),
    benign("GEN-G33", "debian", write("/var/log/syslog", ""), write("/var/log/syslog.1", ""),
           folder("/var/log/journal"), write("/var/log/lastlog", bytes(292)),
           link("/var/log/README", "/usr/share/doc/x")),
    benign("GEN-G33", "debian", link("/var/lib/wtmpdb/wtmp.db", "../../log/wtmp.db"),
           write("/var/log/faillog", bytes(64))),
    benign("GEN-G33", "rhel", folder("/var/log/audit", 0o700), write("/var/log/wtmp", "", 0o664)),
    # GEN-G34: temporary files and caches
    defect("GEN-G34", "debian", write("/tmp/.build/secret", "x")),
    defect("GEN-G34", "debian", write("/var/tmp/packer-shell", "x")),
    defect("GEN-G34", "debian", folder("/tmp", 0o755)),
    defect("GEN-G34", "debian", write("/var/cache/apt/archives/nginx_1.deb", "x")),
    defect("GEN-G34", "debian", write("/var/lib/apt/lists/deb.debian.org_Release", "x")),
    defect("GEN-G34", "rhel", write("/var/cache/dnf/baseos/repodata/x.xml", "x")),
    defect("GEN-G34", "suse", write("/var/cache/zypp/raw/x", "x")),
    defect("GEN-G34", "alpine", write("/var/cache/apk/APKINDEX.tar.gz", "x")),
    defect("GEN-G34", "debian", write("/root/.cache/pip/x", "x")),
    benign("GEN-G34", "debian", folder("/var/cache/apt/archives/partial"), folder("/tmp/.X11-unix"),
           write("/var/lib/apt/lists/lock", ""),
           write("/var/cache/debconf/templates.dat", "x")),
    # GEN-G46: installers
    defect("GEN-G46", "rhel", write("/root/anaconda-ks.cfg", "rootpw --iscrypted $6$x\n")),
    defect("GEN-G46", "debian", write("/var/log/installer/cdebconf/questions.dat", "x")),
    defect("GEN-G46", "debian", write("/var/log/installer/autoinstall-user-data", "password: x\n")),
    defect("GEN-G46", "suse", write("/var/adm/autoinstall/cache/installedSystem.xml", "<x/>")),
    benign("GEN-G46", "rhel", write("/root/anaconda-notes", "x"), folder("/var/log/anaconda")),
    # DL06: core dumps
    defect("DL06", "debian", write("/root/core", CORE)),
    defect("DL06", "debian", write("/home/debian/app/core.bash.1234", CORE)),
    defect("DL06", "debian", write("/core.815", CORE)),
    defect("DL06", "rhel", write("/var/lib/systemd/coredump/core.bash.0.1.zst", b"(\xb5/\xfd"), related=("ID06",)),
    defect("DL06", "rhel", write("/var/crash/127.0.0.1-2024/vmcore", "x")),
    defect("DL06", "alpine", write("/var/lib/app/core.77", CORE)),
    defect("DL06", "suse", write("/opt/app/hs_err_pid42.log", "x")),
    benign("DL06", "debian", write("/root/core", "a file about apples\n"), write("/home/debian/core/main.py", "x"),
           folder("/var/crash"), write("/opt/core", elf())),
    # DL07: mail
    defect("DL07", "debian", write("/var/mail/root", "From cron\n")),
    defect("DL07", "rhel", write("/var/spool/postfix/deferred/A/A1", "x")),
    benign("DL07", "debian", write("/var/mail/debian", ""), write("/var/spool/cron/crontabs/root", "@daily true\n")),
    # DL09, DL14: the package system
    defect("DL09", "debian", append("/var/lib/dpkg/status", "\nPackage: x\nStatus: install ok half-configured\n")),
    defect("DL09", "debian", append("/var/lib/dpkg/status", "\nPackage: x\nStatus: install reinstreq unpacked\n")),
    benign("DL09", "debian", append("/var/lib/dpkg/status", "\nPackage: x\nStatus: deinstall ok config-files\n")),
    defect("DL09", "debian", write("/var/lib/dpkg/updates/0001", "Package: x\n")),
    defect("DL09", "rhel", write("/var/lib/yum/transaction-all.2026-01-05.10:11.12", "mem\n")),
    benign("DL09", "rhel", write("/var/lib/rpm/__db.001", bytes(4096)), write("/var/lib/rpm/__db.002", b"x"),
           write("/var/lib/yum/transaction-all.2026-01-05.10:11.12.disabled", "mem\n")),
    defect("DL14", "debian", append("/var/lib/dpkg/status", "\nPackage: linux-image\nStatus: hold ok installed\n")),
    defect("DL14", "rhel", write("/etc/dnf/plugins/versionlock.list", "# Added\nkernel-0:5.14.0-427.el9.*\n")),
    defect("DL14", "rhel", write("/etc/dnf/dnf.conf", "[main]\nexcludepkgs=kernel*\n")),
    defect("DL14", "suse", write("/etc/zypp/locks", "type: package\nsolvable_name: kernel-default\n")),
    defect("DL14", "alpine", append("/etc/apk/world", "nginx=1.24.0-r0\n")),
    benign("DL14", "rhel", write("/etc/dnf/plugins/versionlock.list", "# nothing\n"),
           write("/etc/dnf/dnf.conf", "[main]\n#exclude=kernel*\nexclude=\n")),
    # DL11: tools of the build
    defect("DL11", "debian", write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)),
    defect("DL11", "debian", write("/usr/bin/qemu-aarch64-static", elf())),
    defect("DL11", "debian", write("/root/.ansible/galaxy_token", "x")),
    defect("DL11", "debian", write("/etc/dpkg/dpkg.cfg.d/99mmdebstrap", "force-unsafe-io\n")),
    benign("DL11", "debian", write("/etc/dpkg/dpkg.cfg.d/pkg", "# force-unsafe-io\nno-debsig\n")),
    benign("DL11", "debian", write("/usr/bin/qemu-img", elf()), write("/usr/share/doc/packer", "x")),
    # DL17: owners
    defect("DL17", "debian", write("/home/builder/.profile", "x"), owned("/home/builder", 1007)),
    defect("DL17", "rhel", write("/opt/tool/run", "x"), owned("/opt/tool", 5001)),
    benign("DL17", "debian", write("/opt/tool/run", "x"), write("/srv/www/a", "x"), owned("/srv/www", 1)),
    # BT05: swap
    defect("BT05", "debian", write("/swapfile", bytes(4086) + b"SWAPSPACE2" + b"key" * 3000, 0o600)),
    defect("BT05", "debian", on_disk(lambda disk: swap_partition(disk, b"key"))),
    benign("BT05", "debian", on_disk(lambda disk: swap_partition(disk, b"\0")), alone=True),
    benign("BT05", "debian", write("/swapfile", bytes(4086) + b"SWAPSPACE2" + bytes(9000), 0o600)),
    # BT19: memory
    defect("BT19", "debian", replace(GRUB, " ro ", " ro crashkernel=512M ")),
    defect("BT19", "rhel", write("/etc/sysctl.d/90-huge.conf", "vm.nr_hugepages = 1024\n")),
    benign("BT19", "debian", replace(GRUB, " ro ", " ro crashkernel=1G-4G:192M,4G-64G:256M "),
           write("/etc/sysctl.d/90-huge.conf", "#vm.nr_hugepages=512\nvm.nr_hugepages=0\n")),
    # GEN-G47: clock and language
    defect("GEN-G47", "debian", link("/etc/localtime", "/usr/share/zoneinfo/America/Sao_Paulo")),
    defect("GEN-G47", "rhel", write("/etc/adjtime", "0.0 0 0.0\n0\nLOCAL\n")),
    defect("GEN-G47", "rhel", remove("/etc/locale.conf")),
    benign("GEN-G47", "rhel", write("/etc/adjtime", "0.0 0 0.0\n0\nUTC\n"), remove("/etc/localtime")),
    # GEN-G48: data of services
    defect("GEN-G48", "debian", write("/var/lib/postgresql/15/main/PG_VERSION", "15\n")),
    benign("GEN-G48", "debian", folder("/var/lib/postgresql"), folder("/var/lib/mysql")),
    # GEN-G44: SELinux
    defect("GEN-G44", "rhel", *labelled(("/etc/passwd", None))),
    defect("GEN-G44", "rhel", *labelled(("/etc/shadow", "etc_t"))),
    defect("GEN-G44", "rhel", *labelled(("/etc/fstab", "unlabeled_t"))),
    benign("GEN-G44", "rhel", *labelled(), alone=True),
    benign("GEN-G44", "rhel", write(POLICY, "x"), write("/.autorelabel", "")),
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
