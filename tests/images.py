"""Small real disk images for tests, made without root: sgdisk, mke2fs -d, mkfs.vfat and mtools, mkfs.xfs."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from factory import run
from factory.errors import HostError

MIB = 1 << 20
ROOT_START = 8 * MIB  # bytes; before it a BIOS-boot partition and an ESP
ESP_START = 2 * MIB
SYSTEM: Mapping[str, bytes] = {
    "etc/fstab": b"LABEL=root / ext4 errors=remount-ro 0 1\nUUID=1A2B-3C4D /boot/efi vfat umask=0077,nofail 0 1\n",
    "etc/os-release": b"ID=debian\nVERSION_ID=12\n",
    "etc/hostname": b"guest\n",
    "boot/efi/hidden-below-the-mount": b"",
}


def needs(*programs: str) -> None:
    """Skip the test, saying why, unless the host has all of *programs*."""
    for program in programs:
        try:
            run.find(program, reason="to make a test image")
        except HostError as error:
            pytest.skip(error.message)


def tree(folder: Path, files: Mapping[str, bytes] = SYSTEM) -> Path:
    """A folder with *files*, whose names may hold any byte."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def ext(path: Path, content: Path, offset: int, size: int, *options: str) -> None:
    """An ext file system (4 by default) of *size* bytes at *offset* of the file at *path*, holding *content*."""
    kind = () if "-t" in options else ("-t", "ext4")
    if not path.exists():
        path.touch()
    if path.stat().st_size < offset + size:
        os.truncate(path, offset + size)
    extra = f"offset={offset},lazy_itable_init=0"
    words = [*kind, "-L", "root", "-E", extra, *options, "-d", content, path, f"{size // 1024}K"]
    call(*_as_root(), "mke2fs", "-q", "-F", *words)


@functools.cache
def _as_root() -> tuple[str, ...]:
    """Who makes a file system owns its files: an ordinary user is root in a name space of its own, where that works."""
    words = ("unshare", "--map-root-user")
    if os.getuid() == 0 or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return ()
    return words


def fat(path: Path, offset: int, size: int, files: Mapping[str, bytes], work: Path) -> None:
    """A FAT file system labelled ESP, number 1A2B-3C4D, of *size* bytes at *offset* of the file at *path*."""
    needs("mkfs.vfat", "mcopy")
    alone = work / "fat.img"
    alone.unlink(missing_ok=True)
    call("mkfs.vfat", "-C", "-n", "ESP", "-i", "1A2B3C4D", alone, str(size // 1024))
    for name, data in files.items():
        folder = ""
        for part in name.split("/")[:-1]:
            folder += f"/{part}"
            subprocess.run(["mmd", "-D", "s", "-i", alone, f"::{folder}"], capture_output=True, check=False)
        source = work / "fat-file"
        source.write_bytes(data)
        call("mcopy", "-o", "-i", alone, source, f"::/{name}")
    with path.open("r+b") as disk:
        disk.seek(offset)
        disk.write(alone.read_bytes())


def btrfs(path: Path, content: Path, offset: int, size: int, *options: str) -> None:
    """As :func:`ext`, a btrfs; mkfs.btrfs wants 109 MiB."""
    needs("mkfs.btrfs")
    alone = path.with_suffix(".btrfs")
    with alone.open("wb") as file:
        file.truncate(size)
    call(*_as_root(), "mkfs.btrfs", "-q", "-L", "root", *options, "--rootdir", content, alone)
    call("dd", f"if={alone}", f"of={path}", "bs=1M", f"seek={offset // MIB}", "conv=notrunc,sparse", "status=none")
    alone.unlink()


def disk(
    path: Path,
    root: Path,
    *options: str,
    size: int = 64 * MIB,
    esp: Mapping[str, bytes] | None = None,
    make: Callable[..., None] = ext,
) -> Path:
    """A hybrid disk as the factory builds it: GPT, BIOS boot (14), ESP (15, if *esp* is given), root (1) last.

    *make* writes the root's file system, as :func:`ext` does.
    """
    needs("sgdisk", "mke2fs", "debugfs")
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    make(path, root, ROOT_START, size - ROOT_START - MIB, *options)
    if esp is not None:
        fat(path, ESP_START, 6 * MIB, esp, path.parent)
    first, last = _table(size, esp is not None, path.with_suffix(".table"))
    with path.open("r+b") as file:
        file.write(first)
        file.seek(size - len(last))
        file.write(last)
    return path


_tables: dict[tuple[int, bool], tuple[bytes, bytes]] = {}


def _table(size: int, with_esp: bool, work: Path) -> tuple[bytes, bytes]:
    """The first 34 and the last 33 sectors of such a disk. sgdisk sleeps for a second each time: it is asked once."""
    if (size, with_esp) not in _tables:
        with work.open("wb") as file:
            file.truncate(size)
        places = ["-n", "14:2048:+1M", "-t", "14:ef02"]
        if with_esp:
            places += ["-n", f"15:{ESP_START // 512}:{ROOT_START // 512 - 1}", "-t", "15:ef00", "-c", "15:EFI system"]
        end = (size - MIB) // 512 - 1
        call("sgdisk", *places, "-n", f"1:{ROOT_START // 512}:{end}", "-t", "1:8304", "-c", "1:root", work)
        data = work.read_bytes()
        _tables[size, with_esp] = data[: 34 * 512], data[-33 * 512 :]
        work.unlink()
    return _tables[size, with_esp]


def xfs(path: Path, prototype: str, *options: str) -> Path:
    """An XFS file system without a partition table, of *prototype* (see mkfs.xfs(8))."""
    needs("mkfs.xfs")
    path.with_suffix(".proto").write_text(f"/dev/null\n0 0\n{prototype}")
    with path.open("wb") as file:
        file.truncate(320 * MIB)
    call("mkfs.xfs", "-q", "-L", "root", "-p", path.with_suffix(".proto"), *options, path)
    return path


def debugfs(path: Path, *commands: str, offset: int = ROOT_START) -> str:
    """Run commands of debugfs, which may write, on the ext file system at *offset*. Returns what it printed."""
    asked = "".join(f"{command}\n" for command in commands).encode()
    return run.run(["debugfs", "-w", "-f", "-", f"{path}?offset={offset}"], reason="to change it", stdin=asked).stdout


def call(*words: str | Path) -> None:
    """Run a program of the host."""
    run.run(words, reason="to make a test image")
