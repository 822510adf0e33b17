"""What an image file tells of itself: formats by content, and bytes that nobody expected."""

from __future__ import annotations

import struct
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
