"""A small Debian 12: systemd, ifupdown-less network by cloud-init, OpenSSH, GRUB."""

from __future__ import annotations

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

KERNEL = "6.1.0-18-cloud-amd64"
OPTIONS = f"root=UUID={ROOT_UUID} ro console=tty0 console=ttyS0,115200n8"
SYSTEM = "/usr/lib/systemd/system"


def files() -> dict[str, Content]:
    """The files, with absolute paths."""
    found: dict[str, Content] = {
        "/bin": link("usr/bin"),
        "/sbin": link("usr/sbin"),
        "/lib": link("usr/lib"),
        "/usr/bin/dash": program(),
        "/usr/bin/sh": link("dash"),
        "/usr/bin/bash": program(),
        "/usr/lib/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
        "/etc/os-release": link("../usr/lib/os-release"),
        "/etc/fstab": f"UUID={ROOT_UUID} / ext4 discard,errors=remount-ro 0 1\n"
        f"UUID={ESP_UUID} /boot/efi vfat umask=0077,nofail 0 1\n",
        "/etc/hosts": "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n",
        "/etc/machine-id": file(b"", 0o444),
        "/etc/debian_version": "12.5\n",
        "/boot/efi": folder(),
        "/root": folder(0o700),
        "/tmp": folder(0o1777),
        "/var/tmp": folder(0o1777),
        "/home": folder(),
        "/var/log": folder(),
        "/var/lib/cloud": folder(),
        "/var/lib/dbus/machine-id": link("/etc/machine-id"),
    }
    found |= account_files(default_shell="/bin/bash")
    found |= {
        "/usr/sbin/sshd": program(),
        "/usr/bin/ssh-keygen": program(),
        "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\nUsePAM yes\n"
        "Subsystem sftp /usr/lib/openssh/sftp-server\n",
        "/etc/ssh/sshd_config.d/10-cloud.conf": "PasswordAuthentication no\n",
        "/etc/systemd/system/sshd.service": link(f"{SYSTEM}/ssh.service"),
    }
    found |= enabled("ssh.service", "multi-user.target", folder=SYSTEM, text="[Service]\nExecStart=/usr/sbin/sshd -D\n")
    found |= {
        "/usr/bin/cloud-init": "#!/usr/bin/python3\n",
        "/usr/lib/python3/dist-packages/cloudinit/__init__.py": "",
        "/usr/bin/growpart": "#!/bin/sh\n",
        "/usr/sbin/resize2fs": program(),
        "/usr/sbin/sfdisk": program(),
        "/etc/network/interfaces.d": folder(),
        "/usr/lib/cloud-init/ds-identify": file(b"#!/bin/sh\nget_single_line_flow_sequence() { :; }\n", 0o755),
        "/etc/cloud/cloud.cfg": CLOUD_CFG,
        "/etc/cloud/cloud.cfg.d/01_debian.cfg": "datasource_list: [ NoCloud, ConfigDrive, OpenStack, Ec2, None ]\n",
        "/usr/lib/systemd/system-generators/cloud-init-generator": file(b"#!/bin/sh\n", 0o755),
    }
    found |= enabled("networking.service", "multi-user.target", folder=SYSTEM)
    for unit in ("cloud-init-local.service", "cloud-init.service", "cloud-config.service", "cloud-final.service"):
        found |= enabled(unit, "cloud-init.target", folder=SYSTEM)
    found |= {
        f"/boot/vmlinuz-{KERNEL}": b"MZ" + bytes(510),
        f"/boot/initrd.img-{KERNEL}": initramfs(KERNEL, *DRIVERS, *OTHER_DRIVERS, maker="initramfs-tools"),
        "/vmlinuz": link(f"boot/vmlinuz-{KERNEL}"),
        "/initrd.img": link(f"boot/initrd.img-{KERNEL}"),
        "/etc/default/grub": 'GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200n8"\n',
        "/boot/grub/grub.cfg": f"""set default="0"
menuentry 'Debian GNU/Linux' --class debian {{
\tsearch --no-floppy --fs-uuid --set=root {ROOT_UUID}
\tlinux\t/boot/vmlinuz-{KERNEL} {OPTIONS}
\tinitrd\t/boot/initrd.img-{KERNEL}
}}
""",
        "/etc/initramfs-tools/initramfs.conf": "MODULES=most\nBUSYBOX=auto\n",
        "/var/lib/dpkg/status": dpkg(
            "openssh-server", "cloud-init", "cloud-guest-utils", "grub-pc-bin", "sudo", "qemu-guest-agent"
        ),
        "/etc/apt/sources.list": "deb http://deb.debian.org/debian bookworm main\n",
        "/usr/bin/sudo": program(),
        "/etc/sudoers": file(b"root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n", 0o440),
        "/etc/timezone": "Etc/UTC\n",
        "/usr/share/zoneinfo/Etc/UTC": "TZif2",
        "/etc/localtime": link("/usr/share/zoneinfo/Etc/UTC"),
        "/etc/default/locale": "LANG=C.UTF-8\n",
        "/etc/network/interfaces": "auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\n",
    }
    found |= kernel_files(KERNEL, modules=(*DRIVERS, *OTHER_DRIVERS))
    return found


def dpkg(*packages: str) -> str:
    """The status file of dpkg with *packages* installed."""
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n" for name in packages
    )


CLOUD_CFG = """users:
  - default
disable_root: true
preserve_hostname: false
cloud_init_modules:
  - seed_random
  - bootcmd
  - write-files
  - growpart
  - resizefs
  - set_hostname
  - update_hostname
  - users-groups
  - ssh
cloud_config_modules:
  - ssh-import-id
  - locale
  - runcmd
cloud_final_modules:
  - scripts-user
  - ssh-authkey-fingerprints
  - keys-to-console
  - final-message
system_info:
  distro: debian
  default_user:
    name: debian
    lock_passwd: True
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
  paths:
    cloud_dir: /var/lib/cloud/
    templates_dir: /etc/cloud/templates/
  ssh_svcname: ssh
"""
