"""Reading files inside real images, in the confined child process: each file system, links, names, attributes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.errors import BuildError
from factory.inspection import Absent, Image, Unreadable, open_image
from tests import images, inspected
from tests.inspected import LONG_LINK, ODD

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspected.guest(tmp_path_factory.mktemp("guest"))


@pytest.fixture(scope="module")
def image(guest: Path) -> Iterator[Image]:
    with open_image(guest) as opened:
        yield opened


def test_partitions_and_mounts(image: Image) -> None:
    assert image.table == "gpt"
    assert image.size == 64 * images.MIB
    assert [(part.number, part.filesystem and part.filesystem.kind) for part in image.partitions()] == [
        (1, "ext4"),
        (14, None),
        (15, "vfat"),
    ]
    assert image.mounts() == {"/": 1, "/boot/efi": 15}
    assert not image.unreadable_partitions
    assert not image.faults


def test_stat(image: Image) -> None:
    found = image.stat("/usr/su")
    assert found is not None
    assert (found.kind, found.mode, found.uid, found.gid, found.size) == ("file", 0o6755, 100000, 70000, 1)
    assert (found.mtime, found.links, found.partition) == (1_000_000_000, 1, 1)
    kinds = {name: stat.kind for name, stat in [*image.scan("/etc"), *image.scan("/")]}
    assert (
        kinds
        | {
            "fifo": "fifo",
            "socket": "socket",
            "abs": "symlink",
            "usr": "dir",
            "console": "char",
            "sda": "block",
        }
        == kinds
    )
    sticky = image.stat("/tmp")
    assert sticky is not None
    assert sticky.mode == 0o1777
    assert image.stat("/etc/none") is None
    assert image.stat("/etc/fstab/below") is None
    assert image.exists("/etc/dangling")
    assert image.stat("/etc/dangling", follow=True) is None


def test_links_stay_inside_the_guest(image: Image) -> None:
    fstab = images.SYSTEM["etc/fstab"]
    assert image.read("/etc/abs") == image.read("/etc/out") == image.read("/../../etc/./fstab") == fstab
    assert image.read("/etc/deep") == image.read("/lib/thing") == b"0123456789" * 1000
    assert image.readlink("/etc/long") == LONG_LINK
    assert image.readlink("/etc/loop-a") == "loop-b"
    for path in ("/etc/loop-a", "/etc/loop-a/below"):
        with pytest.raises(Unreadable, match="loop"):
            image.read(path)
    with pytest.raises(Absent):
        image.read("/etc/dangling")
    with pytest.raises(Unreadable, match="not a symlink"):
        image.readlink("/etc/fstab")


def test_any_name_can_be_read(image: Image) -> None:
    odd = os.fsdecode(ODD)
    assert image.read(f"/etc/{odd}") == b"odd"
    assert image.readlink("/etc/to-odd") == odd
    assert image.read("/etc/to-odd") == b"odd"
    assert image.read("/etc/line\nbreak") == b"two lines"
    assert {odd, "line\nbreak"} <= set(image.listdir("/etc"))
    assert image.glob("/etc/odd*") == [f"/etc/{odd}"]


def test_reading(image: Image) -> None:
    assert image.read("/etc/empty") == b""
    assert image.head("/usr/lib/thing", 5) == b"01234"
    with pytest.raises(Unreadable, match="more than the 1000"):
        image.read("/usr/lib/thing", limit=1000)
    assert b"".join(image.chunks("/usr/lib/thing", size=999)) == b"0123456789" * 1000
    with pytest.raises(Absent) as caught:
        image.read("/none")
    assert caught.value.code == "inspection.absent"
    assert isinstance(caught.value, BuildError)
    for path, what in (("/etc", "not a file"), ("/etc/fifo", "not a file")):
        with pytest.raises(Unreadable, match=what):
            image.read(path)
    with pytest.raises(Unreadable, match="not a directory"):
        image.listdir("/etc/fstab")


def test_a_huge_sparse_file_costs_nothing(image: Image) -> None:
    with pytest.raises(Unreadable) as caught:
        image.read("/huge")
    assert caught.value.code == "inspection.too-large"
    assert image.head("/huge", 3) == bytes(3)
    _, middle = image._content("/huge", (5 << 30) - 1, 8, None)
    assert middle == b"\0middle\0"


def test_fat_below_its_mount_point(image: Image) -> None:
    assert image.read("/boot/efi/EFI/BOOT/BOOTX64.EFI") == b"MZ the loader"
    assert image.read("/boot/efi/efi/boot/bootx64.efi") == b"MZ the loader"  # FAT knows no case
    assert image.listdir("/boot/efi") == ["A long Näme.txt", "EFI"]
    found = image.stat("/boot/efi")
    assert found is not None
    assert found.partition == 15


def test_one_partition_alone(image: Image) -> None:
    assert image.read("/EFI/debian/grub.cfg", partition=15) == b"search"
    assert image.listdir("/boot/efi", partition=1) == ["hidden-below-the-mount"]
    with pytest.raises(Unreadable, match="partition 14"):
        image.listdir("/", partition=14)


def test_walk_and_glob(image: Image) -> None:
    paths = [path for path, _ in image.walk("/")]
    assert len(paths) == len(set(paths))
    assert "/boot/efi/EFI/BOOT/BOOTX64.EFI" in paths
    assert "/lib/thing" not in paths  # a link is not followed
    assert paths.index("/usr") < paths.index("/usr/lib") < paths.index("/usr/lib/thing")
    assert [path for path, _ in image.walk("/boot/")] == [path for path in paths if path.startswith("/boot/")]
    assert list(image.walk("/none")) == list(image.walk("/etc/fstab")) == []
    assert image.glob("/etc/*-release") == ["/etc/os-release"]
    assert image.glob("/**/grub.cfg") == ["/boot/efi/EFI/debian/grub.cfg"]
    assert image.glob("/*/lib/thing") == ["/usr/lib/thing"]
    assert image.glob("/lib/th?ng") == ["/lib/thing"]
    assert image.glob("/none/*") == image.glob("/etc/fstab/*") == []
    assert image.glob("/etc/fstab") == ["/etc/fstab"]


def test_extended_attributes(image: Image) -> None:
    assert image.xattrs("/usr/su") == {"user.short": b"value"}
    assert image.xattrs("/etc/fstab") == {}
    with pytest.raises(Unreadable, match="too long"):  # libfsext gives zeros for it
        image.xattrs("/usr/lib/thing")


def test_a_walk_agrees_with_the_host(tmp_path: Path) -> None:
    """19,000 files in a second or so; every name, size and mode against the folder that the image was made from."""
    files = {f"many/{number // 500}/file-{number}": b"x" * (number % 300) for number in range(19_000)}
    root = images.tree(tmp_path / "tree", dict(images.SYSTEM) | files)
    path = images.disk(tmp_path / "disk.raw", root, "-b", "4096", "-N", "30000", size=200 * images.MIB)
    with open_image(path) as image:
        began = time.monotonic()
        seen = {name: (stat.size, stat.mode) for name, stat in image.walk("/") if stat.kind == "file"}
        seconds = time.monotonic() - began
    expected = {}
    for folder, _, names in os.walk(root):
        for name in names:
            found = Path(folder, name).lstat()
            expected["/" + str(Path(folder, name).relative_to(root))] = (found.st_size, found.st_mode & 0o7777)
    assert seen == expected
    assert seconds < 10  # about 0.4 on a small machine; it must not become minutes


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-t", "ext2"), id="ext2"),
        pytest.param(("-t", "ext3"), id="ext3"),
        pytest.param(("-b", "1024"), id="1k"),
        pytest.param(("-O", "^metadata_csum,^64bit,^extent"), id="no-extents"),
        pytest.param(("-O", "metadata_csum_seed,large_dir,casefold,ea_inode"), id="new-features"),
    ],
)
def test_other_kinds_of_ext(tmp_path: Path, options: tuple[str, ...]) -> None:
    data = os.urandom(3 * images.MIB)
    path = images.disk(
        tmp_path / "disk.raw", images.tree(tmp_path / "tree", dict(images.SYSTEM) | {"data": data}), *options
    )
    with open_image(path) as image:
        assert image.read("/data") == data
        assert image.read("/etc/hostname") == b"guest\n"


def test_features_that_would_be_misread_are_refused(tmp_path: Path) -> None:
    path = images.disk(tmp_path / "disk.raw", images.tree(tmp_path / "tree"), "-O", "inline_data")
    with open_image(path) as image:
        assert "features" in image.unreadable_partitions[1]
        with pytest.raises(Unreadable, match="features"):
            image.exists("/etc/anything", partition=1)
        with pytest.raises(Unreadable, match="no partition holds the root"):
            image.exists("/etc/anything")


XFS = """d--755 0 0
etc d--755 0 0
 fstab ---644 0 0 {fstab}
 passwd -u-755 1000 70000 {fstab}
 loop l--777 0 0 loop
 abs l--777 0 0 /etc/fstab
 fifo p--644 0 0
 null c--666 0 0 1 3
