"""A whole check of guests on btrfs: a healthy one passes, a defect in a subvolume or in compressed data is found."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from factory import canaries
from factory.inspection import open_image
from tests import images
from tests.btrfs_disk import MIB, Maker
from tests.btrfs_tree import CODECS, Subvolume
from tests.guest_tree import Content
from tests.rule_images import Change, Guest, broken, check, make, replace, write
from tests.trees.common import DRIVERS, ESP_UUID, OTHER_DRIVERS, ROOT_UUID, initramfs, program
from tests.trees.rhel import KERNEL as RHEL_KERNEL
from tests.trees.suse import KERNEL as SUSE_KERNEL

pytestmark = [pytest.mark.real, pytest.mark.beside]
SUBVOLUMES = {"rhel": {"/home": "home", "/var": "var"}, "suse": {"/home": "@/home", "/var": "@/var"}}


def plant(top: Subvolume, files: dict[str, Content], below: str, others: dict[str, Subvolume]) -> None:
    """Those of *files* that lie below a place, and in no other subvolume; compressed in turn by each codec."""
    folders = {"": 256}

    def folder(path: str, mode: int = 0o755) -> int:
        if path not in folders:
            parent, _, name = path.rpartition("/")
            folders[path] = top.folder(folder(parent), name.encode(), mode)
        return folders[path]

    for place in sorted(files, key=lambda path: (path.count("/"), path)):
        owner = max((each for each in others if f"{place}/".startswith(f"{each}/")), key=len, default="")
        if owner != below and place not in others:
            continue
        path = place.removeprefix(below) if owner == below else place
        content = files[place]
        parent, _, name = path.rpartition("/")
        if isinstance(content, tuple) and content[0] == "folder":
            folder(path, content[1])
        elif isinstance(content, tuple) and content[0] == "link":
            top.link(folder(parent), name.encode(), str(content[1]).encode())
        else:
            text, mode = content if isinstance(content, tuple) else (content, 0o644)
            data = (
                text if isinstance(text, bytes) else text.encode("latin-1" if isinstance(content, tuple) else "utf-8")
            )
            top.file(folder(parent), name.encode(), data, mode, tuple(CODECS)[len(top.inodes) % 3])
    for place in others:
        if not below:
            folder(place)


def on_btrfs(guest: Guest) -> None:
    """The guest's files in subvolumes, as its family has them, with every file compressed."""
    layout = SUBVOLUMES[guest.family]
    lines = [f"UUID={ROOT_UUID} {place} btrfs subvol=/{name} 0 0" for place, name in layout.items()]
    suse = guest.family == "suse"
    root = f"UUID={ROOT_UUID} / btrfs {'defaults' if suse else 'subvol=root,compress=zstd:1'} 0 0"
    guest.files["/etc/fstab"] = "\n".join([root, *lines, f"UUID={ESP_UUID} /boot/efi vfat umask=0077,nofail 0 2", ""])
    _tools(guest)
    if not suse:  # GRUB counts from the top of all, and SUSE's from the default subvolume
        guest.files["/boot/grub2/grub.cfg"] = "insmod blscfg\nset blsdir=/root/boot/loader/entries\nblscfg\n"
        entry = next(path for path in guest.files if path.startswith("/boot/loader/entries/"))
        moved = str(guest.files[entry]).replace(" /boot/", " /root/boot/")
        guest.files[entry] = moved.replace("options ", "options rootflags=subvol=root ")

    def written(path: Path, _content: Path, offset: int, _size: int, *_options: str) -> None:
        maker = Maker(default=268 if suse else 5, uuid=uuid.UUID(ROOT_UUID).bytes)
        top = maker.subvolume()
        system = maker.subvolume(268)
        others = {place: maker.subvolume(300 + number) for number, place in enumerate(layout)}
        folders = {"": (top, 256)}
        if suse:
            at, snapshots = maker.subvolume(256), maker.subvolume(257)
            top.nest(256, b"@", at)
            at.nest(256, b".snapshots", snapshots)
            snapshots.nest(snapshots.folder(256, b"1"), b"snapshot", system)
            folders["@"] = (at, 256)
        else:
            top.nest(256, b"root", system)
        for place, name in layout.items():
            parent, _, last = name.rpartition("/")
            holder, inode = folders[parent]
            holder.nest(inode, last.encode(), others[place])
        plant(system, guest.files, "", others)
        for place, tree in others.items():
            plant(tree, guest.files, place, others)
        maker.write(path, offset)

    guest.filesystem, guest.size = written, 80 * MIB


