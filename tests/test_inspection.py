"""Reading files inside real images, in the confined child process, and what happens with hostile ones."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import disk, inspection, qcow2
from factory.errors import BuildError, HostError
from factory.inspection import Absent, Image, Unreadable, open_image
from tests import images, lvm_disk
from tests.images import MIB

pytestmark = pytest.mark.real
ODD = b"odd\xff\xfename"
LONG_LINK = "/" + "x" * 300
ESP = {"EFI/BOOT/BOOTX64.EFI": b"MZ the loader", "EFI/debian/grub.cfg": b"search", "A long Näme.txt": b"long"}


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with one of everything."""
    work = tmp_path_factory.mktemp("guest")
    root = images.tree(work / "tree", dict(images.SYSTEM) | {"usr/lib/thing": b"0123456789" * 1000, "etc/empty": b""})
    (root / "lib").symlink_to("usr/lib")
    links = {"abs": "/etc/fstab", "out": "../../../../../etc/fstab", "loop-a": "loop-b", "loop-b": "loop-a"}
    for name, target in (links | {"dangling": "/nowhere", "deep": "/lib/thing", "long": LONG_LINK}).items():
        (root / "etc" / name).symlink_to(target)
    (root / "etc" / "line\nbreak").write_text("two lines")
    Path(os.fsdecode(bytes(root) + b"/etc/" + ODD)).write_text("odd")
    (root / "etc" / "to-odd").symlink_to(os.fsdecode(ODD))
    os.mkfifo(root / "etc" / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(root / "etc")  # the name of a socket is short
        bound.bind("socket")
        os.chdir(here)
    (root / "usr" / "su").write_bytes(b"x")
    (root / "usr" / "su").chmod(0o6755)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    os.utime(root / "usr" / "su", (0, 1_000_000_000))
    os.setxattr(root / "usr" / "su", "user.short", b"value")
    os.setxattr(root / "usr" / "lib" / "thing", "user.long", b"v" * 200)
    with (root / "huge").open("wb") as file:
        file.truncate(10 << 30)
        file.seek(5 << 30)
        file.write(b"middle")
    path = images.disk(work / "disk.raw", root, "-b", "4096", esp=ESP)
    images.debugfs(path, "sif /usr/su uid 100000", "sif /usr/su gid 70000", "mknod console c 5 1", "mknod sda b 8 0")
    return path


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


def edited(guest: Path, tmp_path: Path) -> Path:
    """A copy of the disk to be damaged."""
    return Path(shutil.copy(guest, tmp_path / "damaged.raw"))


def block_of(path: Path, name: str) -> int:
    """The byte at which the first block of a file lies."""
    return images.ROOT_START + 4096 * int(images.debugfs(path, f"bmap {name} 0").split()[-1])


@pytest.mark.parametrize("junk", [bytes(4096), b"\xff" * 4096, os.urandom(4096)], ids=["zeros", "ones", "noise"])
def test_a_damaged_directory_is_not_an_empty_one(guest: Path, tmp_path: Path, junk: bytes) -> None:
    path = edited(guest, tmp_path)
    place = block_of(path, "/usr/lib")
    with path.open("r+b") as file:
        file.seek(place)
        file.write(junk)
    with open_image(path) as image:
        for look in (lambda: image.listdir("/usr/lib"), lambda: image.exists("/usr/lib/x"), lambda: list(image.walk())):
            with pytest.raises(Unreadable, match=r"damaged|impossible"):
                look()
        assert image.exists("/usr/su")


def test_a_damaged_etc_is_not_an_empty_disk(guest: Path, tmp_path: Path) -> None:
    path = edited(guest, tmp_path)
    place = block_of(path, "/etc")
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(4096))
    with open_image(path) as image, pytest.raises(Unreadable, match="damaged"):
        image.exists("/etc/shadow")


