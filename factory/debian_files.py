"""What the factory itself writes into a Debian base: the distribution's public defaults, and nothing of this host."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from factory import mirror

DONE = "FACTORY-BASE-DONE"  # the first boot's last word on the console, with its exit status


def archive(files: Mapping[str, File]) -> bytes:
    """*files* as a tar that root owns, for unpacking over a root file system."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, file in files.items():
            header = tarfile.TarInfo(name)
            header.mode = file.mode
            if file.link:
                header.type, header.linkname = tarfile.SYMTYPE, file.link
            header.size = len(file.text.encode())
            archive.addfile(header, io.BytesIO(file.text.encode()))
    return buffer.getvalue()


@dataclass(frozen=True)
class File:
    """A file of ours inside the base: its text (or where it links to) and mode."""

    text: str = ""
    mode: int = 0o644
    link: str = ""


EARLY = {
    "etc/fstab": File("LABEL=root / ext4 defaults,discard,errors=remount-ro 0 1\n"),
    "etc/initramfs-tools/conf.d/resume": File("RESUME=none\n"),
    "etc/kernel-img.conf": File("do_symlinks = no\n"),
}
NETPLAN = {
    # networkd takes the first file that fits a card, by the names of the files, which netplan makes of these: those of
    # the cards that cloud-init sets up have to come first, else a cloud's fixed addresses would not count.
    "etc/netplan/90-default.yaml": File(
        "# DHCP on any NIC, also without cloud-init\nnetwork:\n  version: 2\n  ethernets:\n"
        '    zz-all-en: {match: {name: "en*"}, dhcp4: true, dhcp6: true, optional: true}\n'
        '    zz-all-eth: {match: {name: "eth*"}, dhcp4: true, dhcp6: true, optional: true}\n',
        0o600,
    ),
    "etc/resolv.conf": File(link="../run/systemd/resolve/stub-resolv.conf"),
}
IFUPDOWN = {"etc/resolv.conf": File(link="../run/resolvconf/resolv.conf")}
FIRST_BOOT = f"""#!/bin/sh
# Runs once instead of init, in the direct-kernel boot that makes this disk boot by itself. It removes itself.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
if [ "$0" = /factory-first-boot ]; then
    # A deleted file that still runs would keep / from going read-only.
    mountpoint -q /run || mount -t tmpfs tmpfs /run
    cp "$0" /run/first-boot
    exec /bin/sh /run/first-boot
fi
exec </dev/null >/dev/console 2>&1
finish() {{
    status=$?
    trap - EXIT
    echo "{DONE} $status"
    sync
    echo 1 >/proc/sys/kernel/sysrq
    echo o >/proc/sysrq-trigger
    while :; do :; done
}}
trap finish EXIT
set -ex
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
root=$(findmnt -n -o SOURCE /)
disk=/dev/$(lsblk -n -o PKNAME "$root")
esp=$(lsblk -n -r -o PATH,PARTTYPE "$disk" | awk '$2 == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" {{print $1}}')
mkfs.vfat -F 32 -n ESP "$esp"
mkdir -p /boot/efi
echo "LABEL=ESP /boot/efi vfat umask=0077,nofail 0 2" >>/etc/fstab
mount "$esp" /boot/efi
grub-install --target=i386-pc "$disk"
grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram --no-uefi-secure-boot || \\
    grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram
update-grub
umount /tmp
rm -f /factory-first-boot /var/log/*.log
rm -rf /var/log/journal/* /var/cache/debconf/*-old
umount /boot/efi
fstrim / || true
mount -o remount,ro /
set +x
"""


def late(suite: str, *, netplan: bool) -> dict[str, File]:
    """What is written over the packages' files: the distribution's public defaults, and nothing of this host."""
    return (
        (NETPLAN if netplan else IFUPDOWN)
        | _passwords(suite)
        | {
            "etc/apt/sources.list": File("\n".join(mirror.source_lines(suite, mirror.ARCHIVE, mirror.SECURITY)) + "\n"),
            "etc/machine-id": File("", 0o444),
            "var/lib/dbus/machine-id": File(link="/etc/machine-id"),
            "etc/hosts": File(
                "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
                "ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
            ),
            "etc/default/locale": File("LANG=C.UTF-8\n"),
            "etc/cloud/cloud.cfg.d/01_image.cfg": File(
                "# Defaults of this image\nlocale: C.UTF-8\nmanage_etc_hosts: localhost\n"
                "apt:\n  preserve_sources_list: true\n"
            ),
            "etc/default/grub.d/50_image.cfg": File(
                'GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"\nGRUB_TIMEOUT=1\nGRUB_DISABLE_OS_PROBER=true\n'
            ),
            "factory-first-boot": File(FIRST_BOOT, 0o755),
        }
    )


def _passwords(suite: str) -> dict[str, File]:
    """No passwords by SSH, unless an instance's user-data asks for them."""
    # Behind the 50-cloud-init.conf that cloud-init writes then: sshd takes the first value that it reads. That of
    # bullseye knows no such folder and edits sshd_config, which is made to say it there.
    text = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    return {} if suite == "bullseye" else {"etc/ssh/sshd_config.d/90-image.conf": File(text)}


NO_PASSWORDS = "s/^#?(PasswordAuthentication|ChallengeResponseAuthentication) .*/\\1 no/"
"""For ``sed -E`` over the sshd_config of a release without :func:`late`'s own file."""