def made_by_mkfs(guest: Guest) -> None:
    """The guest's files at the top of what mkfs.btrfs makes."""
    guest.files["/etc/fstab"] = str(guest.files["/etc/fstab"]).replace(" ext4 ", " btrfs ")
    guest.filesystem, guest.size = images.btrfs, 160 * MIB
    _tools(guest)


def _tools(guest: Guest) -> None:
    kernel, name = {"rhel": (RHEL_KERNEL, "initramfs-{}.img"), "suse": (SUSE_KERNEL, "initrd-{}")}[guest.family]
    drivers = (*DRIVERS, *OTHER_DRIVERS, "btrfs")
    guest.files[f"/boot/{name.format(kernel)}"] = initramfs(kernel, *drivers, maker="dracut")
    modules = f"/usr/lib/modules/{kernel}/modules.dep"
    guest.files[modules] = str(guest.files[modules]) + "kernel/fs/btrfs/btrfs.ko:\n"
    guest.files["/usr/sbin/btrfs"] = program()


@pytest.mark.parametrize("family", ["rhel", "suse"])
@pytest.mark.parametrize("how", [on_btrfs, made_by_mkfs])
def test_a_healthy_guest_passes(tmp_path: Path, family: str, how: Change) -> None:
    found = broken(check(make(tmp_path / "disk", family, how)))
    shown = [f"{each.rule} {each.subject}: {each.evidence}" for some in found.values() for each in some]
    assert not found, "\n".join(shown)


def findings_of(path: Path, family: str, *changes: Change) -> set[str]:
    return set(broken(check(make(path, family, on_btrfs, *changes))))


@pytest.mark.parametrize("family", ["rhel", "suse"])
def test_a_defect_is_found_in_each_subvolume(tmp_path: Path, family: str) -> None:
    """Of the root, of /home and of /var; a twin that only looks like one passes."""
    assert findings_of(tmp_path / "root", family, write("/root/.bash_history", "ls\n", 0o600))
    assert findings_of(tmp_path / "home", family, write("/home/someone/.bash_history", "ls\n", 0o600))
    assert findings_of(tmp_path / "var", family, write("/var/log/messages", "Nov 22 host kernel: started\n", 0o600))
    twin = (write("/root/.bash_history", "", 0o600), write("/var/log/messages", ""))
    assert not findings_of(tmp_path / "twin", family, *twin)


def test_the_driver_of_btrfs_is_needed(tmp_path: Path) -> None:
    def without(guest: Guest) -> None:
        image = initramfs(RHEL_KERNEL, *DRIVERS, *OTHER_DRIVERS, maker="dracut")
        guest.files[f"/boot/initramfs-{RHEL_KERNEL}.img"] = image

    found = broken(check(make(tmp_path / "disk", "rhel", on_btrfs, without)))
    assert any("btrfs" in each.evidence for some in found.values() for each in some)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [("subvol=/home", "subvol=/gone", "fstab"), ("subvol=/home", "subvolid=300", "")],
)
def test_fstab_must_name_a_subvolume_that_is_there(tmp_path: Path, old: str, new: str, rule: str) -> None:
    path = make(tmp_path / "disk", "rhel", on_btrfs, replace("/etc/fstab", old, new))
    found = [each for some in broken(check(path)).values() for each in some]
    assert bool(found) == bool(rule)
    if rule:
        assert any("the disk has no such subvolume" in each.evidence for each in found)


@pytest.mark.parametrize("codec", ["", *CODECS])
def test_a_canary_in_compressed_data_is_found(tmp_path: Path, codec: str) -> None:
    """In the bytes of the disk it is not; so the files of btrfs are searched as a program would read them."""
    secret = canaries.for_text("a secret", "secret", "correct horse battery staple")
    maker = Maker()
    top, lost = maker.subvolume(), maker.subvolume(256)
    top.nest(256, b"not-mounted", lost)
    etc = top.folder(256, b"etc")
    top.file(etc, b"fstab", b"LABEL=root / btrfs defaults 0 0\n")
    # What repeats is not written out again, so the whole is nowhere on the disk.
    parts = b"correct horse b..........horse battery staple.......... "
    text = parts * 4000 + b"correct horse battery staple" + b" and more" * 5000
    top.file(etc, b"note", text, compression=codec)
    lost.file(256, b"small", parts * 20 + b"correct horse battery staple", compression=codec)
    path = maker.write(tmp_path / "disk")
    raw = canaries.search(path, [secret])
    with open_image(path) as image:
        result = canaries.search_compressed(image, [secret])
    assert bool(raw) == (not codec)
    assert [hit.where for hit in result.hits] == ["/etc/note", "/not-mounted/small"]
    assert [each.path for each in result.not_searched] == ["partition 0 (btrfs)"]
