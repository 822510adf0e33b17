"""A small Alpine 3.19: OpenRC, busybox, ifupdown-ng, OpenSSH, syslinux or GRUB by extlinux.conf, mkinitfs."""

from __future__ import annotations

from tests.guest_tree import Content, file, folder, link
from tests.trees.common import (
    DRIVERS,
    ESP_UUID,
    OTHER_DRIVERS,
    ROOT_UUID,
    account_files,
    initramfs,
    kernel_files,
    program,
)
from tests.trees.debian import CLOUD_CFG

KERNEL = "6.6.20-0-virt"
OPTIONS = f"root=UUID={ROOT_UUID} modules=ext4 console=tty0 console=ttyS0,115200n8"


def files() -> dict[str, Content]:
    """The files, with absolute paths."""
    found: dict[str, Content] = {
        "/bin/busybox": program(),
        "/bin/sh": link("/bin/busybox"),
        "/bin/ash": link("/bin/busybox"),
        "/usr/bin/sudo": program(),
        "/sbin/openrc": program(),
        "/sbin/init": link("/bin/busybox"),
        "/etc/os-release": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME="Alpine Linux v3.19"\n',
        "/etc/alpine-release": "3.19.1\n",
        "/etc/fstab": f"UUID={ROOT_UUID} / ext4 rw 0 1\nUUID={ESP_UUID} /boot/efi vfat umask=0077,nofail 0 2\n",
        "/etc/hosts": "127.0.0.1\tlocalhost localhost.localdomain\n::1\tlocalhost localhost.localdomain\n",
        "/boot/efi": folder(),
        "/root": folder(0o700),
        "/tmp": folder(0o1777),
        "/var/tmp": folder(0o1777),
        "/home": folder(),
        "/var/log": folder(),
        "/var/lib/cloud": folder(),
    }
    found |= account_files(default_shell="/bin/ash", nologin="/sbin/nologin")
    found |= {
        "/usr/sbin/sshd": program(),
        "/usr/bin/ssh-keygen": program(),
        "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\n"
        "PasswordAuthentication no\nUsePAM yes\n",  # Alpine's cloud images have openssh-server-pam
        "/usr/bin/cloud-init": "#!/usr/bin/python3\n",
        "/usr/lib/python3.11/site-packages/cloudinit/__init__.py": "",
        "/usr/bin/growpart": "#!/bin/sh\n",
        "/usr/sbin/resize2fs": program(),
        "/sbin/sfdisk": program(),
        "/etc/cloud/cloud.cfg": CLOUD_CFG.replace("distro: debian", "distro: alpine")
        .replace("name: debian", "name: alpine")
        .replace("shell: /bin/bash", "shell: /bin/ash")
        .replace("ssh_svcname: ssh", "ssh_svcname: sshd"),
        "/etc/network/interfaces": "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n",
        "/boot/vmlinuz-virt": b"MZ" + bytes(510),
        "/boot/initramfs-virt": initramfs(KERNEL, *OTHER_DRIVERS, maker="mkinitfs"),
        "/boot/extlinux.conf": f"DEFAULT virt\nTIMEOUT 10\nLABEL virt\n  MENU LABEL Linux virt\n  LINUX vmlinuz-virt\n"
        f"  INITRD initramfs-virt\n  APPEND {OPTIONS}\n",
        "/etc/mkinitfs/mkinitfs.conf": 'features="base ext4 keymap kms mmc nvme scsi usb virtio"\n',
        "/etc/apk/repositories": "https://dl-cdn.alpinelinux.org/alpine/v3.19/main\n",
        "/etc/apk/world": "alpine-base\ncloud-init\nopenssh\nlinux-virt\n",
        "/lib/apk/db/installed": "".join(
            f"P:{name}\nV:1.0-r0\nA:x86_64\n\n"
            for name in ("alpine-base", "cloud-init", "openssh-server", "linux-virt", "qemu-guest-agent")
        ),
        "/usr/share/zoneinfo/UTC": "TZif2",
        "/etc/localtime": link("/usr/share/zoneinfo/UTC"),
        "/etc/inittab": "::sysinit:/sbin/openrc sysinit\nttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100\n",
    }
    found |= kernel_files(KERNEL, built_in=DRIVERS, modules=OTHER_DRIVERS, folder="/lib/modules")
    for level, services in {
        "boot": ("networking", "cloud-init-local"),
        "default": ("sshd", "cloud-init", "cloud-config", "cloud-final"),
    }.items():
        for service in services:
            found[f"/etc/init.d/{service}"] = file(b"#!/sbin/openrc-run\n", 0o755)
            found[f"/etc/runlevels/{level}/{service}"] = link(f"/etc/init.d/{service}")
    return found