def test_a_name_for_an_inode_that_is_not_in_use(guest: Path, tmp_path: Path) -> None:
    path = edited(guest, tmp_path)
    images.debugfs(path, "clri /usr/su", "freei /usr/su")
    with open_image(path) as image, pytest.raises(Unreadable):
        image.stat("/usr/su")


def test_a_directory_inside_itself_ends(guest: Path, tmp_path: Path) -> None:
    path = edited(guest, tmp_path)
    images.debugfs(path, "ln /usr /usr/lib/again")
    with open_image(path) as image, pytest.raises(Unreadable, match="more than one name"):
        list(image.walk())


def test_a_name_with_a_slash_is_damage(guest: Path, tmp_path: Path) -> None:
    path = edited(guest, tmp_path)
    place = block_of(path, "/usr")
    with path.open("r+b") as file:
        file.seek(place)
        block = file.read(4096)
        file.seek(place)
        file.write(block.replace(b"lib", b"l/b"))
    with open_image(path) as image, pytest.raises(Unreadable, match="impossible name"):
        image.listdir("/usr")


@pytest.mark.parametrize("number", range(12))
def test_any_damage_is_an_answer_or_unreadable(guest: Path, tmp_path: Path, number: int) -> None:
    path = edited(guest, tmp_path)
    generator = random.Random(number)
    with path.open("r+b") as file:
        for _ in range(200):
            file.seek(images.ROOT_START + generator.choice([generator.randrange(8192), generator.randrange(2 << 20)]))
            file.write(generator.randbytes(generator.choice([1, 4, 64])))
    try:
        with open_image(path, timeout=60) as image:
            for name, stat in image.walk("/"):
                if stat.kind == "file":
                    image.head(name, 10_000)
                elif stat.kind == "symlink":
                    image.readlink(name)
    except Unreadable as error:
        assert error.cause or error.message


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
    path = edited(guest, tmp_path)
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


@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
@pytest.mark.parametrize("cluster", ["4096", "65536", "2097152"])
def test_qcow2_of_any_compression_reads_as_the_raw_disk(
    guest: Path, tmp_path: Path, compression: str, cluster: str
) -> None:
    packed = tmp_path / "packed.qcow2"
    options = {"compression_type": "zstd" if compression == "zstd" else "zlib", "cluster_size": cluster}
    disk.convert(guest, "raw", packed, "qcow2", compress=compression != "none", options=options)
    with packed.open("rb") as file:
        read = qcow2.Qcow2(lambda place, size: os.pread(file.fileno(), size, place))
        assert b"".join(read.pread(place, 999_999) for place in range(0, read.size, 999_999)) == guest.read_bytes()
    with open_image(packed) as image:
        assert image.read("/etc/deep") == b"0123456789" * 1000
        assert image.read("/boot/efi/EFI/debian/grub.cfg") == b"search"


def test_damaged_compressed_data_is_told(guest: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.qcow2"
    disk.convert(guest, "raw", packed, "qcow2", compress=True)
    data = bytearray(packed.read_bytes())
    data[5 << 16 :] = b"\xff" * (len(data) - (5 << 16))
    packed.write_bytes(data)
    with pytest.raises(Unreadable), open_image(packed) as image:
        list(image.walk())


def test_a_qcow2_that_refers_to_another_file_is_refused(guest: Path, tmp_path: Path) -> None:
    disk.convert(guest, "raw", tmp_path / "plain.qcow2", "qcow2")
    disk.create_overlay(tmp_path / "plain.qcow2", "qcow2", tmp_path / "over.qcow2")
    with pytest.raises(Unreadable, match="backing file"):
        open_image(tmp_path / "over.qcow2")
    with open_image(tmp_path / "plain.qcow2", format="raw") as image, pytest.raises(Unreadable, match="no partitions"):
        image.exists("/etc/fstab")


@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 20])
def test_noise_is_no_image(tmp_path: Path, size: int) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(size))
    with open_image(tmp_path / "noise") as image:
        with pytest.raises(Unreadable):
            image.exists("/etc/shadow")
        with pytest.raises(Unreadable):
            image.mounts()


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Reading an image"):
        open_image(tmp_path / "none")


