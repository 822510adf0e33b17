"""A guest's files as a folder of this host: read like an image, and entered to run shell commands in it as root.

The view is the real :class:`factory.inspection.Image` with another source of answers, stricter than a disk: it takes
absolute paths only and refuses what no caller should ask for. Commands run by chroot in a mount name space of their own
(and a user name space, without root), with the programs of this host read-only; absolute links resolve inside.
"""

from __future__ import annotations

import os
import shutil
import stat as modes
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from factory.inspection import Absent, Image, Unreadable
from factory.inspection.answers import Facts, Top

T = TypeVar("T")
Content = bytes | str | tuple[str, Any]
KINDS = {
    modes.S_IFREG: "file",
    modes.S_IFDIR: "dir",
    modes.S_IFLNK: "symlink",
    modes.S_IFIFO: "fifo",
    modes.S_IFSOCK: "socket",
    modes.S_IFCHR: "char",
    modes.S_IFBLK: "block",
}


def link(target: str) -> Content:
    """A symbolic link, for :func:`plant`."""
    return ("link", target)


def folder(mode: int = 0o755) -> Content:
    """An empty directory, for :func:`plant`."""
    return ("folder", mode)


def file(content: bytes, mode: int) -> Content:
    """A file with a mode, for :func:`plant`."""
    return (content.decode("latin-1"), mode)


def plant(root: Path, files: Mapping[str, Content]) -> Path:
    """Write *files* (absolute paths of the guest) below *root*; what is there already is replaced."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.is_file():
            path.unlink()
        if isinstance(content, bytes | str):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            continue
        kind, value = content
        if kind == "link":
            path.symlink_to(value)
        elif kind == "folder":
            path.mkdir(exist_ok=True)
            path.chmod(value)
        else:
            path.write_bytes(kind.encode("latin-1"))
            path.chmod(value)
    return root


class Tree(Image):
    """The files below *root*; *others* are partitions that are mounted nowhere."""

    def __init__(self, root: Path, **others: Path) -> None:
        self.path = root
        self.read_paths: list[str] = []
        self._lock = threading.Lock()
        self._roots = {None: root, 1: root} | {int(number[1:]): path for number, path in others.items()}
        from factory.filesystem import FileSystem
        from factory.partitions import Partition

        parts = [Partition(1, 0, 0, "", "", "", FileSystem("ext4"))]
        parts += [
            Partition(number, 0, 0, "", "", "", FileSystem("vfat")) for number in self._roots if number not in (None, 1)
        ]
        tops = {"/": Top(1, root.stat().st_ino, "")}
        self._facts = Facts("gpt", 0, (), tuple(parts), {}, 1, "", {"/": 1}, tops)

    def close(self) -> None:
        """Nothing was opened."""

    def _ask(self, request: dict[str, Any], understood: Callable[[dict[str, Any], bytes], T]) -> T:
        path, partition = request["path"], request["partition"]
        assert path.startswith("/"), f"{path!r} is not absolute"
        assert "//" not in path and ".." not in path.split("/"), f"{path!r} is not a plain path"
        root = self._roots[partition]
        do = request["do"]
        real = self._find(root, path, follow=request.get("follow", do in ("read", "scan")))
        status = real.lstat()
        if do == "stat":
            return understood({"entry": self._entry(status)}, b"")
        if do == "readlink":
            if not real.is_symlink():
                raise Unreadable(f"{path} is no symbolic link")
            return understood({"target": os.readlink(real)}, b"")
        if do == "scan":
            if not modes.S_ISDIR(status.st_mode):
                raise Unreadable(f"{path} is no directory")
            entries = [(name, *self._entry((real / name).lstat())) for name in sorted(os.listdir(real))]
            return understood({"entries": entries}, b"")
        assert do == "read", do
        if not modes.S_ISREG(status.st_mode):
            raise Unreadable(f"{path} is no file")
        with real.open("rb") as opened:
            opened.seek(request["offset"])
            return understood({"size": status.st_size}, opened.read(request["size"]))

    def _find(self, root: Path, path: str, *, follow: bool) -> Path:
        left = [part for part in path.split("/") if part and part != "."][::-1]
        at, links = root, 0
        while left:
            part = left.pop()
            if part == "..":
                at = at if at == root else at.parent
                continue
            below = at / part
            if not os.path.lexists(below):
                raise Absent(f"{path} is not there")
            if below.is_symlink() and (left or follow):
                links += 1
                if links > 40:
                    raise Unreadable(f"{path} is a loop of links")
                target = os.readlink(below)
                at = root if target.startswith("/") else at
                left += [part for part in target.split("/") if part and part != "."][::-1]
                continue
            if left and not below.is_dir():
                raise Absent(f"{path} is not there")
            at = below
        return at

    def _entry(self, status: os.stat_result) -> tuple[object, ...]:
        uid, gid = (
            0 if number == own else number
            for number, own in ((status.st_uid, os.getuid()), (status.st_gid, os.getgid()))
        )
        mode = modes.S_IMODE(status.st_mode)
        kind = KINDS[modes.S_IFMT(status.st_mode)]
        return (status.st_ino, kind, mode, uid, gid, status.st_size, status.st_mtime, status.st_nlink, 1)


_MAPPED = "no" if os.geteuid() == 0 else "yes"
PROGRAMS = ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "bin", "sbin", "lib", "lib64")
ENTER = r"""
set -eu
root=$1 mapped=$2
shift 2
for name; do
    mount --rbind "/$name" "$root/$name"
    # In a user name space, flags of the host's mount can forbid this; its files are safe there by their owners.
    mount -o remount,bind,ro "$root/$name" 2>/dev/null || [ "$mapped" = yes ]
done
for node in null zero full; do
    : >>"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
"""


def can_enter() -> str:
    """Why :func:`enter` cannot work here; empty when it can."""
    if shutil.which("unshare") is None:
        return "there is no unshare program"
    tried = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    return f"no name spaces for this user: {tried.stderr.strip()}" if tried.returncode else ""


def enter(
    root: Path,
    script: str,
    *,
    status: int = 0,
    before: str = "",
    own_sbin: bool = False,
    name: str = "/run/script",
    options: tuple[str, ...] = (),
) -> str:
    """Run a shell *script* as root of the guest at *root*, as its file *name*; returns what it printed.

    It must end with *status*. *before* are commands before the chroot, where ``$root`` is the guest; *own_sbin* keeps
    the guest's own /usr/sbin.
    """
    if reason := can_enter():
        pytest.skip(reason)
    names = []
    for program in PROGRAMS:
        host, inside = Path("/") / program, root / program
        if not host.exists() or (own_sbin and program == "usr/sbin"):
            continue
        if host.is_symlink():
            if not os.path.lexists(inside):
                inside.symlink_to(os.readlink(host))
            continue
        inside.mkdir(parents=True, exist_ok=True)
        names.append(program)
    for folder_name in ("dev", "proc", "run"):
        (root / folder_name).mkdir(exist_ok=True)
    path = root / name.lstrip("/")
    path.write_text(script)
    command = f'{ENTER}{before}\nexec chroot "$root" /bin/sh {name}'
    done = subprocess.run(
        [*_unshare(), *options, "sh", "-c", command, "enter", str(root), _MAPPED, *names],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    path.unlink(missing_ok=True)
    shutil.rmtree(root / "dev")
    assert done.returncode == status, done.stdout
    return done.stdout


def _unshare() -> list[str]:
    return ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
