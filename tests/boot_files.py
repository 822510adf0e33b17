"""Small real files that boot: initramfs archives in every form, package databases, kernels with a header."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import sqlite3
import struct
import subprocess
from collections.abc import Mapping

MICROCODE = "kernel/x86/microcode/GenuineIntel.bin"
VIRTIO = ("virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net")


def cpio(files: Mapping[str, bytes]) -> bytes:
    """An archive as Linux reads it ("newc")."""
    archive = b""
    for number, (name, content) in enumerate([*files.items(), ("TRAILER!!!", b"")], 1):
        fields = (number, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return archive + bytes(-len(archive) % 512)


def packed(archive: bytes, kind: str) -> bytes:
    """*archive* compressed; lz4 in the old form, as kernels want it."""
    if kind in ("zstd", "lz4"):
        words = ["zstd", "-qc"] if kind == "zstd" else ["lz4", "-qlc"]
        return subprocess.run(words, input=archive, capture_output=True, check=True).stdout
    if kind == "gzip":
        return gzip.compress(archive, mtime=0)
    return {"none": archive, "bzip2": bz2.compress(archive), "xz": lzma.compress(archive)}[kind]


def initramfs(
    release: str,
    *modules: str,
    maker: str = "initramfs-tools",
    kind: str = "gzip",
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """An initramfs with *modules* as drivers, microcode in front of it; *more* are other files."""
    files: dict[str, bytes] = {"init": b"#!/bin/sh\n"}
    files |= {
        "initramfs-tools": {"conf/initramfs.conf": b"MODULES=most\n", "scripts/functions": b""},
        "dracut": {"usr/lib/dracut/modules.txt": b"base\n", "usr/lib/dracut/hooks/cmdline/a.sh": b""},
        "mkinitfs": {"sbin/nlplug-findfs": b"x"},
    }.get(maker, {})
    files |= {f"usr/lib/modules/{release}/kernel/drivers/{name.replace('_', '-')}.ko.xz": b"x" for name in modules}
    files |= more or {}
    return cpio({MICROCODE: b"m" * 100}) + packed(cpio(files), kind)


def bzimage(release: str) -> bytes:
    """The first sectors of a kernel that says which release it is."""
    image = bytearray(4096)
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = struct.pack("<H", 0x600)
    text = f"{release} (builder@host) #1 SMP".encode() + b"\0"
    image[0x800 : 0x800 + len(text)] = text
    return bytes(image)


def dpkg(*names: str, remembered: tuple[str, ...] = ()) -> str:
    """A dpkg status file; of *remembered* packages only the configuration is left."""
    states = dict.fromkeys(names, "install ok installed") | dict.fromkeys(remembered, "deinstall ok config-files")
    return "\n".join(
        f"Package: {name}\nStatus: {state}\nMaintainer: x\nVersion: 1.0-1\nDescription: a\n Package: trap\n .\n"
        for name, state in states.items()
    )


def rpm_header(name: str, version: str = "1.0", release: str = "1.el9") -> bytes:
    """A header as rpm's databases hold it."""
    data = b"".join(text.encode() + b"\0" for text in (name, version, release))
    offsets = (0, len(name) + 1, len(name) + len(version) + 2)
    index = b"".join(struct.pack(">IIII", tag, 6, at, 1) for tag, at in zip((1000, 1001, 1002), offsets, strict=True))
    return struct.pack(">II", 3, len(data)) + index + data


def rpm_sqlite(*names: str) -> bytes:
    """rpm's database in SQLite with *names*."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(rpm_header(name),) for name in names])
        database.commit()
        return database.serialize()


def rpm_ndb(*names: str) -> bytes:
    """rpm's own database, as on SUSE, with *names*."""
    slots, blobs = b"", b""
    for number, name in enumerate(names, 1):
        blob = rpm_header(name)
        body = b"BlbS" + struct.pack("<III", number, 1, len(blob)) + blob
        body += bytes(-(len(body) + 12) % 16) + struct.pack("<II", 0, len(blob)) + b"BlbE"
        slots += b"Slot" + struct.pack("<III", number, 256 + len(blobs) // 16, len(body) // 16)
        blobs += body
    page = b"RpmP" + struct.pack("<IIII", 0, 1, 1, len(names) + 1) + bytes(12) + slots
    page += (b"Slot" + bytes(12)) * ((4096 - len(page)) // 16)
    return page + blobs


def apk(*names: str) -> str:
    """Alpine's database of packages."""
    return "".join(f"C:Q1x\nP:{name}\nV:1.0-r0\nA:x86_64\nF:usr/bin\nR:{name}\n\n" for name in names)
