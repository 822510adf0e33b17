"""Rules about what the system finds its disks by, what it mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boot_files import initramfs
from tests.rule_images import (
    Case,
    Change,
    Guest,
    append,
    benign,
    broken,
    cases,
    check,
    defect,
    link,
    make,
    prove,
    replace,
    write,
)
from tests.rules.test_boot import BLS, GRUB, INITRD, OTHER, entry, in_initramfs
from tests.trees import debian
from tests.trees.common import DRIVERS, ESP_UUID, ROOT_UUID

FSTAB = "/etc/fstab"
NEXT = "/etc/default/grub"


def unit(name: str, text: str) -> list[Change]:
    """A unit of systemd that is started at boot."""
    path = f"/etc/systemd/system/{name}"
    return [write(path, text), link(f"/etc/systemd/system/multi-user.target.wants/{name}", path)]


def inodes(free: int) -> Change:
    """A root on which about so many more files can be made."""

    def change(guest: Guest) -> None:
        names = {*guest.files, *(str(parent) for path in guest.files for parent in Path(path).parents)}
        guest.options = (*guest.options, "-N", str(len(names) + 12 + free))  # 11 are the file system's own

    return change


FULL, ALMOST = (write("/srv/large", b"x" * (size << 20)) for size in (45, 42))
CASES = [
    # GEN-G06: devices needed at boot
    defect("GEN-G06", "debian", replace(FSTAB, ROOT_UUID, OTHER)),
    defect("GEN-G06", "debian", replace(GRUB, f"root=UUID={ROOT_UUID}", f"root=UUID={OTHER}")),
    defect("GEN-G06", "debian", append(GRUB, entry(debian.KERNEL, "root=/dev/sda1 ro console=ttyS0"))),
    defect("GEN-G06", "debian", append(FSTAB, f"UUID={OTHER} /data ext4 defaults 0 2\n")),
    defect("GEN-G06", "debian", append(FSTAB, f"UUID={OTHER} none swap sw 0 0\n")),
    defect("GEN-G06", "debian", append(FSTAB, "/dev/vdb1 /srv xfs defaults 0 2\n")),
    defect("GEN-G06", "debian", append(FSTAB, "/swapfile none swap sw 0 0\n")),
    defect("GEN-G06", "debian", replace(GRUB, f"root=UUID={ROOT_UUID}", "root=LABEL=ESP")),
    defect("GEN-G06", "debian", replace(GRUB, f"root=UUID={ROOT_UUID} ", "")),
    defect("GEN-G06", "debian", append(NEXT, 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX root=/dev/vda1"\n')),
    defect("GEN-G06", "rhel", replace(BLS, f"root=UUID={ROOT_UUID}", "root=/dev/mapper/rl-root")),
    defect("GEN-G06", "rhel", replace(BLS, f"root=UUID={ROOT_UUID}", "root=PARTUUID=00000000-01")),
    defect("GEN-G06", "suse", replace(FSTAB, f"UUID={ROOT_UUID}", "/dev/disk/by-path/pci-0000:00:04.0-part1")),
    defect("GEN-G06", "alpine", replace("/boot/extlinux.conf", f"root=UUID={ROOT_UUID}", "root=/dev/vda3")),
    defect("GEN-G06", "rhel", replace(BLS, " ro ", " ro rd.lvm.lv=rl/root ")),
    defect("GEN-G06", "debian", *unit("data.mount", f"[Mount]\nWhat=/dev/disk/by-uuid/{OTHER}\nWhere=/data\n")),
    benign("GEN-G06", "debian", write("/etc/systemd/system/old.mount", f"[Mount]\nWhat=UUID={OTHER}\nWhere=/old\n"),
           append(FSTAB, f"UUID={OTHER} /auto ext4 x-systemd.automount 0 2\n")),
    benign("GEN-G06", "debian", append(FSTAB, f"# UUID={OTHER} /old ext4 defaults 0 2\nUUID={OTHER} /d xfs nofail\n"
                                              f"tmpfs /tmp tmpfs defaults 0 0\nUUID={OTHER} none swap sw,nofail 0 0\n"
                                              "/dev/vdb /x ext4 noauto 0 0\n")),
    benign("GEN-G06", "debian", replace(GRUB, f"root=UUID={ROOT_UUID}", "root=LABEL=root")),
    benign("GEN-G06", "rhel", replace(FSTAB, f"UUID={ROOT_UUID}", f"/dev/disk/by-uuid/{ROOT_UUID}")),
    benign("GEN-G06", "rhel", replace(BLS, ROOT_UUID, ROOT_UUID.upper())),
    benign("GEN-G06", "suse", append(FSTAB, "PARTLABEL=root /mnt ext4 noauto 0 0\n")),
    # GEN-G06: types and options that the file system does not have
    defect("GEN-G06", "debian", replace(FSTAB, "vfat umask=0077,nofail", "ext4 defaults")),
    defect("GEN-G06", "rhel", replace(FSTAB, "vfat umask=0077,nofail", "vfat defauts,umask=077")),
    defect("GEN-G06", "suse", replace(FSTAB, "vfat umask=0077,nofail", "vfat umsk=077")),
    defect("GEN-G06", "debian", replace(FSTAB, "discard,errors=remount-ro", "discard,error=remount-ro")),
    defect("GEN-G06", "debian", replace(FSTAB, "/ ext4", "/ xfs")),
    defect("GEN-G06", "debian", replace(FSTAB, "discard,errors", "ro,errors")),
    defect("GEN-G06", "debian", replace(GRUB, " ro ", " ro rootfstype=xfs ")),
    defect("GEN-G06", "alpine", replace("/boot/extlinux.conf", "modules=ext4", "modules=ext4 rootfstype=xfs")),
    defect("GEN-G06", "debian", append(FSTAB, f"UUID={ESP_UUID} none swap sw 0 0\n")),
    benign("GEN-G06", "debian", replace(FSTAB, "discard,errors=remount-ro", "rw,relatime,x-systemd.growfs,_netdev,"
           "usrjquota=aquota.user,jqfmt=vfsv0,commit=30,barrier=1"), alone=True),
    benign("GEN-G06", "debian", replace(GRUB, " ro ", " ro rootfstype=ext4 "), replace(FSTAB, "/ ext4", "/ auto"),
           alone=True),
    benign("GEN-G06", "suse", replace(FSTAB, "vfat umask=0077,nofail", "msdos,vfat "
           'utf8=true,uid=0,gid=0,fmask=0177,dmask=0077,shortname=winnt,context="a:b:c:s0:c1,c2",bogus'), alone=True),
    benign("GEN-G06", "rhel", replace(FSTAB, "vfat umask=0077,nofail", "vfat defaults,uid=0,gid=0,umask=077,"
           "shortname=winnt,noatime,x-systemd.automount"), alone=True),
    benign("GEN-G06", "rhel", replace(BLS, " ro ", " ro rootfstype=xfs,ext3 "), alone=True),
    benign("GEN-G06", "alpine", replace(FSTAB, "vfat umask=0077,nofail", "auto umask=0077,codepage=437"), alone=True),
    benign("GEN-G06", "alpine", replace(FSTAB, "vfat umask=0077", "ext4 umsk=0077"), alone=True),
    # GEN-G06: what dracut put in for the kernel's command line
    *(defect("GEN-G06", "rhel", in_initramfs("rhel", {f"etc/cmdline.d/{name}": f" {words}\n".encode()}))
      for name, words in (("95root-dev.conf", f"root=UUID={OTHER}"), ("95root-dev.conf", "rootfstype=xfs rootflags=x"),
                          ("90lvm.conf", "rd.lvm.lv=cl/root"), ("90crypt.conf", f"rd.luks.uuid=luks-{OTHER}"))),
    benign("GEN-G06", "rhel", in_initramfs("rhel", {
        "etc/cmdline.d/95root-dev.conf": f" root=UUID={ROOT_UUID} rootfstype=ext4 rootflags=rw,relatime\n".encode(),
        "etc/cmdline.d/00-btrfs.conf": b"# nothing\n"}), alone=True),
    *(defect("GEN-G06", "rhel", write("/etc/dracut.conf.d/x.conf", f'kernel_cmdline{text}\n'))
      for text in ('="root=/dev/sda2"', '+=" resume=/dev/sda3 "', "+='rd.lvm.lv=cl/root'")),
    benign("GEN-G06", "rhel", write("/etc/dracut.conf.d/x.conf", '#kernel_cmdline="root=/dev/sda2"\n'
           f'kernel_cmdline+=" root=UUID={ROOT_UUID} rd.hostonly=0 "\ninstall_items+=" /dev/sda2 "\n')),
    # GEN-G07: foreign mounts
    *(defect("GEN-G07", "debian", append(FSTAB, f"{line}\n")) for line in (
        "10.0.0.5:/export /mnt nfs defaults 0 0", "//files/share /mnt cifs credentials=/root/.c 0 0",
        "vagrant /vagrant vboxsf uid=1000 0 0", "host0 /mnt 9p trans=virtio 0 0",
        "/dev/sr0 /mnt iso9660 ro 0 0",
        "/dev/disk/cloud/azure_resource-part1 /mnt auto defaults 0 2")),
    benign("GEN-G07", "debian", append(FSTAB, "10.0.0.5:/export /nfs nfs nofail,_netdev 0 0\n#h:/x /y nfs\n"
                                              "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n")),
    # BT04: resume
    defect("BT04", "debian", write("/etc/initramfs-tools/conf.d/resume", f"RESUME=UUID={OTHER}\n")),
    defect("BT04", "debian", write(INITRD, initramfs(debian.KERNEL, *DRIVERS,
                                                     more={"conf/conf.d/resume": f"RESUME=UUID={OTHER}\n".encode()}))),
    defect("BT04", "rhel", in_initramfs("rhel", {"etc/cmdline.d/95resume.conf": f" resume=UUID={OTHER}\n".encode()})),
    benign("BT04", "rhel", in_initramfs("rhel", {"etc/cmdline.d/20-x.conf": b" rd.hostonly=0 noresume\n"}), alone=True),
    defect("BT04", "rhel", replace(BLS, " ro ", f" ro resume=UUID={OTHER} ")),
    defect("BT04", "debian", replace(GRUB, " ro ", " ro resume=/dev/sda5 ")),
    benign("BT04", "debian", write("/etc/initramfs-tools/conf.d/resume", f"#RESUME=UUID={OTHER}\nRESUME=none\n")),
    benign("BT04", "rhel", replace(BLS, " ro ", f" ro noresume resume=UUID={OTHER} ")),
    # GEN-G42: free space
    defect("GEN-G42", "debian", inodes(53)),
    defect("GEN-G42", "debian", inodes(700)),
    defect("GEN-G42", "debian", FULL),
    benign("GEN-G42", "debian", inodes(1500), alone=True),
    defect("GEN-G42", "debian", ALMOST),
    benign("GEN-G42", "debian", write("/srv/large", b"x" * (30 << 20)), alone=True),
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize(
    ("change", "target", "status"),
    [
        (FULL, "mgc", "fail"),
        (inodes(53), "mgc", "fail"),
        (inodes(700), "mgc", "warn"),
        (ALMOST, "mgc", "warn"),
        (ALMOST, "aws", "fail"),
    ],
)
def test_only_a_root_without_any_room_is_refused(change: Change, target: str, status: str, tmp_path: Path) -> None:
    found = broken(check(make(tmp_path / "disk.raw", "debian", change), target))["GEN-G42"]
    assert [each.status for each in found] == [status]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
