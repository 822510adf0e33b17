"""btrfs: what mkfs.btrfs makes and what kernels make reads as it was written, and damage is told."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from factory import partitions
from factory.inspection import Image, open_image
from tests import images, lvm_disk
from tests.btrfs_disk import MIB, Maker
from tests.btrfs_tree import LAST, SECTOR, Subvolume
from tests.images import needs

pytestmark = [pytest.mark.real, pytest.mark.beside]
CODECS = ("zlib", "lzo", "zstd")
TEXT = b"".join(b"line %d of a text that can be compressed\n" % number for number in range(20_000))


def plain_tree(root: Path) -> Path:
    """Files of every kind, deep and wide."""
    generator = random.Random(1)
    (root / "deep").mkdir(parents=True)
    for number in range(1200):
        folder = root / f"wide/{number % 40}/x{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(generator.randbytes(generator.choice([0, 1, 100, 2000, 4096, 9000])))
    at = root / "deep"
    for number in range(60):
        at = at / f"d{number}"
        at.mkdir()
    (at / "end").write_text("the end")
    (root / "big").write_bytes(generator.randbytes(9 * MIB + 123))
    with (root / "sparse").open("wb") as file:
        file.truncate(40 * MIB)
        file.seek(17 * MIB + 5)
        file.write(b"middle")
    (root / "etc").mkdir()
    (root / "etc/fstab").write_text("LABEL=root / btrfs defaults 0 0\n")
    (root / "link").symlink_to("etc/fstab")
    (root / "long-link").symlink_to("/" + "x" * 3000)
    os.link(root / "big", root / "big-again")
    os.mkfifo(root / "fifo")
    Path(os.fsdecode(bytes(root) + b"/odd\xff\xfename")).write_text("odd")
    (root / ("n" * 255)).write_text("a long name")
    (root / "etc/su").write_bytes(b"x")
    os.setxattr(root / "etc/su", "user.short", b"value")
    os.setxattr(root / "etc/su", "user.long", b"v" * 3000)
    os.setxattr(root / "etc", "user.of-a-folder", b"")
    if os.geteuid() == 0:
        os.chown(root / "etc/su", 100_000, 70_000)
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "etc/su").chmod(0o6755)  # chown takes these bits away
    os.utime(root / "etc/su", (0, 1_000_000_000))
    return root


def agree(image: Image, root: Path, *, below: str = "", xattrs: bool = True) -> int:
    """Every file of *image* is as it is in *root*, and none is missing; how many there are."""
    seen = set()
    for path, found in image.walk(below or "/"):
        name = path.removeprefix(below).lstrip("/")
        seen.add(name)
        real = root / name
        status = real.lstat()
        kinds = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO,
                 "char": stat.S_IFCHR, "block": stat.S_IFBLK, "socket": stat.S_IFSOCK}  # fmt: skip
        assert kinds[found.kind] == stat.S_IFMT(status.st_mode), path
        assert (found.uid, found.gid) == (status.st_uid, status.st_gid), path
        if found.kind != "symlink":
            assert found.mode == stat.S_IMODE(status.st_mode), path
        if found.kind == "file":
            assert found.size == status.st_size
            assert b"".join(image.chunks(path)) == real.read_bytes(), path
        elif found.kind == "symlink":
            assert image.readlink(path) == os.readlink(real)
        if xattrs and found.kind in ("file", "dir"):
            names = os.listxattr(real)
            assert image.xattrs(path) == {each: os.getxattr(real, each) for each in names}, path
    there = ((folder, [*folders, *names]) for folder, folders, names in os.walk(root))
    assert seen == {str(Path(folder, name).relative_to(root)) for folder, names in there for name in names}
    return len(seen)


def mkfs(path: Path, root: Path, *options: str, size: int = 256 * MIB) -> Path:
    needs("mkfs.btrfs")
    with path.open("wb") as file:
        file.truncate(size)
    images.call("mkfs.btrfs", "-q", "-L", "root", *options, "--rootdir", root, path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-n", "4096"),
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                ("-n", "65536", "-m", "single"),
                ("--mixed",),
                ("--csum", "xxhash", "-O", "^no-holes"),
                ("--csum", "sha256", "-m", "dup", "-d", "dup"),
                ("--csum", "blake2", "-R", "free-space-tree"),
            )
        ),
    ],
    ids=" ".join,
)
def test_what_mkfs_makes_reads_as_its_source(tmp_path: Path, options: tuple[str, ...]) -> None:
    root = plain_tree(tmp_path / "tree")
    path = mkfs(tmp_path / "disk", root, *options)
    with open_image(path) as image:
        assert image.mounts() == {"/": 0}
        assert agree(image, root) > 1500
        assert image.read("/link") == b"LABEL=root / btrfs defaults 0 0\n"
        found = image.stat("/etc/su")
        assert found is not None
        assert (found.mode, found.mtime) == (0o6755, 1_000_000_000)
        again, big = image.stat("/big-again"), image.stat("/big")
        assert again is not None
        assert big is not None
        assert (again.inode, again.links) == (big.inode, 2)


def needs_newer_mkfs() -> None:
    needs("mkfs.btrfs")
    said = subprocess.run(["mkfs.btrfs", "--help"], capture_output=True, text=True, check=False)
    if not {"--subvol", "--compress"} <= set((said.stdout + said.stderr).split()):
        pytest.skip("this mkfs.btrfs makes neither subvolumes nor compressed files (6.13 does)")


@pytest.mark.parametrize("compression", CODECS)
def test_what_a_newer_mkfs_makes_reads_as_its_source(tmp_path: Path, compression: str) -> None:
    needs_newer_mkfs()
    root = plain_tree(tmp_path / "tree")
    (root / "text").write_bytes(TEXT)
    (root / "deep/text").write_bytes(TEXT[:130_001])
    subvolumes = ("--subvol", "rw:deep", "--subvol", "ro:wide/3", "--subvol", "wide/3/x2")
    path = mkfs(tmp_path / "disk", root, "--compress", compression, *subvolumes)
    with open_image(path) as image:
        assert agree(image, root) > 1500
        deep, top = image.stat("/deep"), image.stat("/")
        assert deep is not None
        assert top is not None
        assert deep.inode & LAST == top.inode & LAST == 256


def test_the_default_subvolume_of_a_newer_mkfs_is_the_root(tmp_path: Path) -> None:
    needs_newer_mkfs()
    root = tmp_path / "all"
    plain_tree(root / "a/system")
    (root / "a/home/user").mkdir(parents=True)
    (root / "a/home/user/note").write_text("mine")
    (root / "a/system/home").mkdir()
    (root / "a/system/etc/fstab").write_text(
        "LABEL=root / btrfs defaults 0 0\nLABEL=root /home btrfs subvol=/a/home 0 0\n"
    )
    path = mkfs(tmp_path / "disk", root, "--subvol", "default:a/system", "--subvol", "a/home", "--subvol", "a")
    with open_image(path) as image:
        assert image.read("/home/user/note") == b"mine"
        shutil.copytree(root / "a/home/user", root / "a/system/home/user")
        for name in ("home", "home/user"):
            shutil.copystat(root / "a" / name, root / "a/system" / name)
        assert agree(image, root / "a/system") > 1500


# -- made by the tests


def system(tree: Subvolume, fstab: bytes = b"", name: bytes = b"guest", parent: int = 256) -> int:
    """The least that makes a tree the root of a guest; the inode of /etc."""
    etc = tree.folder(parent, b"etc")
    tree.file(etc, b"fstab", fstab)
    tree.file(etc, b"os-release", b"ID=fedora\n")
    tree.file(etc, b"hostname", name + b"\n")
    return etc


def everything(maker: Maker) -> Maker:
    """One of each: compression, holes, reserved space, subvolumes, colliding names, a tree of several levels."""
    top = maker.subvolume()
    etc = system(top, b"LABEL=root / btrfs defaults 0 0\n")
    for codec in CODECS:
        top.file(256, b"text-" + codec.encode(), TEXT, compression=codec)
        top.file(256, b"small-" + codec.encode(), b"small " * 100, compression=codec)
        top.file(256, b"odd-" + codec.encode(), TEXT[:200_001], compression=codec)
    holes = top.file(256, b"holes")
    for start, codec in ((8192, ""), (300_000 // SECTOR * SECTOR, "zstd"), (1 << 20, "")):
        top.extent(holes, start, TEXT[:5000], codec)
    top.inodes[holes]["size"] = (1 << 20) + 3_000_000
    reserved = top.file(256, b"reserved")
    address = maker.store(b"what was there before" * 1000, (5, reserved, 0), checked=False)
    top.place(reserved, 0, 0, 2, 24576, (address, 24576, 0, 24576))
    top.inodes[reserved] |= {"size": 20_000, "bytes": 24576}
    unchecked = top.file(256, b"unchecked", flags=1 | 2)
    top.extent(unchecked, 0, TEXT[:8192], checked=False)
    top.inodes[unchecked]["size"] = 8192
    part = top.file(256, b"part")  # of a larger extent
    address = maker.store(TEXT[:65536], (5, part, -16384 & LAST), checked=True)
    top.place(part, 0, 0, 1, 65536, (address, 65536, 16384, 8192))
    top.inodes[part] |= {"size": 8000, "bytes": 8192}
    for name in (b"5axKt", b"0hN7i"):  # whatever their hashes are
        top.file(etc, name, name)
    wide = top.folder(256, b"wide")
    for number in range(3000):
        top.file(wide, b"file-%d" % number, b"%d" % number, uid=number, mode=0o600)
    top.xattr(etc, b"security.selinux", b"system_u:object_r:etc_t:s0\0")
    top.hard_link(part, wide, b"part-again")
    top.link(256, b"to-wide", b"wide/file-7")
    top.special(256, b"fifo", stat.S_IFIFO | 0o600)
    home, inner = maker.subvolume(256), maker.subvolume(300)
    top.nest(256, b"home", home)
    home.nest(home.folder(256, b"user"), b"inner", inner)
    home.file(256, b"note", b"in a subvolume")
    inner.file(256, b"note", b"in a subvolume of it")
    top.stale(256, b"stale", inner)
    top.nest(256, b"snapshot", maker.snapshot(top, 400))
    return maker


@pytest.fixture(scope="module", params=[{}, {"node": 4096, "checksum": 1, "dup": True}, {"checksum": 3}], ids=str)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything(Maker(**request.param)).write(tmp_path_factory.mktemp("made") / "disk")


def test_what_the_tests_make_is_a_btrfs(made: Path) -> None:
    needs("btrfs")
    done = subprocess.run(["btrfs", "check", "--check-data-csum", made], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "no error found" in done.stdout + done.stderr


def test_reading_every_kind(made: Path) -> None:
    with open_image(made) as image:
        for codec in CODECS:
            assert image.read(f"/text-{codec}") == TEXT
            assert image.read(f"/odd-{codec}") == TEXT[:200_001]
            assert image.read(f"/small-{codec}") == b"small " * 100
        part = TEXT[:5000].ljust(8192, b"\0")
        expected = bytearray((1 << 20) + 3_000_000)
        for start in (8192, 300_000 // SECTOR * SECTOR, 1 << 20):
            expected[start : start + 8192] = part
        assert image.read("/holes") == bytes(expected)
        assert image.read("/reserved") == bytes(20_000)
        assert image.read("/unchecked") == TEXT[:8192]
        assert image.read("/part") == image.read("/wide/part-again") == TEXT[16384:24384]
        assert image.read("/to-wide") == b"7"
        assert len(image.listdir("/wide")) == 3001
        found = image.stat("/wide/file-2999")
        assert found is not None
        assert (found.uid, found.mode, found.mtime) == (2999, 0o600, 1_600_000_000.5)
        assert image.xattrs("/etc") == {"security.selinux": b"system_u:object_r:etc_t:s0\0"}


def test_pieces_of_a_file(made: Path) -> None:
    generator = random.Random(2)
    with open_image(made) as image:
        for path in ("/text-zlib", "/text-lzo", "/text-zstd", "/holes"):
            whole = image.read(path)
            for _ in range(30):
                size = generator.choice([1, 4095, 4096, 4097, 131_072, 300_000])
                assert b"".join(image.chunks(path, size=max(size, 3000))) == whole
                assert image.head(path, size) == whole[:size]


def test_subvolumes_are_directories_of_their_own(made: Path) -> None:
    with open_image(made) as image:
        assert image.read("/home/note") == b"in a subvolume"
        assert image.read("/home/user/inner/note") == b"in a subvolume of it"
        assert image.listdir("/stale") == []  # as the kernel shows it
        paths = dict(image.walk("/"))
        assert {"/home/note", "/home/user/inner/note", "/stale"} <= set(paths)
        inodes = [found.inode for found in paths.values() if found.kind == "dir"]
        assert len(set(inodes)) == len(inodes)


def test_a_snapshot_shares_what_has_not_changed(made: Path) -> None:
    with open_image(made) as image:
        paths = dict(image.walk("/"))
        assert image.read("/snapshot/text-zstd") == TEXT
        assert paths["/snapshot/wide/file-7"].inode != paths["/wide/file-7"].inode
        # As the kernel shows it: what was in other subvolumes is not in the snapshot.
        assert image.listdir("/snapshot/home") == []
        assert "/snapshot/snapshot" in paths
        of_snapshot = {path.removeprefix("/snapshot") for path in paths if path.startswith("/snapshot/")}
        own = {path for path in paths if not path.startswith(("/snapshot/", "/home/"))}
        assert of_snapshot == own


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_inside_of_a_qcow2(made: Path, tmp_path: Path, compression: str) -> None:
    path = tmp_path / "disk.qcow2"
    images.call("qemu-img", "convert", "-O", "qcow2", "-c", "-o", f"compression_type={compression}", made, path)
    with open_image(path) as image, open_image(made) as plain:
        assert image.read("/text-lzo") == TEXT
        assert [name for name, _ in image.walk("/")] == [name for name, _ in plain.walk("/")]


def test_on_a_logical_volume(tmp_path: Path) -> None:
    maker = Maker()
    system(maker.subvolume(), b"/dev/vg/root / btrfs defaults 0 0\n")
    maker.write(tmp_path / "root")
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 80 * MIB)
    images.call("sgdisk", "-n", "1:2048:0", "-t", "1:8e00", path)
    lvm_disk.write(path, MIB, 76 * MIB, "vg", {"root": tmp_path / "root"})
    with open_image(path) as image:
        assert image.mounts() == {"/": 1001}
        assert image.read("/etc/hostname") == b"guest\n"


@pytest.mark.parametrize(
    ("changed", "clean", "why"),
    [({}, True, ""), ({"log": 1 << 28}, False, "log"), ({"flags": 1 | 4}, False, "damaged")],
)
def test_what_was_not_unmounted_is_told(tmp_path: Path, changed: dict[str, int], clean: bool, why: str) -> None:
    maker = Maker(changed=changed)
    system(maker.subvolume())
    (part,) = partitions.of_file(maker.write(tmp_path / "disk")).partitions
    found = part.filesystem
    assert found is not None
    assert (found.clean, found.label, found.uuid) == (clean, "root", "00000000-0000-0000-0000-000000001111")
    assert why in found.fault
    assert (found.size, found.free is not None and 60 * MIB < found.free < found.size) == (64 * MIB, True)


def test_an_independent_reader_agrees(made: Path, tmp_path: Path) -> None:
    needs("btrfs")
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(["btrfs", "restore", "-iSx", "-s", made, out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compared = 0
    with open_image(made) as image:
        for path, found in image.walk("/"):
            if found.kind == "file" and path not in ("/reserved", "/unchecked"):
                assert image.read(path) == (out / path.lstrip("/")).read_bytes(), path
                compared += 1
    assert compared > 3000
