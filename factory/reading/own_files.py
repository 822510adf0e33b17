"""The files of an image that are its own: those outside the folders where packages put theirs.

That is everything but /usr (without /usr/local) and the databases and caches of package managers, so that a
search through all of them costs little on any image. Folders of libraries are left out: their tests hold sample keys,
those of Python and Go, wherever they were unpacked, too.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.inspection.answers import FileStat

# fmt: off
_SYSTEM = {
    "bin", "dev", "lib", "lib32", "lib64", "libx32", "lost+found",
    "nix", "ostree", "proc", "run", "sbin", "snap", "sys", "usr",
}  # folders of /
# fmt: on
_PACKAGES = (
    "/boot/grub",
    "/boot/grub2",
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/lib/rpm",
    "/var/lib/dnf",
    "/var/lib/zypp",
    "/var/lib/snapd/snaps",
    "/var/lib/docker/overlay2",
    "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs",
    "/var/lib/containers/storage/overlay",
    "/var/lib/flatpak",
    "/var/cache/apt",
    "/var/cache/dnf",
    "/var/cache/man",
    "/usr/local/share/man",
)
_LIBRARIES = re.compile(
    r"/(site-packages|dist-packages|node_modules|gems|go/pkg/mod|\.cargo/registry|\.rustup|\.m2/repository"
    r"|\.git/objects|lib/python3[\d.]*/test|go[\d.]*/src/(crypto|net))/"
)
_VENDORED = {"autoload.php", "modules.txt"}  # what Composer and Go put into a folder "vendor" that they fill


@once
def read(image: Image) -> tuple[tuple[str, FileStat], ...]:
    """Every regular file with content, by path. Partitions that are mounted there count, whatever they hold."""
    found: list[tuple[str, FileStat]] = []
    tops = [(f"/{name}", status) for name, status in image.scan("/") if name not in _SYSTEM]
    if (local := image.stat("/usr/local")) is not None:
        tops.append(("/usr/local", local))
    for top, status in tops:
        if status.kind == "file" and status.size:
            found.append((top, status))
        elif status.kind == "dir":
            _below(image, top, found)
    return tuple(found)


def _below(image: Image, top: str, found: list[tuple[str, FileStat]]) -> None:
    seen: set[tuple[int, int]] = set()
    left = [top]
    while left:
        folder = left.pop()
        place = image.stat(folder)
        if place is None or (place.partition, place.inode) in seen:
            continue  # a damaged file system can hold a directory in itself
        seen.add((place.partition, place.inode))
        names = image.scan(folder)
        if posixpath.basename(folder) == "vendor" and _VENDORED.intersection(name for name, _ in names):
            continue
        for name, status in names:
            path = posixpath.join(folder, name)
            if status.kind == "file" and status.size:
                found.append((path, status))
            elif status.kind == "dir" and not (path in _PACKAGES or _LIBRARIES.search(f"{path}/")):
                left.append(path)
