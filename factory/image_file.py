"""What an image file tells of itself, before anything follows what it says: format by content, header, safety.

Nothing here opens a file that the image names. QEMU's programs come later, and only for what is safe.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from factory import image_format, partitions, qcow2, vmdk
from factory.quoting import escape

DISKS = ("qcow2", "raw", "vmdk", "vpc", "vhdx", "vdi")
"""Formats that are a whole disk, by QEMU's names; vpc is a VHD."""
LARGEST = 64 << 40  # bytes of a disk; what says more than that of itself is absurd
NAMES = {
    "": "something unknown",
    "empty": "an empty file",
    "iso": "an ISO image (an installer or a live system)",
    "gzip": "compressed with gzip",
    "xz": "compressed with xz",
    "bzip2": "compressed with bzip2",
    "zstd": "compressed with zstd",
    "zip": "a zip archive",
    "tar": "a tar archive",
    "luks": "an encrypted disk (LUKS)",
    "qed": "a QED image, which no importer takes",
    "qcow": "a qcow image of version 1",
    "vpc": "a VHD image",
    "raw": "a raw disk",
    "squashfs": "a squashfs file system, as live systems have",
}
INSTEAD = {
    "": "Name a disk image: qcow2, raw, VMDK, VDI, VHD or VHDX. What this file is tells: file IMAGE",
    "empty": "Download or make the image again: this file was never written, or its download ended at once",
    "iso": "Install the system from it in a virtual machine and check the disk of that machine, or take the "
    "distribution's cloud image (qcow2) in its place",
    "gzip": "Unpack it and check what comes out: gzip -dk IMAGE",
    "xz": "Unpack it and check what comes out: xz -dk IMAGE",
    "bzip2": "Unpack it and check what comes out: bzip2 -dk IMAGE",
    "zstd": "Unpack it and check what comes out: zstd -d IMAGE",
    "zip": "Unpack it and check the disk image in it: unzip IMAGE",
    "tar": "Unpack it and check the disk image in it: tar -xf IMAGE",
    "luks": "Open it where its passphrase is, and write its disk into a new image: cryptsetup open IMAGE plain && "
    "qemu-img convert -f raw -O qcow2 /dev/mapper/plain NEW",
    "qed": "qemu-img convert -f qed -O qcow2 IMAGE NEW",
    "qcow": "qemu-img convert -f qcow -O qcow2 IMAGE NEW",
    "squashfs": "Take the distribution's cloud image (qcow2), or install the live system on a disk and check that",
}
"""What to do about a file that is no disk image which can be checked, by its format."""
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"QFI\xfb\0\0\0\1", "qcow"),
    (0, qcow2.MAGIC, "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"conectix", "vpc"),
    (0, b"vhdxfile", "vhdx"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"QED\0", "qed"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"BZh", "bzip2"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"PK\3\4", "zip"),
    (0, b"hsqs", "squashfs"),
    (257, b"ustar", "tar"),
    (32769, b"CD001", "iso"),  # also when it begins with a partition table, as hybrid ones do
)
_FORMATS = {"gpt": "raw", "vhd": "vpc"}  # oslo's names that are not QEMU's


@dataclass(frozen=True)
class ImageFile:
    """The facts of one image file. Sizes in bytes."""

    path: Path
    size: int
    allocated: int  # on this host
    format: str  # of DISKS, or of NAMES; empty when nothing is known
    virtual_size: int = 0  # of the disk inside; 0 when it is not known
    subformat: str = ""  # vmdk: its createType; vpc: fixed, dynamic or differencing
    ambiguous: tuple[str, ...] = ()  # formats that it can also be read as
    references: tuple[str, ...] = ()  # how it needs other files
    features: tuple[str, ...] = ()  # what of it cannot be known
    encrypted: bool = False
    inspector: tuple[str, ...] = ()  # what OpenStack's format inspector refuses
    damaged: tuple[str, ...] = ()  # what of its own structure does not fit the file
    qcow2: qcow2.Header | None = None

    @property
    def is_disk(self) -> bool:
        """Whether it is a disk image that may be opened."""
        return self.format in DISKS and not self.refused

    @property
    def refused(self) -> tuple[str, ...]:
        """Why nothing may follow what it says."""
        others = ", ".join(self.ambiguous)
        return (
            *self.references,
            *self.features,
            *self.damaged,
            *self.inspector,
            *(["it is encrypted"] if self.encrypted else []),
            *([f"it can also be read as {others}"] if self.ambiguous else []),
            *([f"it says its disk has {self.virtual_size} bytes, more than any has"] if self.absurd else []),
        )

    @property
    def instead(self) -> str:
        """What to do when nothing may follow what the file says; empty for a disk image that may be opened."""
        if self.format not in DISKS:
            return INSTEAD.get(self.format, INSTEAD[""])
        if self.references:
            return f"qemu-img convert -f {self.format} -O qcow2 IMAGE NEW   # on the host that has the other file"
        if self.encrypted:
            return "Decrypt it where its key is, or install without encryption, and check the new image"
        if self.ambiguous:
            return f"qemu-img convert -f {self.format} -O qcow2 IMAGE NEW   # when it is sure where the file is from"
        if self.damaged:
            return "Copy or download the file again, and compare its sha256 with that of the source: sha256sum IMAGE"
        return "Write the image anew with the program that made it, as a plain qcow2" if self.refused else ""

    @property
    def why_refused(self) -> str:
        """The same for people: what the inspector says of something that is told already is left out."""
        told = replace(self, inspector=()).refused or self.refused
        return "; ".join(told)

    @property
    def absurd(self) -> bool:
        """Whether the disk inside says it is larger than any disk."""
        return self.virtual_size > LARGEST

    @property
    def described(self) -> str:
        """What it is, for people."""
        name = NAMES.get(self.format, self.format)
        return f"{name} ({self.subformat})" if self.subformat else name


