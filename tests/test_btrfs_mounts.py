"""Which subvolume of a btrfs is the root of a guest, and what its fstab mounts: as the guest would see it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from factory import checking, targets
from factory.inspection import Unreadable, open_image
from factory.reading import boot_entries
from tests.btrfs_disk import FSID, Maker
from tests.btrfs_tree import Subvolume

pytestmark = [pytest.mark.real, pytest.mark.beside]


def system(tree: Subvolume, fstab: str = "", name: str = "guest") -> int:
    """The least that makes a tree the root of a guest; the inode of /etc."""
    etc = tree.folder(256, b"etc")
    tree.file(etc, b"fstab", fstab.encode())
    tree.file(etc, b"os-release", b"ID=fedora\n")
    tree.file(etc, b"hostname", name.encode() + b"\n")
    return etc


def fedora(fstab: str) -> Maker:
    """The subvolumes root and home below an empty top, which is the default one."""
    maker = Maker()
    top, root, home = maker.subvolume(), maker.subvolume(256), maker.subvolume(257)
    top.nest(256, b"root", root)
    top.nest(256, b"home", home)
    system(root, fstab)
    root.folder(256, b"home")
    home.file(home.folder(256, b"user"), b"note", b"mine")
    return maker


def opensuse(fstab: str) -> Maker:
    """The default subvolume is a snapshot, which .snapshots holds; @/home and others are beside it."""
    maker = Maker(default=268)
    top, at = maker.subvolume(), maker.subvolume(256)
    snapshots, root, home, older = (maker.subvolume(number) for number in (267, 268, 259, 270))
    top.nest(256, b"@", at)
    at.nest(256, b".snapshots", snapshots)
    at.nest(256, b"home", home)
    for name, tree in ((b"1", root), (b"2", older)):
        folder = snapshots.folder(256, name)
        snapshots.file(folder, b"info.xml", b"<snapshot/>")
        snapshots.nest(folder, b"snapshot", tree)
        system(tree, fstab, "now" if tree is root else "before")
        tree.folder(256, b".snapshots")
        tree.folder(256, b"home")
    home.file(home.folder(256, b"user"), b"note", b"mine")
    return maker


FEDORA = "LABEL=root / btrfs subvol=root,compress=zstd:1 0 0\nLABEL=root /home btrfs subvol=home,compress=zstd:1 0 0\n"
OPENSUSE = (
    "LABEL=root / btrfs defaults 0 0\nLABEL=root /home btrfs subvol=/@/home 0 0\n"
    "LABEL=root /.snapshots btrfs subvol=/@/.snapshots 0 0\n"
)


def test_subvolumes_are_mounted_as_fedora_does(tmp_path: Path) -> None:
    with open_image(fedora(FEDORA).write(tmp_path / "disk")) as image:
        assert image.mounts() == {"/": 0, "/home": 0}
        assert image.read("/etc/hostname") == b"guest\n"
        assert image.read("/home/user/note") == b"mine"
        assert sorted(image.listdir("/", partition=0)) == ["home", "root"]
        assert {place: top.path for place, top in image.tops().items()} == {"/": "/root", "/home": "/home"}
        assert [path for path, _ in image.walk("/")].count("/home/user/note") == 1


def test_the_default_subvolume_is_the_root_as_on_opensuse(tmp_path: Path) -> None:
    with open_image(opensuse(OPENSUSE).write(tmp_path / "disk")) as image:
        assert image.read("/etc/hostname") == b"now\n"
        assert image.read("/home/user/note") == b"mine"
        assert image.read("/.snapshots/1/snapshot/etc/hostname") == b"now\n"
        assert image.read("/.snapshots/2/snapshot/etc/hostname") == b"before\n"
        paths = [path for path, _ in image.walk("/")]
        # The root is seen again below its own snapshots: its files are told once, those of other snapshots too.
        assert "/.snapshots/1/snapshot" in paths
        assert "/.snapshots/1/snapshot/etc" not in paths
        assert "/.snapshots/2/snapshot/etc/hostname" in paths
        below = [path for path, _ in image.walk("/.snapshots")]
        assert "/.snapshots/1/snapshot/etc/hostname" in below
        assert len(set(paths)) == len(paths)
        assert image.tops()["/"].path == ""


@pytest.mark.parametrize("place", ["/srv/data", "/link/data", "/link/away"])
def test_a_subvolume_that_no_walk_meets_at_its_place_is_walked_where_it_is(tmp_path: Path, place: str) -> None:
    maker = Maker()
    top, data = maker.subvolume(), maker.subvolume(256)
    system(top, f"LABEL=root / btrfs defaults 0 0\nLABEL=root {place} btrfs subvol=data 0 0\n")
    top.nest(256, b"data", data)
    top.link(256, b"link", b"/")
    data.file(256, b"note", b"mine")
    with open_image(maker.write(tmp_path / "disk")) as image:
        assert "/data/note" in dict(image.walk("/"))


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ("subvol=home", ["user"]),
        ("subvol=/home/", ["user"]),
        ("subvolid=257", ["user"]),
        ("subvolid=0x101,subvol=home", ["user"]),
        ("defaults", ["home", "root"]),
        ("subvolid=5", ["home", "root"]),
        ("subvolid=0", ["home", "root"]),
        ("subvol=/", ["home", "root"]),
        ("subvol=none,nofail", []),
        ("subvol=home,subvolid=256,nofail", []),
    ],
)
def test_what_options_of_fstab_mount(tmp_path: Path, options: str, seen: list[str]) -> None:
    fstab = f"LABEL=root / btrfs subvol=root 0 0\nLABEL=root /home btrfs {options} 0 0\n"
    with open_image(fedora(fstab).write(tmp_path / "disk")) as image:
        assert image.read("/etc/hostname") == b"guest\n"
        assert image.listdir("/home") == seen


@pytest.mark.parametrize("options", ["subvol=none", "subvolid=999", "subvolid=x", "subvol=home/user", "subvolid=7"])
def test_a_subvolume_that_is_not_there_cannot_be_looked_at(tmp_path: Path, options: str) -> None:
    fstab = f"LABEL=root / btrfs subvol=root 0 0\nLABEL=root /home btrfs {options} 0 0\n"
    with open_image(fedora(fstab).write(tmp_path / "disk")) as image:
        assert image.mounts() == {"/": 0, "/home": None}
        with pytest.raises(Unreadable, match="fstab mounts LABEL=root at /home"):
            image.listdir("/home")


def test_the_kernel_is_told_another_subvolume_than_fstab_says(tmp_path: Path) -> None:
    maker = fedora(FEDORA)
    other = maker.subvolume(300)
    system(other, FEDORA, "other")
    maker.trees[5].nest(256, b"other", other)
    other.folder(256, b"home")
    boot = other.folder(256, b"boot")
    entries = other.folder(other.folder(boot, b"loader"), b"entries")
    other.file(entries, b"x.conf", b"linux /vmlinuz\noptions root=LABEL=root rootflags=subvol=other ro\n")
    with open_image(maker.write(tmp_path / "disk")) as image:
        assert image.read("/etc/hostname") == b"other\n"
        assert image.read("/home/user/note") == b"mine"


def test_two_subvolumes_that_may_both_be_the_root(tmp_path: Path) -> None:
    maker = fedora("")
    other = maker.subvolume(300)
    system(other, "", "other")
    maker.trees[5].nest(256, b"other", other)
    with open_image(maker.write(tmp_path / "disk")) as image, pytest.raises(Unreadable) as raised:
        image.mounts()
    assert "2 subvolumes of partition 0 look like the root" in raised.value.cause


def test_what_fstab_says_of_itself_comes_before_the_default(tmp_path: Path) -> None:
    maker = fedora(FEDORA)
    system(maker.trees[5], "", "at the top")
    with open_image(maker.write(tmp_path / "disk")) as image:
        assert image.read("/etc/hostname") == b"guest\n"


def test_without_a_word_the_default_is_the_root(tmp_path: Path) -> None:
    maker = fedora("")
    system(maker.trees[5], "", "at the top")
    with open_image(maker.write(tmp_path / "disk")) as image:
        assert image.read("/etc/hostname") == b"at the top\n"


def test_a_snapshot_with_the_same_fstab_is_not_the_root(tmp_path: Path) -> None:
    maker = fedora(FEDORA)
    older = maker.subvolume(300)
    system(older, FEDORA, "before")
    maker.trees[5].nest(256, b"older", older)
    with open_image(maker.write(tmp_path / "disk")) as image:
        assert image.read("/etc/hostname") == b"guest\n"


def test_boot_entries_in_a_subvolume(tmp_path: Path) -> None:
    """GRUB counts paths from the top of the partition; they are told as the guest has them."""
    maker = fedora(FEDORA)
    root = maker.trees[256]
    boot = root.folder(256, b"boot")
    menu = "search --fs-uuid --set=root 00000000-0000-0000-0000-000000001111\nmenuentry 'one' {\n"
    menu += "linux /root/boot/vmlinuz root=LABEL=root rootflags=subvol=root\ninitrd /root/boot/initrd\n}\n"
    root.file(root.folder(boot, b"grub"), b"grub.cfg", menu.encode())
    root.file(boot, b"vmlinuz", b"MZ")
    root.file(boot, b"initrd", b"x")
    with open_image(maker.write(tmp_path / "disk")) as image:
        (entry,) = boot_entries.read(image).entries
        assert (entry.path, entry.kernel.path, entry.kernel.there) == ("/boot/grub/grub.cfg", "/boot/vmlinuz", True)
        assert [initrd.path for initrd in entry.initrds] == ["/boot/initrd"]


@pytest.mark.parametrize("place", ["/home", "/home/", "//home", "/./home/.", "/root/../home"])
def test_the_place_of_a_mount_is_taken_as_the_kernel_takes_it(tmp_path: Path, place: str) -> None:
    maker = fedora(f"LABEL=root / btrfs subvol=root 0 0\nLABEL=root {place} btrfs subvol=home 0 0\n")
    with open_image(maker.write(tmp_path / "disk")) as image:
        assert sorted(image.tops()) == ["/", "/home"]
        assert image.read("/home/user/note") == b"mine"


@pytest.mark.parametrize("flags", ["subvol=root", "subvol=gone"])
def test_rootflags_must_name_a_subvolume(tmp_path: Path, flags: str) -> None:
    name = "UUID=00000000-0000-0000-0000-000000001111"
    maker = fedora(f"{name} / btrfs subvol=root 0 0\n")
    root = maker.trees[256]
    menu = f"menuentry 'one' {{\nlinux /root/boot/vmlinuz root={name} rootflags={flags}\n}}\n"
    root.file(root.folder(root.folder(256, b"boot"), b"grub"), b"grub.cfg", menu.encode())
    findings = checking.check(maker.write(tmp_path / "disk"), [targets.load("generic")])
    told = [each for each in findings if "rootflags=subvol=gone" in each.evidence and each.status == "fail"]
    assert bool(told) == (flags == "subvol=gone")


@pytest.mark.parametrize("prefix", ["", "/@"])
def test_a_kernel_below_the_default_subvolume_is_found_from_there_and_from_the_top_of_all(
    tmp_path: Path, prefix: str
) -> None:
    """openSUSE's GRUB begins at the default subvolume, every other one at the top of all."""
    maker = Maker(default=256)
    top, root = maker.subvolume(), maker.subvolume(256)
    top.nest(256, b"@", root)
    system(root, "LABEL=root / btrfs defaults 0 0\n")
    boot = root.folder(256, b"boot")
    for name in (b"vmlinuz-6.1", b"initrd.img-6.1"):
        root.file(boot, name, b"x")
    search = f"search --fs-uuid --set=root {uuid.UUID(bytes=FSID)}\n"
    lines = f"linux {prefix}/boot/vmlinuz-6.1 root=LABEL=root\ninitrd {prefix}/boot/initrd.img-6.1\n"
    gone = f"menuentry b {{\n{search}linux {prefix}/boot/vmlinuz-5.10\n}}\n"
    menu = f"menuentry a {{\n{search}{lines}}}\n{gone}"
    root.file(root.folder(boot, b"grub"), b"grub.cfg", menu.encode())
    with open_image(maker.write(tmp_path / "disk")) as image:
        found = boot_entries.read(image)
        here, other = found.entries
        assert [(file.path, file.there) for file in (here.kernel, *here.initrds)] == [
            ("/boot/vmlinuz-6.1", True),
            ("/boot/initrd.img-6.1", True),
        ]
        assert (other.kernel.path, other.kernel.there) == ("/boot/vmlinuz-5.10", False)
        assert image.tops()["/"].full == "/@"
        assert sorted(image.listdir("/", partition=0)) == sorted(image.listdir("/"))
