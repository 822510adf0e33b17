"""Which partition is mounted where, by the guest's own fstab, logical volumes included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory.inspection import Unreadable, open_image
from tests import images, inspected, lvm_disk
from tests.images import MIB

pytestmark = [pytest.mark.real, pytest.mark.beside]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspected.guest(tmp_path_factory.mktemp("guest"))


@pytest.mark.parametrize(
    ("fstab", "blocked"),
    [
        (b"UUID=11111111-2222-3333-4444-555555555555 /home ext4 defaults 0 2\n", True),
        (b"/dev/mapper/vg-home /home ext4 defaults 0 2\n", True),
        (b"/dev/mapper/vg-home /home ext4 defaults,nofail 0 2\n", False),
        (b"server:/export /home nfs defaults 0 0\ntmpfs /home tmpfs defaults 0 0\n", False),
        (b"/srv /home none bind 0 0\n", False),
        (b"# /dev/mapper/vg-home /home ext4\n\nnonsense\n", False),
    ],
)
def test_what_is_mounted_from_elsewhere_cannot_be_told(tmp_path: Path, fstab: bytes, blocked: bool) -> None:
    files = dict(images.SYSTEM) | {"etc/fstab": b"LABEL=root / ext4 defaults\n" + fstab, "home/user/.ssh/id": b"x"}
    path = images.disk(tmp_path / "disk.raw", images.tree(tmp_path / "tree", files))
    with open_image(path) as image:
        assert image.exists("/etc/fstab")
        if blocked:
            with pytest.raises(Unreadable, match="fstab mounts"):
                image.exists("/home/user/.ssh/id")
            assert image.mounts()["/home"] is None
        else:
            assert image.exists("/home/user/.ssh/id")


@pytest.mark.parametrize(
    "source",
    [
        "LABEL=ESP",
        'UUID="1a2b-3c4d"',
        "/dev/vda15",
        "/dev/nvme0n1p15",
        "/dev/disk/by-uuid/1A2B-3C4D",
        "/dev/disk/by-label/ESP",
        "PARTUUID={partuuid}",
        "/dev/disk/by-partlabel/{partlabel}",
    ],
)
def test_how_fstab_may_name_a_partition(guest: Path, tmp_path: Path, source: str) -> None:
    with open_image(guest) as image:
        esp = image.partitions()[2]
    source = source.format(partuuid=esp.uuid.upper(), partlabel=esp.name.replace(" ", r"\x20"))
    files = dict(images.SYSTEM) | {"etc/fstab": f"LABEL=root / ext4\n{source} /boot/e\\040f vfat\n".encode()}
    files |= {"boot/e f/below": b""}
    tree = images.tree(tmp_path / "tree", files)
    path = inspected.copied(guest, tmp_path)
    images.ext(path, tree, images.ROOT_START, 55 * images.MIB)
    with open_image(path) as image:
        assert image.mounts() == {"/": 1, "/boot/e f": 15}
        assert image.exists("/boot/e f/EFI/BOOT/BOOTX64.EFI")


def test_two_roots_are_not_guessed_between(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    tree = images.tree(tmp_path / "tree", {"etc/os-release": b"ID=x\n"})
    images.disk(path, tree, esp={"etc/os-release": b"ID=y\n"})
    with open_image(path) as image, pytest.raises(Unreadable, match="all look like the root"):
        image.exists("/etc/os-release")


def test_logical_volumes_are_read_and_mounted_by_name(tmp_path: Path) -> None:
    root = images.tree(
        tmp_path / "tree",
        {
            "etc/fstab": b"/dev/mapper/vg--0-root / ext4 defaults 0 1\n/dev/vg-0/data /srv ext4 defaults 0 2\n",
            "srv/.keep": b"",
        },
    )
    data = images.tree(tmp_path / "data", {"file": b"on a volume"})
    for name, content in (("root", root), ("data", data)):
        images.ext(tmp_path / f"{name}.img", content, 0, 8 * MIB)
    path = tmp_path / "disk.raw"
    path.touch()
    os.truncate(path, 64 * MIB)
    images.call("sgdisk", "-n", "1:2048:0", "-t", "1:8e00", path)
    volumes = {name: tmp_path / f"{name}.img" for name in ("root", "data")}
    lvm_disk.write(path, MIB, 62 * MIB, "vg-0", volumes)
    with open_image(path) as image:
        assert image.mounts() == {"/": 1001, "/srv": 1002}
        assert image.read("/srv/file") == b"on a volume"
        assert {part.name for part in image.partitions() if part.type == "lvm"} == {"vg-0/root", "vg-0/data"}
        assert image.unreadable_partitions == {}


def test_a_damaged_group_of_volumes_is_told(tmp_path: Path) -> None:
    images.ext(tmp_path / "root.img", images.tree(tmp_path / "tree"), 0, 8 * MIB)
    path = tmp_path / "disk.raw"
    path.touch()
    os.truncate(path, 64 * MIB)
    lvm_disk.write(path, 0, 64 * MIB, "vg", {"root": tmp_path / "root.img"})
    with path.open("r+b") as file:
        file.seek(4096 + 512)
        file.write(b"vg {\nextent_size = 99999999999999\n")
    with open_image(path) as image:
        assert set(image.unreadable_partitions) == {0}
        with pytest.raises(Unreadable, match="LVM"):
            image.mounts()
