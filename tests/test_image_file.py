"""What an image file tells of itself: formats by content, and bytes that nobody expected."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from factory import image_file, image_format, partitions, qcow2
from factory.errors import UsageError
from tests.images import call, needs

FORMATS = ("qcow2", "vmdk", "vdi", "vpc", "vhdx")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    needs("qemu-img", "sgdisk")
    folder = tmp_path_factory.mktemp("formats")
    call("qemu-img", "create", "-q", "-f", "raw", folder / "raw", "8M")
    call("sgdisk", "-n", "1:2048:0", folder / "raw")
    for name in FORMATS:
        call("qemu-img", "convert", "-f", "raw", "-O", name, folder / "raw", folder / name)
    return {name: (folder / name).read_bytes() for name in ("raw", *FORMATS)}


@pytest.mark.parametrize("text", [b"# A text\n" * 500, "# Größe\n".encode() * 500, b"x" * 5000, b"short", b""])
def test_a_text_is_no_disk_image(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "notes.txt").write_bytes(text)
    with pytest.raises(UsageError, match="no disk image") as caught:
        image_format.detect(tmp_path / "notes.txt", failure=UsageError)
    assert caught.value.code == "image.not-a-disk"


@pytest.mark.real
@pytest.mark.parametrize("name", ["raw", *FORMATS])
def test_the_format_is_told_by_content(files: dict[str, bytes], tmp_path: Path, name: str) -> None:
    path = tmp_path / "image.iso"
    path.write_bytes(files[name])
    found = image_file.look(path)
    assert (found.format, found.refused) == (name, ())
    assert found.virtual_size >= 8 << 20
    assert found.is_disk


def tabled(path: Path, cluster_bits: int, size: int, entries: list[int]) -> Path:
    """A qcow2 with those entries in its first table; after it come empty L2 tables, from cluster number *after* on."""
    cluster = 1 << cluster_bits
    after = 1 + -(-len(entries) * 8 // cluster)
    numbers = (2, 0, 0, cluster_bits, size, 0, len(entries), cluster, 0, 1, 0, 0)
    with path.open("wb") as file:
        file.write(qcow2.MAGIC + struct.pack(">IQIIQIIQQIIQ", *numbers))
        file.seek(cluster)
        file.write(
            struct.pack(f">{len(entries)}Q", *(entry and (after + entry) * cluster | 1 << 63 for entry in entries))
        )
        file.truncate((after + 4) * cluster)
    return path


TWO_TABLES = 1 << 30  # bytes of a disk that needs two tables of 64 KiB clusters


def test_tables_that_do_not_overlap_are_right(tmp_path: Path) -> None:
    assert image_file.look(tabled(tmp_path / "x", 16, TWO_TABLES, [1, 2])).refused == ()


def test_two_entries_that_share_a_table_are_damage_at_once(tmp_path: Path) -> None:
    """Millions of entries that name one table: looking at it for each took hours."""
    path = tabled(tmp_path / "x", 16, 32 << 40, [1] * (2 << 20))
    began = time.monotonic()
    assert image_file.look(path).damaged == ("its tables of clusters overlap",)
    assert time.monotonic() - began < 5


def test_entries_that_the_disk_does_not_need_are_not_looked_at(tmp_path: Path) -> None:
    count = 2 << 20
    began = time.monotonic()
    assert image_file.look(tabled(tmp_path / "x", 16, TWO_TABLES, [1, 2] + [99] * count)).refused == ()
    assert time.monotonic() - began < 5


def test_a_table_between_two_clusters_is_damage(tmp_path: Path) -> None:
    path = tabled(tmp_path / "x", 16, TWO_TABLES, [1, 2])
    with path.open("r+b") as file:
        file.seek(1 << 16)
        file.write(struct.pack(">Q", (3 << 16) + 512))
    assert image_file.look(path).damaged == ("its tables of clusters overlap",)


def test_a_first_table_that_is_too_small_for_the_disk(tmp_path: Path) -> None:
    path = tabled(tmp_path / "x", 16, TWO_TABLES + 1, [1, 2])
    assert image_file.look(path).damaged == ("its first table is too small for its disk",)


@pytest.mark.real
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_changed_bytes_never_end_in_an_exception(
    files: dict[str, bytes], tmp_path: Path, data: some.DataObject
) -> None:
    content = bytearray(files[data.draw(some.sampled_from(("raw", *FORMATS)))][: 1 << 20])
    for _ in range(data.draw(some.integers(1, 8))):
        place = data.draw(some.integers(0, len(content) - 8) | some.integers(0, 1100))
        number = data.draw(some.sampled_from((0, 1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)))
        content[place : place + 8] = struct.pack(data.draw(some.sampled_from("<>")) + "Q", number)
    path = tmp_path / "x"
    path.write_bytes(content)
    found = image_file.look(path)
    with path.open("rb") as file:
        pread = partitions.reader(file.fileno())
        partitions.read_table(pread, len(content))
        if found.format == "qcow2" and found.is_disk:
            try:
                disk = qcow2.Qcow2(pread)
                disk.pread(0, 1 << 16)
                disk.pread(max(0, disk.size - 512), 512)
            except qcow2.Qcow2Error:
                pass
