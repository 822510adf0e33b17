"""What is installed and what the disk has: packages, kernels, initramfs, fstab, device names."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.filesystem import FileSystem
from factory.inspection import Unreadable
from factory.partitions import Partition
from factory.reading import devices, fstab, initramfs, kernels, packages
from factory.reading.grub_menu import Place
from tests.boot_files import VIRTIO, apk, bzimage, cpio, dpkg, packed, rpm_ndb, rpm_sqlite
from tests.boot_files import initramfs as made
from tests.guest_tree import Content, Tree, folder, link, plant
from tests.images import needs

RELEASE = "6.1.0-18-amd64"


def guest(root: Path, files: dict[str, Content]) -> Tree:
    return Tree(plant(root, {"/etc/fstab": "", **files}))


@pytest.mark.parametrize("kind", ["none", "gzip", "bzip2", "xz", "zstd", "lz4"])
def test_initramfs_in_every_compression(tmp_path: Path, kind: str) -> None:
    if kind in ("zstd", "lz4"):
        needs(kind)
    more = {"conf/conf.d/resume": b"RESUME=none\n", "big": bytes(3 << 20)}
    tree = guest(tmp_path, {"/boot/i": made(RELEASE, *VIRTIO, kind=kind, more=more)})
    found = initramfs.read(tree, Place(None, "/boot/i"))
    assert found.modules == set(VIRTIO) and found.maker == "initramfs-tools"
    assert found.small["conf/conf.d/resume"] == b"RESUME=none\n"
    assert {"init", "kernel/x86/microcode/GenuineIntel.bin", "big"} <= found.names


def test_what_made_an_initramfs_and_what_it_knows_of_its_kernel(tmp_path: Path) -> None:
    lists = {f"lib/modules/{RELEASE}/modules.builtin": b"kernel/drivers/block/virtio_blk.ko\nkernel/fs/ext4.ko\n"}
    tree = guest(tmp_path, {"/d": made(RELEASE, maker="dracut"), "/m": made(RELEASE, maker="mkinitfs", more=lists)})
    assert initramfs.read(tree, Place(None, "/d")).maker == "dracut"
    alpine = initramfs.read(tree, Place(None, "/m"))
    assert alpine.maker == "mkinitfs" and alpine.builtin == {"virtio_blk", "ext4"}


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive", cpio({"init": b"x" * 1000})[:300], packed(cpio({"init": b""}), "gzip")[:-10],
     packed(b"070701" + b"z" * 200, "xz"), cpio({"squashfs-root.img": b"hsqs"}), cpio({"init": b""}) + b"rubbish"],
)  # fmt: skip
def test_an_initramfs_that_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    tree = guest(tmp_path, {"/boot/i": content})
    with pytest.raises(Unreadable):
        initramfs.read(tree, Place(None, "/boot/i"))


def test_packages_of_dpkg(tmp_path: Path) -> None:
    snap = {"/var/lib/snapd/snaps/amazon-ssm-agent_7993.snap": "x", "/var/lib/snapd/snaps/partial": folder()}
    tree = guest(tmp_path, {"/var/lib/dpkg/status": dpkg("bash", "nginx", remembered=("waagent",)), **snap})
    found = packages.read(tree)
    assert (found.system, dict(found.installed)) == ("dpkg", {"bash": "1.0-1", "nginx": "1.0-1"})
    assert found.snaps == ("amazon-ssm-agent",)
    assert found.evidence("nginx") == "/var/lib/dpkg/status: nginx 1.0-1"


def test_packages_of_apk_and_of_nothing(tmp_path: Path) -> None:
    tree = guest(tmp_path / "a", {"/lib/apk/db/installed": apk("busybox", "linux-virt")})
    assert dict(packages.read(tree).installed) == {"busybox": "1.0-r0", "linux-virt": "1.0-r0"}
    assert packages.read(guest(tmp_path / "b", {})).system == ""


def test_packages_of_rpm(tmp_path: Path) -> None:
    content = rpm_sqlite("bash", "gpg-pubkey", "WALinuxAgent")
    for path in ("/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite"):
        found = packages.read(guest(tmp_path / path[1:4], {path: content}))
        assert found.system == "rpm" and dict(found.installed) == {"bash": "1.0-1.el9", "WALinuxAgent": "1.0-1.el9"}
    suse = guest(tmp_path / "suse", {"/usr/lib/sysimage/rpm/Packages.db": rpm_ndb("bash", "aaa_base")})
    assert set(packages.read(suse).installed) == {"bash", "aaa_base"}


@pytest.mark.parametrize(
    "files",
    [{"/var/lib/rpm/Packages": b"\x00" * 4096}, {"/var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" + b"x" * 4096},
     {"/usr/lib/sysimage/rpm/Packages.db": b"RpmP" + b"\xff" * 8000}, {"/var/lib/rpm/rpmdb.sqlite": b""}],
)  # fmt: skip
def test_a_package_database_that_cannot_be_read_is_told(tmp_path: Path, files: dict[str, Content]) -> None:
    with pytest.raises(Unreadable):
        packages.read(guest(tmp_path, files))


def test_fstab(tmp_path: Path) -> None:
    text = "# UUID=0 / ext4\n\nUUID=1 / ext4 defaults 0 1\nLABEL=a\\040b /mnt\\040x xfs nofail,noatime\n/dev/vdb none\n"
    lines = fstab.read(guest(tmp_path, {"/etc/fstab": text}))
    assert [(each.source, each.place, each.kind, each.needed) for each in lines] == [
        ("UUID=1", "/", "ext4", True), ("LABEL=a b", "/mnt x", "xfs", False), ("/dev/vdb", "none", "auto", True),
    ]  # fmt: skip
    assert lines[0].evidence == "/etc/fstab:3: UUID=1 / ext4 defaults 0 1"


def test_device_names(tmp_path: Path) -> None:
    tree = guest(tmp_path, {})
    root = FileSystem("ext4", "root fs", "aaaa-bb")
    parts = (Partition(1, 0, 0, "", "cccc-01", "linux", root), Partition(2, 0, 0, "", "", "", FileSystem("swap")))
    object.__setattr__(tree._facts, "partitions", parts)
    disk = devices.read(tree)
    for source, kind in {
        "UUID=AAAA-BB": "there", 'UUID="aaaa-bb"': "there", "UUID=": "missing", "UUID=x": "missing",
        "LABEL=root fs": "there", "/dev/disk/by-label/root\\x20fs": "there", "PARTUUID=CCCC-01": "there",
        "PARTLABEL=linux": "there", "PARTLABEL=Linux": "missing", "LABEL=": "missing",
        "/dev/disk/by-uuid/aaaa-bb": "there", "/dev/disk/by-id/virtio-1": "name", "/dev/sda1": "name",
        "/dev/vda": "name", "/dev/nvme0n1p2": "name", "/dev/xvda1": "name", "/dev/mapper/vg-root": "missing",
        "tmpfs": "other", "server:/export": "other", "/dev/vg0/root": "missing", "/swapfile": "other",
    }.items():  # fmt: skip
        assert disk.judge(source) == kind, source
    with_lvm = (*parts, Partition(3, 0, 0, "", "", "", FileSystem("LVM2_member")))
    object.__setattr__(tree._facts, "partitions", with_lvm)
    assert devices.read(tree).judge("/dev/mapper/vg-root") == "there", "its volumes are not known"
    assert devices.mapper_name("/dev/vg-a/root_b") == "vg--a-root_b"


def test_every_kernel(tmp_path: Path) -> None:
    cfg = f"menuentry 'a' {{ linux /vmlinuz root=LABEL=x\n initrd /boot/initrd.img-{RELEASE}\n}}\n"
    tree = guest(
        tmp_path,
        {
            "/boot/grub/grub.cfg": cfg,
            "/vmlinuz": link(f"boot/vmlinuz-{RELEASE}"),
            f"/boot/vmlinuz-{RELEASE}": "k",
            f"/boot/initrd.img-{RELEASE}": "i",
            f"/lib/modules/{RELEASE}/modules.builtin": "kernel/drivers/block/virtio_blk.ko\n",
            f"/lib/modules/{RELEASE}/modules.dep": "kernel/drivers/net/virtio-net.ko.xz: kernel/net/failover.ko.xz\n",
            "/boot/vmlinuz-virt": bzimage("6.6.20-0-virt"),
            "/boot/initramfs-virt": "i",
            "/lib/modules/6.6.20-0-virt/modules.dep": "",
            "/boot/vmlinuz-5.0.old": "x",
            "/lib/modules/4.9-gone/extra": folder(),
        },
    )
    debian, alpine = kernels.read(tree)[1], kernels.read(tree)[0]
    assert (debian.release, debian.listed) == (RELEASE, True)
    assert debian.builtin == {"virtio_blk"} and debian.modules == {"virtio_net"}
    assert [each.path for each in debian.initrds] == [f"/boot/initrd.img-{RELEASE}"]
    assert (alpine.release, alpine.listed, alpine.initrds[0].path) == ("6.6.20-0-virt", False, "/boot/initramfs-virt")
    assert len(kernels.read(tree)) == 2
