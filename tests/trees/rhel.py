"""A small Rocky Linux 9: systemd, NetworkManager, OpenSSH, boot loader entries (BLS), dracut, SELinux."""

from __future__ import annotations

from tests.boot_files import rpm_sqlite
from tests.guest_tree import Content, file, folder, link
from tests.trees.common import (
    DRIVERS,
    ESP_UUID,
    OTHER_DRIVERS,
    ROOT_UUID,
    account_files,
    enabled,
    initramfs,
    kernel_files,
    program,
)
from tests.trees.debian import CLOUD_CFG

KERNEL = "5.14.0-427.13.1.el9_4.x86_64"
MACHINE = "ffffffffffffffffffffffffffffffff"
OPTIONS = f"root=UUID={ROOT_UUID} ro console=tty0 console=ttyS0,115200n8"
SYSTEM = "/usr/lib/systemd/system"


def files() -> dict[str, Content]:
    """The files, with absolute paths."""
    found: dict[str, Content] = {
        "/bin": link("usr/bin"),
        "/sbin": link("usr/sbin"),
        "/lib": link("usr/lib"),
        "/usr/bin/bash": program(),
        "/usr/bin/sh": link("bash"),
        "/usr/lib/os-release": 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'
        'PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n',
        "/etc/os-release": link("../usr/lib/os-release"),
        "/etc/fstab": f"UUID={ROOT_UUID} / ext4 defaults 0 0\nUUID={ESP_UUID} /boot/efi vfat umask=0077,nofail 0 2\n",
        "/etc/hosts": "127.0.0.1 localhost localhost.localdomain\n::1 localhost localhost.localdomain\n",
        "/etc/machine-id": file(b"", 0o444),
        "/boot/efi": folder(),
        "/root": folder(0o700),
        "/tmp": folder(0o1777),
        "/var/tmp": folder(0o1777),
        "/home": folder(),
        "/var/log": folder(),
        "/var/lib/cloud": folder(),
    }
    found |= account_files(default_shell="/bin/bash", nologin="/sbin/nologin", shadow_mode=0o000)
    found |= {
        "/usr/sbin/sshd": program(),
        "/usr/bin/ssh-keygen": program(),
        "/etc/ssh/sshd_config": file(
            b"Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\n"
            b"Subsystem sftp /usr/libexec/openssh/sftp-server\n",
            0o600,
        ),
        "/etc/ssh/sshd_config.d/10-cloud.conf": "PasswordAuthentication no\n",
        "/etc/ssh/sshd_config.d/50-redhat.conf": file(b"SyslogFacility AUTHPRIV\nUsePAM yes\n", 0o600),
        "/usr/libexec/openssh/sshd-keygen": file(b"#!/bin/bash\n", 0o755),
        f"{SYSTEM}/sshd-keygen.target": "[Unit]\nWants=sshd-keygen@rsa.service sshd-keygen@ed25519.service\n",
        f"{SYSTEM}/sshd-keygen@.service": "[Service]\nExecStart=/usr/libexec/openssh/sshd-keygen %i\n",
    }
    found |= enabled(
        "sshd.service",
        "multi-user.target",
        text="[Unit]\nWants=sshd-keygen.target\n[Service]\nExecStart=/usr/sbin/sshd -D\n",
    )
    found |= {
        "/usr/bin/cloud-init": "#!/usr/bin/python3 -s\n",
        "/usr/lib/python3.9/site-packages/cloudinit/__init__.py": "",
        "/usr/bin/growpart": "#!/bin/sh\n",
        "/usr/sbin/resize2fs": program(),
        "/usr/sbin/sfdisk": program(),
        "/usr/libexec/cloud-init/ds-identify": file(b"#!/bin/sh\nget_single_line_flow_sequence() { :; }\n", 0o755),
        "/usr/sbin/xfs_growfs": program(),
        "/etc/cloud/cloud.cfg": CLOUD_CFG.replace("distro: debian", "distro: rocky")
        .replace("name: debian", "name: rocky")
        .replace("ssh_svcname: ssh", "ssh_svcname: sshd"),
        "/usr/lib/systemd/system-generators/cloud-init-generator": file(b"#!/bin/sh\n", 0o755),
    }
    for unit in ("cloud-init-local.service", "cloud-init.service", "cloud-config.service", "cloud-final.service"):
        found |= enabled(unit, "cloud-init.target")
    found |= enabled("NetworkManager.service", "multi-user.target")
    found |= {
        "/usr/sbin/NetworkManager": program(),
        "/etc/NetworkManager/NetworkManager.conf": "[main]\nplugins=keyfile\n",
        "/etc/NetworkManager/system-connections": folder(0o700),
        f"/boot/vmlinuz-{KERNEL}": b"MZ" + bytes(510),
        f"/boot/initramfs-{KERNEL}.img": initramfs(KERNEL, *DRIVERS, *OTHER_DRIVERS, maker="dracut"),
        f"/boot/loader/entries/{MACHINE}-{KERNEL}.conf": f"title Rocky Linux ({KERNEL})\nversion {KERNEL}\n"
        f"linux /boot/vmlinuz-{KERNEL}\ninitrd /boot/initramfs-{KERNEL}.img\noptions {OPTIONS}\n",
        "/boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
        "/etc/default/grub": 'GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200n8"\n'
        "GRUB_ENABLE_BLSCFG=true\n",
        "/etc/dracut.conf.d/generic.conf": 'hostonly="no"\n',
        "/var/lib/rpm/rpmdb.sqlite": rpm_sqlite(
            "openssh-server", "cloud-init", "cloud-utils-growpart", "kernel-core", "qemu-guest-agent"
        ),
        "/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
        "/etc/yum.repos.d/rocky.repo": "[baseos]\nname=Rocky Linux 9 - BaseOS\n"
        "mirrorlist=https://mirrors.rockylinux.org/mirrorlist?arch=x86_64&repo=BaseOS-9\nenabled=1\n",
        "/usr/bin/sudo": program(),
        "/etc/sudoers": file(b"root ALL=(ALL) ALL\n#includedir /etc/sudoers.d\n", 0o440),
        "/usr/share/zoneinfo/UTC": "TZif2",
        "/etc/localtime": link("../usr/share/zoneinfo/UTC"),
        "/etc/locale.conf": "LANG=C.UTF-8\n",
    }
    found |= kernel_files(KERNEL, modules=(*DRIVERS, *OTHER_DRIVERS))
    return found
