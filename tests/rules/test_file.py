"""Rules of the image file: formats, headers, sizes, tables, boot loaders, archives."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import disk
from tests import lvm_disk
from tests.images import ESP_START, MIB, ROOT_START, call, debugfs, ext, tree
from tests.rule_images import (
    BOOT_CODE,
    Case,
    Guest,
    append,
    benign,
    cases,
    converted,
    defect,
    esp,
    on_disk,
    on_image,
    prove,
    write,
)
from tests.trees.common import elf

Action = Callable[[Path], None]


def put(place: int, data: bytes) -> Action:
    """*data* over what is at *place*; from the end when it is negative."""

    def action(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
            file.write(data)

    return action


def set_bit(place: int, bit: int) -> Action:
    """One more bit in the big-endian 64-bit number at *place*."""

    def action(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(place)
            number = struct.unpack(">Q", file.read(8))[0]
            file.seek(place)
            file.write(struct.pack(">Q", number | bit))

    return action


def cut(size: int) -> Action:
    """The last *size* bytes are not there."""
    return lambda path: os.truncate(path, path.stat().st_size - size)


def grown(size: int) -> Action:
    """Zeros behind the end of the disk, as a resize without a word to the table leaves them."""
    return lambda path: os.truncate(path, path.stat().st_size + size)


def content(data: bytes) -> Callable[[Guest], None]:
    """The file is not a disk at all."""

    def action(path: Path) -> None:
        path.write_bytes(data)

    return on_image(action)


def gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


def iso(path: Path) -> None:
    data = bytearray(40 * 2048)
    data[32769:32774] = b"CD001"
    path.write_bytes(bytes(data))


def not_unmounted(path: Path) -> None:
    debugfs(path, "feature needs_recovery")


def backing(path: Path) -> None:
    path.rename(path.with_suffix(".base"))
    call("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", path.with_suffix(".base"), path)


def parent(path: Path) -> None:
    """A VMDK that holds only what differs from another, as VMware's snapshots do."""
    path.rename(path.with_suffix(".vmdk"))
    call("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", path.with_suffix(".vmdk"), path)