def test_the_child_has_no_rights(guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-parsers")
    with open_image(guest) as image:
        process = image._child.pid
        proc = Path("/proc", str(process))
        limits = dict(re.findall(r"^(Max [a-z ]+?)  +\S+ +(\S+)", (proc / "limits").read_text(), re.MULTILINE))
        assert limits["Max open files"] == limits["Max processes"] == limits["Max core file size"] == "0"
        assert int(limits["Max address space"]) <= 1 << 30
        assert int(limits["Max cpu time"]) <= 600
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0 or os.geteuid() != 0
        if os.geteuid() == 0:
            assert "0" not in status["Uid"].split()
            # Nothing of the host, only the mark by which gc finds what a dead run left.
            assert re.fullmatch(rb"(IMAGE_FACTORY_OWNER=[^\0]*\0)?", (proc / "environ").read_bytes())
            opened = {os.readlink(link) for link in (proc / "fd").iterdir()}
            assert {name for name in opened if name.startswith("/") and not name.startswith("/tmp/#")} <= {
                str(guest)
            } | {name for name in opened if "(deleted)" in name}


def test_a_child_that_dies_is_not_silence(guest: Path) -> None:
    with open_image(guest) as image:
        image._child.send_signal(signal.SIGKILL)
        with pytest.raises(Unreadable, match="it ended"):
            image.exists("/etc/fstab")
        with pytest.raises(Unreadable, match="any more"):
            image.exists("/etc/fstab")


def test_a_child_that_hangs_is_ended(guest: Path) -> None:
    with open_image(guest, timeout=0.5) as image:
        image._child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unreadable, match="too long"):
            image.exists("/etc/fstab")
        assert time.monotonic() - began < 5
        assert image._child.poll() is not None


@pytest.mark.parametrize(
    "answer",
    [
        "b'garbage ' * 100",
        "b'\\0\\0\\0\\4\\0\\0\\0\\0' + b'null'",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0' + b'{}'",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0' + b'[]'",
        "b'\\x7f\\xff\\xff\\xff' * 2",
        "b'\\0\\0\\0\\x09\\0\\0\\0\\0' + b'{\"size\":\"'",
        "b'\\0\\0\\1\\0\\0\\0\\0\\0' + b'[' * 256",
        "b''",
    ],
)
def test_garbage_is_not_an_answer(guest: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    code = f"import sys; sys.stdout.buffer.write({answer}); sys.stdout.flush(); sys.stdin.read(4)"
    monkeypatch.setattr(inspection, "_START", code)
    with pytest.raises(Unreadable):
        open_image(guest, timeout=20)


def test_nothing_is_left_running(guest: Path) -> None:
    image = open_image(guest)
    process = image._child.pid
    image.close()
    image.close()
    assert not Path("/proc", str(process)).exists()
    with pytest.raises(Unreadable, match="closed"):
        image.exists("/")


def test_the_child_ends_with_the_factory(guest: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from factory.inspection import open_image\n"
        "print(open_image(Path(sys.argv[1]))._child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, "-c", code, str(guest)]
    environment = os.environ | {"PYTHONPATH": str(Path(inspection.__file__).parent.parent)}
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    process = Path("/proc", done.stdout.decode().strip())
    deadline = time.monotonic() + 10
    assert process.name.isdigit(), done.stderr
    while runs(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(process)


def runs(process: Path) -> bool:
    """Whether the process is there, and not only waits for somebody to take its exit status."""
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


def test_many_threads_may_ask(image: Image) -> None:
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(100):
            for path, content in (("/etc/hostname", b"guest\n"), ("/boot/efi/EFI/debian/grub.cfg", b"search")):
                if image.read(path) != content:
                    wrong.append(path)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


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