$
many d--755 0 0
{many}$
$
"""


@pytest.mark.parametrize("options", [(), ("-m", "crc=0"), ("-i", "nrext64=1"), ("-m", "rmapbt=1")])
def test_xfs(tmp_path: Path, options: tuple[str, ...]) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_bytes(b"LABEL=root / xfs defaults 0 0\n")
    many = "".join(f" file-{number} ---600 0 0 {fstab}\n" for number in range(3000))
    path = images.xfs(tmp_path / "disk.raw", XFS.format(fstab=fstab, many=many), *options)
    with open_image(path) as image:
        assert image.mounts() == {"/": 0}
        assert image.read("/etc/abs") == fstab.read_bytes()
        found = image.stat("/etc/passwd")
        assert found is not None
        assert (found.kind, found.mode, found.uid, found.gid) == ("file", 0o4755, 1000, 70000)
        assert abs(found.mtime - time.time()) < 600
        assert len(image.listdir("/many")) == 3000
        assert image.stat("/many/file-2999") is not None
        assert image.stat("/etc/none") is None
        with pytest.raises(Unreadable, match="loop"):
            image.read("/etc/loop")


def test_a_name_that_xfs_cannot_show_is_not_left_out(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_bytes(b"LABEL=root / xfs defaults 0 0\n")
    path = images.xfs(tmp_path / "disk.raw", XFS.format(fstab=fstab, many=""))
    data = path.read_bytes()
    assert data.count(b"passwd") == 1
    path.write_bytes(data.replace(b"passwd", b"pa\xff\xfewd"))
    with open_image(path) as image:
        assert image.read("/etc/fstab") == fstab.read_bytes()
        assert not image.exists("/etc/none")
        for look in (lambda: image.listdir("/etc"), lambda: image.exists(os.fsdecode(b"/etc/pa\xff\xfewd"))):
            with pytest.raises(Unreadable, match="1 names"):
                look()
        with pytest.raises(Unreadable):
            list(image.walk("/"))
