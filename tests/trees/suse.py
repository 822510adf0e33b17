"""A small openSUSE Leap 15: systemd, wicked's ifcfg files, OpenSSH, GRUB, dracut."""

from __future__ import annotations

from tests.boot_files import rpm_ndb
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

KERNEL = "5.14.21-150500.55.52-default"
OPTIONS = f"root=UUID={ROOT_UUID} console=tty0 console=ttyS0,115200 net.ifnames=0"
SYSTEM = "/usr/lib/systemd/system"


def files() -> dict[str, Content]:
    """The files, with absolute paths."""
    found: dict[str, Content] = {
        "/bin": link("usr/bin"),
        "/sbin": link("usr/sbin"),
        "/lib": link("usr/lib"),
        "/usr/bin/bash": program(),
        "/usr/bin/sh": link("bash"),
        "/usr/lib/os-release": 'NAME="openSUSE Leap"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.5"\n'
        'PRETTY_NAME="openSUSE Leap 15.5"\n',
        "/etc/os-release": link("../usr/lib/os-release"),
        "/etc/fstab": f"UUID={ROOT_UUID} / ext4 defaults 0 1\nUUID={ESP_UUID} /boot/efi vfat umask=0077,nofail 0 2\n",
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost ipv6-localhost ipv6-loopback\n",
        "/etc/machine-id": file(b"", 0o444),
        "/boot/efi": folder(),
        "/root": folder(0o700),
        "/tmp": folder(0o1777),
        "/var/tmp": folder(0o1777),
        "/home": folder(),
        "/var/log": folder(),
        "/var/lib/cloud": folder(),
    }
    found |= account_files(default_shell="/bin/bash", nologin="/sbin/nologin")
    found |= {
        "/usr/sbin/sshd": program(),
        "/usr/bin/ssh-keygen": program(),
        "/usr/sbin/sshd-gen-keys-start": file(b"#!/bin/sh\nssh-keygen -A\n", 0o755),
        "/etc/ssh/sshd_config": file(
            b"Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\n"
            b"PasswordAuthentication no\nUsePAM yes\n",
            0o640,
        ),
    }
    found |= enabled(
        "sshd.service",
        "multi-user.target",
        text="[Service]\nExecStartPre=/usr/sbin/sshd-gen-keys-start\nExecStart=/usr/sbin/sshd -D\n",
    )
    found |= {
        "/usr/bin/cloud-init": "#!/usr/bin/python3\n",
        "/usr/lib/python3.6/site-packages/cloudinit/__init__.py": "",
        "/usr/bin/growpart": "#!/bin/sh\n",
        "/usr/sbin/resize2fs": program(),
        "/usr/sbin/sfdisk": program(),
        "/usr/lib/cloud-init/ds-identify": file(b"#!/bin/sh\nget_single_line_flow_sequence() { :; }\n", 0o755),
        "/etc/cloud/cloud.cfg": CLOUD_CFG.replace("distro: debian", "distro: opensuse")
        .replace("name: debian", "name: opensuse")
        .replace("ssh_svcname: ssh", "ssh_svcname: sshd"),
        "/usr/lib/systemd/system-generators/cloud-init-generator": file(b"#!/bin/sh\n", 0o755),
    }
    for unit in ("cloud-init-local.service", "cloud-init.service", "cloud-config.service", "cloud-final.service"):
        found |= enabled(unit, "cloud-init.target")
    found |= enabled("wicked.service", "multi-user.target")
    found |= {
        "/usr/sbin/wicked": program(),
        "/etc/sysconfig/network/config": "",
        "/etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n",
        f"/boot/vmlinuz-{KERNEL}": b"MZ" + bytes(510),
        f"/boot/initrd-{KERNEL}": initramfs(KERNEL, *DRIVERS, *OTHER_DRIVERS, maker="dracut"),
        "/boot/grub2/grub.cfg": f"""menuentry 'openSUSE Leap 15.5' --class opensuse {{
\tsearch --no-floppy --fs-uuid --set=root {ROOT_UUID}
\tlinux\t/boot/vmlinuz-{KERNEL} {OPTIONS}
\tinitrd\t/boot/initrd-{KERNEL}
}}
""",
        "/etc/default/grub": "GRUB_TIMEOUT=1\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="console=tty0 console=ttyS0,115200 net.ifnames=0"\n',
        "/etc/dracut.conf.d/generic.conf": 'hostonly="no"\n',
        "/usr/lib/sysimage/rpm/Packages.db": rpm_ndb(
            "openssh", "cloud-init", "growpart", "kernel-default", "qemu-guest-agent"
        ),
        "/etc/zypp/repos.d/repo-oss.repo": "[repo-oss]\nname=Main\nenabled=1\n"
        "baseurl=https://download.opensuse.org/distribution/leap/15.5/repo/oss/\n",
        "/usr/bin/sudo": program(),
        "/etc/sudoers": file(b"root ALL=(ALL) ALL\n#includedir /etc/sudoers.d\n", 0o440),
        "/usr/share/zoneinfo/UTC": "TZif2",
        "/etc/localtime": link("../usr/share/zoneinfo/UTC"),
        "/etc/locale.conf": "LANG=C.UTF-8\n",
    }
    found |= kernel_files(KERNEL, modules=(*DRIVERS, *OTHER_DRIVERS))
    return found