def look(path: Path) -> ImageFile:
    """The facts of the file *path*. Raises OSError when it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        return _look(path, found.st_size, found.st_blocks * 512, partitions.reader(descriptor))
    finally:
        os.close(descriptor)


def _look(path: Path, size: int, allocated: int, pread: Callable[[int, int], bytes]) -> ImageFile:
    kind = _kind(pread, size)
    if kind not in DISKS:
        return ImageFile(path, size, allocated, kind)
    inspected = image_format.inspected(path)
    others = {_FORMATS.get(name, name) for name in inspected.names} - {kind}
    if kind != "raw":
        others -= {"raw"}  # a partition table inside the first clusters of another format
    found = ImageFile(
        path, size, allocated, kind, size, ambiguous=tuple(sorted(others)), inspector=tuple(inspected.faults)
    )
    if kind == "qcow2":
        return _qcow2(found, pread)
    if kind == "vpc":
        virtual, subformat, damaged = _vhd(pread, size)
        return replace(
            found, virtual_size=virtual, subformat=subformat, damaged=damaged, references=_differencing(subformat)
        )
    if kind == "vdi":
        virtual, subformat, damaged = _vdi(pread, size)
        return replace(
            found, virtual_size=virtual, subformat=subformat, damaged=damaged, references=_differencing(subformat)
        )
    if kind == "vmdk":
        told = vmdk.read(pread)
        return replace(found, virtual_size=told.virtual_size, subformat=told.subformat, references=told.references)
    return replace(found, virtual_size=inspected.virtual_size) if kind == "vhdx" else found


def _differencing(subformat: str) -> tuple[str, ...]:
    return ("it holds only the differences to another file",) if subformat == "differencing" else ()


def _kind(pread: Callable[[int, int], bytes], size: int) -> str:
    if not size:
        return "empty"
    head = pread(0, 32768 + 8)
    for place, magic, kind in _MAGIC:
        if (head[place : place + len(magic)] if place < 32768 else pread(place, len(magic))) == magic:
            return kind
    if size % 512 == 0 and pread(size - 512, 8) == b"conectix":
        return "vpc"
    table = partitions.read_table(pread, size)
    return "raw" if table.kind != "none" or table.partitions else ""


def _qcow2(found: ImageFile, pread: Callable[[int, int], bytes]) -> ImageFile:
    try:
        header = qcow2.read_header(pread)
    except qcow2.Qcow2Error as error:
        return replace(found, virtual_size=0, damaged=(str(error),))
    unknown = header.incompatible & ~(
        qcow2.DIRTY | qcow2.CORRUPT | qcow2.DATA_FILE | qcow2.COMPRESSION | qcow2.EXTENDED_L2
    )
    references = [f"it has a backing file, {_backing(pread)}"] if header.backing else []
    if header.incompatible & qcow2.DATA_FILE:
        references.append("it keeps its data in another file")
    found = replace(
        found,
        virtual_size=header.size,
        qcow2=header,
        references=tuple(references),
        features=(f"it has features that are not known ({unknown:#x})",) if unknown else (),
        encrypted=header.encryption != 0,
    )
    return found if found.refused else replace(found, damaged=qcow2.outside(header, pread, found.size))


def _backing(pread: Callable[[int, int], bytes]) -> str:
    """The name of the other file, as it stands in the image: nobody opens it."""
    place, size = struct.unpack(">QI", pread(8, 12))
    return escape(pread(place, min(size, 1023)).decode("utf-8", "replace")) or "whose name cannot be read"


def _vhd(pread: Callable[[int, int], bytes], size: int) -> tuple[int, str, tuple[str, ...]]:
    footer = pread(size - 512, 512) if size >= 512 else b""
    damaged: list[str] = []
    if footer[:8] != b"conectix":
        damaged.append("its footer is not at the end of the file: it is cut off, or something follows it")
        footer = pread(0, 512)
    if len(footer) < 512:
        return 0, "", ("it is cut off",)
    virtual, kind = struct.unpack_from(">Q", footer, 48)[0], struct.unpack_from(">I", footer, 60)[0]
    checksum = struct.unpack_from(">I", footer, 64)[0]
    if ~(sum(footer) - sum(footer[64:68])) & 0xFFFFFFFF != checksum:
        damaged.append("its footer has a wrong checksum")
    if kind == 2 and virtual != size - 512:
        damaged.append(f"it says its disk has {virtual} bytes, and the file has room for {size - 512}")
    return virtual, {2: "fixed", 3: "dynamic", 4: "differencing"}.get(kind, f"type {kind}"), tuple(damaged)


def _vdi(pread: Callable[[int, int], bytes], size: int) -> tuple[int, str, tuple[str, ...]]:
    head = pread(0, 512)
    if len(head) < 512:
        return 0, "", ("it is cut off",)
    kind = struct.unpack_from("<I", head, 0x4C)[0]
    table, data = struct.unpack_from("<II", head, 0x154)
    virtual: int = struct.unpack_from("<Q", head, 0x170)[0]
    block, extra, blocks, allocated = struct.unpack_from("<IIII", head, 0x178)
    end = max(table + 4 * blocks, data + allocated * (block + extra))
    damaged = (f"its blocks end at byte {end}, and the file has {size} bytes",) if end > size else ()
    return virtual, {1: "dynamic", 2: "static", 4: "differencing"}.get(kind, f"type {kind}"), damaged
