"""A disk with one of everything, for the tests that look into images."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from tests import images

ODD = b"odd\xff\xfename"
LONG_LINK = "/" + "x" * 300
ESP = {"EFI/BOOT/BOOTX64.EFI": b"MZ the loader", "EFI/debian/grub.cfg": b"search", "A long Näme.txt": b"long"}


def guest(work: Path) -> Path:
    """The disk, made below *work*."""
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


def copied(disk: Path, tmp_path: Path) -> Path:
    """A copy of the disk to be damaged."""
    return Path(shutil.copy(disk, tmp_path / "damaged.raw"))
