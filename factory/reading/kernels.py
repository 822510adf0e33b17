"""Every installed kernel: its release, where its image and its initramfs are, and which drivers it has in what form."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.inspection import Absent
from factory.leftovers import text
from factory.reading import boot_entries
from factory.reading.boot_entries import BootFile
from factory.reading.grub_menu import Place, shown
from factory.reading.initramfs import module_name

if TYPE_CHECKING:
    from factory.inspection import Image

MODULES = "/lib/modules"
_IMAGES = ("vmlinuz-*", "vmlinux-*", "kernel-*", "Image-*", "linux-*")
_INITRDS = ("initrd.img-{0}", "initramfs-{0}.img", "initrd-{0}", "initramfs-{0}", "initrd-{0}.img")


@dataclass(frozen=True)
class Kernel:
    """One kernel. *release* is what ``uname -r`` would say, empty when it could not be told.

    *builtin* and *modules* are names of drivers, with ``_`` for ``-``: in the kernel itself, and as files.
    *listed*: a boot loader offers it.
    """

    release: str
    image: BootFile
    initrds: tuple[BootFile, ...]
    builtin: frozenset[str]
    modules: frozenset[str]
    listed: bool
    complete: bool = True  # the kernel's own list of what is built in was there

    @property
    def name(self) -> str:
        """What to call it in a finding."""
        return self.release or self.image.path


def read(image: Image) -> tuple[Kernel, ...]:
    """Every kernel that a boot loader offers or that lies in /boot. Raises Unreadable."""
    found: dict[str, Kernel] = {}
    releases = _releases(image)
    for entry in boot_entries.read(image).entries:
        if entry.kernel.there:
            kernel = _kernel(image, entry.kernel, entry.initrds, releases, listed=True)
            known = found.get(kernel.image.path)
            # Some entries of a kernel have no initramfs on purpose; what any of them loads is what it has.
            if known is None or not known.initrds:
                found[kernel.image.path] = kernel
    for file in _images(image):
        if file.path not in found and not any(kernel.release == _suffix(file.path) for kernel in found.values()):
            kernel = _kernel(image, file, (), releases, listed=False)
            initrds = tuple(_initrds(image, file.path, kernel.release))
            found[file.path] = Kernel(**{**vars(kernel), "initrds": initrds})
    return tuple(sorted(found.values(), key=lambda kernel: kernel.image.path))


def configured(image: Image, release: str, name: str) -> str:
    """What the configuration of a kernel says of an option: ``y``, ``m``, or nothing."""
    for path in (f"/boot/config-{release}", f"{MODULES}/{release}/config"):
        match = re.search(rf"^{name}=(\S+)$", text(image, path) or "", re.MULTILINE)
        if match:
            return match[1]
    return ""


def _kernel(
    image: Image, file: BootFile, initrds: tuple[BootFile, ...], releases: list[str], *, listed: bool
) -> Kernel:
    release = _release(image, file, releases)
    folder = f"{MODULES}/{release}"
    builtin = _listed(image, f"{folder}/modules.builtin") if release in releases else frozenset()
    modules = _listed(image, f"{folder}/modules.dep") if release in releases else frozenset()
    if release in releases and not modules:  # a list that was never made, or holds nothing
        modules = frozenset(module_name(path) for path, _ in image.walk(f"{folder}/kernel") if ".ko" in path)
    there = tuple(each for each in initrds if each.there and "ucode" not in each.path)
    complete = release in releases and image.exists(f"{folder}/modules.builtin")
    return Kernel(release, file, there, builtin, modules, listed, complete)


def _release(image: Image, file: BootFile, releases: list[str]) -> str:
    """By the name of the image, by what the image itself says, or because there is only one."""
    suffix = _suffix(file.path)
    here = image.stat(file.place.path, partition=file.place.partition)
    if here and here.kind == "symlink":  # /vmlinuz
        suffix = _suffix(image.readlink(file.place.path, partition=file.place.partition))
    if suffix in releases:
        return suffix
    head = image.head(file.place.path, 0x10000, partition=file.place.partition)
    if head[0x202:0x206] == b"HdrS":
        start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
        said = head[start : head.find(b"\0", start)].decode("ascii", "replace").split()
        if said:
            return said[0]
    flavoured = [each for each in releases if suffix and each.endswith(f"-{suffix}")]  # vmlinuz-virt of Alpine
    if len(flavoured) == 1:
        return flavoured[0]
    folder = file.path.rsplit("/", 2)[-2]  # /boot/TOKEN/RELEASE/linux
    if folder in releases:
        return folder
    if suffix[:1].isdigit() and "rescue" not in suffix:
        return suffix
    return releases[0] if len(releases) == 1 and not suffix else ""


def _suffix(path: str) -> str:
    return path.rpartition("/")[2].partition("-")[2]


def _releases(image: Image) -> list[str]:
    try:
        return [name for name, found in image.scan(MODULES) if found.kind == "dir"]
    except Absent:
        return []


def _listed(image: Image, path: str) -> frozenset[str]:
    try:
        lines = os.fsdecode(image.read(path)).splitlines()
    except Absent:
        return frozenset()
    return frozenset(module_name(line.partition(":")[0].strip()) for line in lines if line.strip())


def _images(image: Image) -> Iterator[BootFile]:
    seen = False
    for pattern in _IMAGES:
        if seen and pattern == "vmlinux-*":  # beside a vmlinuz it is for debuggers
            continue
        for path in image.glob(f"/boot/{pattern}"):
            seen = True
            found = image.stat(path, follow=True)
            if found and found.kind == "file" and not path.endswith((".old", ".hmac", ".gz.sig")):
                yield BootFile(shown(image, Place(None, path)), Place(None, path), True)


def _initrds(image: Image, path: str, release: str) -> Iterator[BootFile]:
    for suffix in dict.fromkeys(each for each in (_suffix(path), release) if each):
        for pattern in _INITRDS:
            place = Place(None, f"{path.rpartition('/')[0]}/{pattern.format(suffix)}")
            found = image.stat(place.path, follow=True)
            if found and found.kind == "file":
                yield BootFile(place.path, place, True)
                return
