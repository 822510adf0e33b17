"""Damaged and hostile images: what cannot be read is told, and never passes for nothing there."""

from __future__ import annotations

import io
import os
import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from factory import disk, qcow2
from factory.inspection import Unreadable, child, open_image
from tests import images, inspected

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspected.guest(tmp_path_factory.mktemp("guest"))


def block_of(path: Path, name: str) -> int:
    """The byte at which the first block of a file lies."""
    return images.ROOT_START + 4096 * int(images.debugfs(path, f"bmap {name} 0").split()[-1])


@pytest.mark.parametrize("junk", [bytes(4096), b"\xff" * 4096, os.urandom(4096)], ids=["zeros", "ones", "noise"])
def test_a_damaged_directory_is_not_an_empty_one(guest: Path, tmp_path: Path, junk: bytes) -> None:
    path = inspected.copied(guest, tmp_path)
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
    path = inspected.copied(guest, tmp_path)
    place = block_of(path, "/etc")
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(4096))
    with open_image(path) as image, pytest.raises(Unreadable, match="damaged"):
        image.exists("/etc/shadow")


def test_a_name_for_an_inode_that_is_not_in_use(guest: Path, tmp_path: Path) -> None:
    path = inspected.copied(guest, tmp_path)
    images.debugfs(path, "clri /usr/su", "freei /usr/su")
    with open_image(path) as image, pytest.raises(Unreadable):
        image.stat("/usr/su")


def test_a_directory_inside_itself_ends(guest: Path, tmp_path: Path) -> None:
    path = inspected.copied(guest, tmp_path)
    images.debugfs(path, "ln /usr /usr/lib/again")
    with open_image(path) as image, pytest.raises(Unreadable, match="more than one name"):
        list(image.walk())


def test_a_name_with_a_slash_is_damage(guest: Path, tmp_path: Path) -> None:
    path = inspected.copied(guest, tmp_path)
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
    path = inspected.copied(guest, tmp_path)
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


def test_a_large_disk_of_large_compressed_clusters_is_whole(tmp_path: Path) -> None:
    """More than the process that reads it may hold, so it has to forget what it unpacked."""
    cluster, count = 2 << 20, (child.MEMORY >> 21) + 64
    with (tmp_path / "raw").open("wb") as file:
        for number in range(count):
            file.write(b"%08d" % number * 512)
            file.seek(cluster - 4096, os.SEEK_CUR)
        file.truncate(count * cluster)
    options = {"compression_type": "zstd", "cluster_size": str(cluster)}
    disk.convert(tmp_path / "raw", "raw", tmp_path / "packed", "qcow2", compress=True, options=options)
    with open_image(tmp_path / "packed") as image:
        for number in [*range(count), count - 2, 0, 1]:
            assert image.peek(number * cluster, 16) == b"%08d" % number * 2


def test_large_tables_of_clusters_take_little_memory(tmp_path: Path) -> None:
    """Each is 2 MiB and places 512 GiB; as numbers of Python it took 10 MiB."""
    cluster, tables = 2 << 20, 70
    head = struct.pack(">IQIIQIIQQIIQ", 2, 0, 0, 21, tables << 39, 0, tables, cluster, 0, 0, 0, 0)
    with (tmp_path / "disk").open("w+b") as file:
        file.write(qcow2.MAGIC + head)
        file.seek(cluster)
        file.write(b"".join(quad((2 + number) * cluster) for number in range(tables)))
        file.seek(2 * cluster)
        table = b"".join(quad(number << 21 | 1) for number in range(cluster // 8))  # all of them zeros
        for _ in range(tables):
            file.write(table)
        file.flush()
        tracemalloc.start()
        read = qcow2.Qcow2(lambda place, size: os.pread(file.fileno(), size, place))
        assert all(read.pread(number << 39, 16) == bytes(16) for number in [*range(tables), 0])
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
        tracemalloc.stop()


def test_too_little_memory_is_no_damage() -> None:
    def none(data: bytes, size: int) -> bytes:
        raise MemoryError

    image = io.BytesIO(bytes(1 << 20))
    head = struct.pack(">IQIIQIIQQIIQ", 2, 0, 0, 16, 1 << 16, 0, 1, 1 << 16, 0, 0, 0, 0)
    for place, data in ((0, qcow2.MAGIC + head), (1 << 16, quad(2 << 16)), (2 << 16, quad(1 << 62 | 3 << 16))):
        image.seek(place)
        image.write(data)
    read = qcow2.Qcow2(lambda place, size: image.getvalue()[place : place + size])
    read._decode = none
    with pytest.raises(MemoryError):
        read.pread(0, 512)


def quad(value: int) -> bytes:
    return struct.pack(">Q", value)


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