def described(old: str, new: str) -> Action:
    """A VMDK with another descriptor, which begins at its second sector."""

    def action(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(512)
            text = file.read(10240)
            assert old.encode() in text
            changed = text.replace(old.encode(), new.encode(), 1)[: len(text)]
            file.seek(512)
            file.write(changed.ljust(len(text), b"\0"))

    return action


def beside(path: Path) -> None:
    """A VMDK that QEMU takes for a descriptor only: the disk lies beside it."""
    path.rename(path.with_suffix(".flat"))
    sectors = path.with_suffix(".flat").stat().st_size // 512
    text = f"""# Disk DescriptorFile\nversion=1\nCID=11111111\nparentCID=ffffffff\nCREATETYPE="monolithicSparse"
createType="monolithicFlat"\nRW {sectors} FLAT "{path.with_suffix(".flat").name}" 0\nddb.adapterType = "ide"\n"""
    header = struct.pack("<4sIIQQQQIQQQB", b"KDMV", 1, 3, 0, 128, 1, 20, 512, 21, 26, 128, 0) + b"\n \r\n"
    path.write_bytes(header.ljust(512, b"\0") + text.encode().ljust(10240, b"\0") + bytes(65536))


def data_file(path: Path) -> None:
    raw = path.with_suffix(".data")
    path.rename(raw)
    call("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={raw},data_file_raw=on", path, "64M")


def snapshot(path: Path) -> None:
    call("qemu-img", "snapshot", "-c", "before", path)


def leaked(path: Path) -> None:
    """A cluster that counts as used and is used by nothing."""
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        place = file.tell()
        file.write(bytes(65536))
        file.seek(48)
        table = struct.unpack(">Q", file.read(8))[0]
        file.seek(table)
        block = struct.unpack(">Q", file.read(8))[0]
        file.seek(block + place // 65536 * 2)
        file.write(b"\0\1")


def wrong_counts(path: Path) -> None:
    """The first cluster's reference count is 0 although the header lies there."""
    with path.open("r+b") as file:
        file.seek(48)
        table = struct.unpack(">Q", file.read(8))[0]
        file.seek(table)
        block = struct.unpack(">Q", file.read(8))[0]
        file.seek(block + 2)
        file.write(bytes(2 * 20))


def swap_behind(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 8 * MIB)
    call("sgdisk", "-e", "-n", "16:0:+4M", "-t", "16:8200", path)


def fat_behind(path: Path) -> None:
    """The same table, after sgdisk moved its backup to the new end."""
    os.truncate(path, path.stat().st_size + 8 * MIB)
    call("sgdisk", "-e", path)


def swap_early(path: Path) -> None:
    """Swap in place of the EFI system partition, which a machine with BIOS does without."""
    put(ESP_START, (bytes(4086) + b"SWAPSPACE2").ljust(6 * MIB, b"\0"))(path)


def lvm_early(path: Path) -> None:
    """A physical volume of LVM at the same place, with one volume that holds data."""
    volume = path.with_suffix(".volume")
    volume.touch()
    ext(volume, tree(path.with_suffix(".data"), {"readme": b"x"}), 0, 4 * MIB)
    put(ESP_START, bytes(512))(path)
    lvm_disk.write(path, ESP_START, 6 * MIB, "data", {"srv": volume})


def digests(digest: str = "") -> Callable[[Guest], None]:
    def action(path: Path) -> None:
        (path.parent / "SHA256SUMS").write_text(f"{digest or disk.sha256(path)}  {path.name}\n")

    return on_image(action)


METADATA: dict[str, Any] = {
    "version": 2,
    "externalLaunchOptions": {
        "firmware": "UEFI_64",
        "networkType": "PARAVIRTUALIZED",
        "bootVolumeType": "PARAVIRTUALIZED",
        "remoteDataVolumeType": "PARAVIRTUALIZED",
        "localDataVolumeType": "PARAVIRTUALIZED",
        "launchOptionsSource": "PARAVIRTUALIZED",
        "pvAttachmentVersion": 2,
        "pvEncryptionInTransitEnabled": True,
        "consistentVolumeNamingEnabled": True,
    },
    "imageCapabilityData": None,
    "imageCapsFormatVersion": None,
    "operatingSystem": "Debian",
    "operatingSystemVersion": "12",
    "additionalMetadata": {"sourcePublicImageId": None, "shapeCompatibilities": []},
}


def packed(
    name: str = "output.QCOW2",
    metadata: Any = METADATA,
    gz: bool = False,
    extra: tarfile.TarInfo | None = None,
    form: int = tarfile.GNU_FORMAT,
) -> Callable[[Guest], None]:
    """The disk in a tar, as the member *name*, with *metadata* beside it."""

    def action(path: Path) -> None:
        made = path.with_suffix(".made")
        with tarfile.open(made, "w:gz" if gz else "w", format=form) as tar:
            if metadata is not None:
                data = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
                info = tarfile.TarInfo("image_metadata.json")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            if extra is not None:
                tar.addfile(extra)
            tar.add(path, name)
        made.replace(path)

    return on_image(action)


def linked(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def sized(size: int) -> Callable[[Guest], None]:
    """A disk of *size* bytes with the same partitions."""

    def action(path: Path) -> None:
        os.truncate(path, size)
        call("sgdisk", "-e", path)

    return on_disk(action)


def with_launch(**changes: Any) -> dict[str, Any]:
    return METADATA | {"externalLaunchOptions": METADATA["externalLaunchOptions"] | changes}


ANY_CLOUD = write(
    "/etc/cloud/cloud.cfg.d/01_debian.cfg",
    "datasource_list: [ NoCloud, ConfigDrive, OpenStack, Ec2, Azure, GCE, None ]\n",
)
ELSEWHERE = "UUID=11111111-2222-3333-4444-555555555555 /data ext4"
UNOPENED = ("GEN-G01", "MGC-F01")
REFUSED_TYPE = ("GEN-G01", "OCI-F02")
GPT_TABLE = 1024 + 128 * 14  # the entry of partition 15

CASES = [
    # -- formats
    defect("GEN-F01", "debian", content(b"hello, I am a disk image\n" * 4000), related=UNOPENED),
    defect("GEN-F01", "debian", content(b""), related=UNOPENED),
    defect("GEN-F01", "debian", on_image(iso), related=(*UNOPENED, "GEN-F12")),
    defect("GEN-F01", "debian", on_image(gzipped), related=UNOPENED),
    defect("GEN-F01", "debian", on_image(put(32769, b"CD001")), related=("GEN-G01", "GEN-F06", "GEN-F12")),
    defect("GEN-F01", "debian", on_image(put(24, struct.pack(">Q", 1 << 62))), related=("GEN-G01", "MGC-F03")),
    benign("GEN-F01", "debian", converted("qcow2", compress=True), alone=True),
    defect("MGC-F01", "debian", converted("raw")),
    defect("MGC-F01", "debian", converted("vmdk")),
    defect("MGC-F01", "debian", converted("vdi")),
    defect("MGC-F01", "debian", converted("vhdx")),
    defect("MGC-F01", "debian", converted("vpc", subformat="fixed", force_size="on")),
    benign("MGC-F01", "debian", alone=True),
    defect("OCI-F01", "debian", converted("raw"), target="oci"),
    benign("OCI-F01", "debian", converted("vmdk"), target="oci", alone=True),
    defect(
        "OCI-F02", "debian", converted("vmdk", subformat="monolithicFlat"), related=("GEN-F02", "GEN-G01"), target="oci"
    ),
    benign("OCI-F02", "debian", converted("vmdk", subformat="streamOptimized"), target="oci", alone=True),
    defect("AWS-F01", "debian", target="aws"),
    defect("AWS-F01", "debian", converted("vmdk"), target="aws"),
    benign("AWS-F01", "debian", converted("vmdk", subformat="streamOptimized"), target="aws", alone=True),
    defect("AZ-F01", "debian", ANY_CLOUD, converted("vpc", subformat="dynamic", force_size="on"), target="azure"),
    defect("AZ-F01", "debian", ANY_CLOUD, converted("vhdx"), target="azure"),
    benign(
        "AZ-F01", "debian", ANY_CLOUD, converted("vpc", subformat="fixed", force_size="on"), target="azure", alone=True
    ),
    defect("DO-F01", "debian", converted("vpc", subformat="fixed", force_size="on"), target="digitalocean"),
    benign("DO-F01", "debian", converted("vdi"), target="digitalocean", alone=True),
    defect("OS-F02", "debian", converted("vhdx"), target="openstack"),
    benign("OS-F02", "debian", target="openstack", alone=True),
    # -- what an image says of itself
    defect("GEN-F02", "debian", converted("raw"), on_image(backing), related=("GEN-G01",)),
    defect("GEN-F02", "debian", converted("raw"), on_image(data_file), related=("GEN-G01", "GEN-F03")),
    defect("GEN-F02", "debian", converted("vmdk"), on_image(parent), related=("GEN-G01",), target="oci"),
    defect("GEN-F02", "debian", converted("raw"), on_image(beside), related=REFUSED_TYPE, target="oci"),
    *(
        defect("GEN-F02", "debian", converted("vmdk"), on_image(change), related=("GEN-G01",), target="oci")
        for change in (
            described("\n# Extent", '\nparentFileNameHint="/etc/hostname"\n# Extent'),
            described("parentCID=ffffffff", "parentCID=12345678"),
            described('SPARSE "', 'FLAT "'),
            put(12, bytes(8)),
        )
    ),
    benign("GEN-F02", "debian", alone=True),
    benign(
        "GEN-F02",
        "debian",
        converted("vmdk", subformat="streamOptimized"),
        on_image(described("\nRW ", "\nRDONLY ")),
        on_image(described("parentCID=ffffffff", "parentCID=FFFFFFFF")),
        target="oci",
        alone=True,
    ),
    defect("GEN-F03", "debian", on_image(set_bit(72, 1 << 20)), related=("GEN-G01",)),
    defect("GEN-F03", "debian", on_image(set_bit(72, 2)), related=("GEN-G01", "GEN-F06")),
    defect("GEN-F03", "debian", on_image(set_bit(72, 1))),
    benign("GEN-F03", "debian", converted("qcow2", compat="1.1"), alone=True),
    defect("GEN-F04", "debian", on_image(put(32, b"\0\0\0\1")), related=("GEN-G01",)),
    defect("GEN-F04", "debian", on_image(put(32, b"\0\0\0\2")), related=("GEN-G01",)),
    benign("GEN-F04", "debian", write("/etc/crypttab", "# no volumes\n"), alone=True),
    defect("GEN-F05", "debian", on_image(snapshot)),
    benign("GEN-F05", "debian", alone=True),
    defect("GEN-F06", "debian", on_image(wrong_counts)),
    defect("GEN-F06", "debian", on_image(leaked)),
    benign("GEN-F06", "debian", converted("qcow2", compress=True), alone=True),
    defect("GEN-F07", "debian", on_image(cut(70000)), related=("GEN-G01",)),
    defect("GEN-F07", "debian", converted("qcow2", compress=True), on_image(cut(70000)), related=("GEN-G01",)),
    benign("GEN-F07", "debian", converted("qcow2", cluster_size="2M"), alone=True, target="openstack"),
    *(
        defect("GEN-F07", "debian", made, on_image(cut(1)), related=("GEN-G01",), target="openstack")
        for made in (converted("vdi"), converted("vdi", static="on"))
    ),
    benign("GEN-F07", "debian", converted("vdi", static="on"), alone=True, target="openstack"),
    benign("GEN-F07", "debian", sized(65 * MIB + 512), converted("vdi"), alone=True, target="openstack"),
    defect("OS-F01", "debian", converted("raw"), on_image(backing), related=("GEN-F02", "GEN-G01"), target="openstack"),
    benign("OS-F01", "debian", converted("qcow2", compress=True), target="openstack", alone=True),
    defect("MGC-F05", "debian", converted("qcow2", compat="0.10")),
    defect("MGC-F05", "debian", converted("qcow2", lazy_refcounts="on")),
    defect("MGC-F05", "debian", converted("qcow2", cluster_size="4096")),
    defect("MGC-F05", "debian", converted("qcow2", compress=True, compression_type="zstd")),
    benign("MGC-F05", "debian", converted("qcow2", compress=True), alone=True),
    # -- sizes
    defect("MGC-F03", "debian", sized(21 * 10**9)),
    benign("MGC-F03", "debian", sized(20 * 10**9 // MIB * MIB), alone=True),
    defect(
        "MGC-F02", "debian", converted("raw"), on_image(grown(21 * 10**9)), related=("MGC-F01", "MGC-F03", "GEN-F08")
    ),
    benign("MGC-F02", "debian", alone=True),
    defect("OCI-F03", "debian", sized(401 * 10**9), target="oci"),
    benign("OCI-F03", "debian", sized(399 * 10**9 // MIB * MIB), target="oci", alone=True),
    defect("AZ-F02", "debian", ANY_CLOUD, sized(1024 << 30), related=("AZ-F01",), target="azure"),
    benign(
        "AZ-F02", "debian", ANY_CLOUD, converted("vpc", subformat="fixed", force_size="on"), target="azure", alone=True
    ),
    defect("DO-F02", "debian", sized(101 * 10**9), target="digitalocean"),
    benign("DO-F02", "debian", target="digitalocean", alone=True),
    defect("MGC-F04", "debian", known={"required_disk": 32 << 20}),
    benign("MGC-F04", "debian", known={"required_disk": 10 << 30}, alone=True),
    # -- the disk
    defect("GEN-F08", "debian", on_disk(grown(MIB))),
    defect("GEN-F08", "debian", on_disk(put(-512, bytes(512)))),
    defect("GEN-F08", "debian", on_disk(put(GPT_TABLE + 60, b"X"))),
    defect("GEN-F08", "debian", on_disk(cut(2 * MIB)), related=("BT15", "GEN-G01")),
    benign("GEN-F08", "debian", on_disk(fat_behind), alone=True),
    defect("GEN-F09", "debian", esp({}), on_disk(put(0, bytes(440))), related=("MGC-F06",)),
    benign("GEN-F09", "debian", esp({"EFI/debian/grubx64.efi": b"MZ"}), alone=True),
    defect("MGC-F06", "debian", on_disk(put(0, bytes(440)))),
    defect("MGC-F06", "debian", on_disk(put(MIB, bytes(len(BOOT_CODE))))),
    benign("MGC-F06", "debian", esp({"efi/boot/bootx64.efi": b"MZ"}), alone=True),
    defect("GEN-F10", "debian", on_disk(swap_behind), related=("GEN-G01",)),
    benign("GEN-F10", "debian", on_disk(fat_behind), alone=True),
    defect(
        "GEN-F11", "debian", on_disk(grown(300 * MIB)), on_disk(fat_behind), converted("qcow2", preallocation="full")
    ),
    benign("GEN-F11", "debian", alone=True),
    defect("GEN-F12", "debian", write("/casper/vmlinuz", "x")),
    defect("GEN-F12", "debian", on_image(iso), related=(*UNOPENED, "GEN-F01")),
    benign("GEN-F12", "debian", write("/srv/casper/vmlinuz", "x"), alone=True),
    # What holds no files by itself is nothing that could not be looked at.
    benign("GEN-F12", "debian", on_disk(swap_early), alone=True),
    benign("GEN-F12", "rhel", on_disk(lvm_early), alone=True),
    defect("GEN-F13", "debian", digests("0" * 64)),
    benign("GEN-F13", "debian", digests(), alone=True),
    defect("GEN-F14", "debian", write("/usr/bin/dash", elf(183), 0o755), related=("MGC-F07", "GEN-G05")),
    benign("GEN-F14", "debian", write("/usr/lib/firmware.elf", elf(183)), alone=True),
    defect("MGC-F07", "debian", write("/usr/bin/dash", elf(3), 0o755), related=("GEN-F14",)),
    benign("MGC-F07", "debian", write("/usr/bin/dash.arm", elf(40), 0o755), alone=True),
    defect("BT15", "debian", on_disk(not_unmounted)),
    defect("BT15", "debian", on_disk(put(ROOT_START + 1024 + 58, b"\3\0"))),
    defect("BT15", "debian", on_disk(put(ROOT_START + 1024 + 58, b"\0\0"))),
    benign("BT15", "debian", write("/forcefsck.old", ""), alone=True),
    # -- Oracle
    defect("OCI-F04", "debian", on_disk(put(0, bytes(440))), target="oci"),
    benign("OCI-F04", "debian", target="oci", alone=True),
    defect(
        "OCI-F05", "debian", append("/etc/fstab", f"{ELSEWHERE} defaults 0 2\n"), related=("GEN-G06",), target="oci"
    ),
    benign("OCI-F05", "debian", append("/etc/fstab", f"{ELSEWHERE} nofail 0 2\n"), target="oci", alone=True),
    defect("OCI-R03", "debian", packed(extra=linked("notes")), target="oci"),
    defect("OCI-R03", "debian", packed(name="../output.QCOW2"), target="oci"),
    benign("OCI-R03", "debian", packed(gz=True, name="debian.qcow2"), target="oci", alone=True),
    defect("OCI-R04", "debian", packed(metadata=METADATA | {"version": "2"}), target="oci"),
    defect("OCI-R04", "debian", packed(metadata=b"{"), target="oci"),
    defect("OCI-R04", "debian", packed(metadata=with_launch(launchOptionsSource=None)), target="oci"),
    benign("OCI-R04", "debian", packed(metadata=METADATA | {"imageCapabilityData": "{}"}), target="oci", alone=True),
    defect("OCI-R05", "debian", esp({}), packed(), target="oci"),
    benign("OCI-R05", "debian", esp({}), packed(metadata=with_launch(firmware="BIOS")), target="oci", alone=True),
    # -- Google
    defect("GCP-F01", "debian", ANY_CLOUD, target="gcp"),
    defect("GCP-F01", "debian", ANY_CLOUD, converted("raw"), packed("disk.raw", None, gz=True), target="gcp"),
    benign(
        "GCP-F01",
        "debian",
        ANY_CLOUD,
        sized(1 << 30),
        converted("raw"),
        packed("disk.raw", None, gz=True),
        target="gcp",
        alone=True,
    ),
]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
