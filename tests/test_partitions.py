"""Partition tables that sgdisk did not make: damaged, old, hostile."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from factory import partitions
from tests import images

DISK = 64 * images.MIB


def read(data: bytes, size: int = DISK) -> partitions.Table:
    def pread(offset: int, length: int) -> bytes:
        return data[offset : offset + length].ljust(max(0, min(length, size - offset)), b"\0")

    return partitions.read_table(pread, size)


def entry(kind: int, start: int, sectors: int) -> bytes:
    return struct.pack("<B3xB3xII", 0, kind, start, sectors)


def boot_record(*entries: bytes, disk: int = 0x11223344) -> bytes:
    return bytes(440) + struct.pack("<IH", disk, 0) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gpt") / "disk.raw"
    path.touch()
    os.truncate(path, DISK)
    images.needs("sgdisk")
    images.call("sgdisk", "-n", "1:2048:+8M", "-c", "1:naïve", "-n", "3:0:0", "-t", "3:8304", path)
    return path


def test_gpt(gpt: Path) -> None:
    table = partitions.of_file(gpt)
    assert (table.kind, table.faults, table.size) == ("gpt", (), DISK)
    assert [(part.number, part.start, part.name) for part in table.partitions] == [
        (1, images.MIB, "naïve"),
        (3, 9 * images.MIB, ""),
    ]
    assert table.partitions[0].size == 8 * images.MIB
    assert table.partitions[1].type == "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"


@pytest.mark.parametrize("place", [512 + 16, 1024 + 40], ids=["header", "entries"])
def test_the_backup_serves_when_the_first_is_damaged(gpt: Path, place: int) -> None:
    data = bytearray(gpt.read_bytes())
    data[place] ^= 0xFF
    table = read(bytes(data))
    assert len(table.partitions) == 2
    assert table.faults
    data[-512 + 20] ^= 0xFF
    table = read(bytes(data))
    assert (table.kind, table.partitions) == ("gpt", ())
    assert len(table.faults) == 2


def test_a_lost_gpt_is_not_an_empty_disk(gpt: Path) -> None:
    data = bytearray(gpt.read_bytes())
    data[512:520] = data[-512:-504] = bytes(8)
    table = read(bytes(data))
    assert table.kind == "gpt"
    assert table.faults


def test_mbr_with_logical_partitions() -> None:
    data = bytearray(DISK)
    data[:512] = boot_record(entry(0x83, 2048, 4096), entry(0x05, 8192, 65536))
    data[8192 * 512 :][:512] = b""
    data[8192 * 512 : 8192 * 512 + 512] = boot_record(entry(0x83, 64, 1000), entry(0x05, 4096, 4096))
    data[12288 * 512 : 12288 * 512 + 512] = boot_record(entry(0x82, 64, 2000))
    table = read(bytes(data))
    assert table.kind == "mbr"
    assert [(part.number, part.start // 512, part.type, part.uuid) for part in table.partitions] == [
        (1, 2048, "0x83", "11223344-01"),
        (5, 8256, "0x83", "11223344-05"),
        (6, 12352, "0x82", "11223344-06"),
    ]


def test_a_loop_of_logical_partitions_ends() -> None:
    data = bytearray(DISK)
    data[:512] = boot_record(entry(0x05, 8192, 65536))
    for place, following in ((8192, 4096), (12288, 4096)):
        data[place * 512 : place * 512 + 512] = boot_record(entry(0x83, 64, 10), entry(0x05, following, 10))
    assert "loop" in read(bytes(data)).faults[-1]


def test_a_partition_past_the_end_is_a_fault() -> None:
    table = read(boot_record(entry(0x83, 2048, 1 << 30)))
    assert table.partitions == ()
    assert "does not lie on the disk" in table.faults[0]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4095])
def test_a_tiny_file_has_no_table(size: int) -> None:
    assert read(os.urandom(size), size).kind in ("none", "mbr")


def test_noise_has_no_partitions() -> None:
    data = bytearray(os.urandom(1 << 20))
    data[510:512] = bytes(2)
    assert read(bytes(data)) == partitions.Table("none", size=DISK)


@pytest.mark.parametrize(
    ("place", "magic", "kind"),
    [
        (65536 + 64, b"_BHRfS_M", "btrfs"),
        (4086, b"SWAPSPACE2", "swap"),
        (0, b"LUKS\xba\xbe", "crypto_LUKS"),
        (512, b"LABELONE" + bytes(16) + b"LVM2 001", "LVM2_member"),
        (0, b"hsqs", "squashfs"),
        (32769, b"CD001", "iso9660"),
        (0, b"XFSB", "xfs"),
    ],
)
def test_what_a_whole_disk_holds(place: int, magic: bytes, kind: str) -> None:
    data = bytearray(1 << 20)
    data[place : place + len(magic)] = magic
    (found,) = read(bytes(data)).partitions
    assert found.number == 0
    assert found.filesystem is not None
    assert found.filesystem.kind == kind
