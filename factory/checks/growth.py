"""Growth: at the first boot the root partition and its file system grow to the disk of the instance.

Either cloud-init does it (growpart, a program that writes partition tables, and one that grows the file system), or the
initramfs or systemd-repart does.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.inspection import Image
from factory.leftovers import text
from factory.reading import fstab

_BIN = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin")
_GROWERS = {"ext2": "resize2fs", "ext3": "resize2fs", "ext4": "resize2fs", "xfs": "xfs_growfs", "btrfs": "btrfs"}
_PARTITIONERS = ("sfdisk", "sgdisk")
_IN_INITRAMFS = (
    "/usr/share/initramfs-tools/scripts/local-bottom/growroot",
    "/usr/lib/dracut/modules.d/50growroot",
    "/usr/lib/dracut/modules.d/98growroot",
    "/usr/lib/dracut/modules.d/99kiwi-repart",
)
_OFF = "/etc/growroot-disabled"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    root = image.mounts()["/"]
    kind = next((p.filesystem.kind for p in image.partitions() if p.number == root and p.filesystem), "")
    if kind not in _GROWERS:
        yield Problem("image", f"the root file system is {kind or 'of an unknown kind'}, which nothing grows")
        return
    if image.exists(_OFF):
        yield Problem(_OFF, f"{_OFF} is there, so cloud-init does not grow the partition")
    if by := _another_way(image):
        yield Note(f"grown by {by}")
        return
    grower = _GROWERS[kind]
    if not _program(image, "growpart"):
        yield Problem(
            "image", "growpart is not installed (package cloud-guest-utils, cloud-utils-growpart or growpart)"
        )
    elif not any(_program(image, name) for name in _PARTITIONERS):
        yield Problem("image", f"growpart needs one of {' and '.join(_PARTITIONERS)}, and neither is installed")
    if not _program(image, grower):
        yield Problem("image", f"{grower} is not installed, so the {kind} file system does not grow")
    yield Note(f"growpart and {grower} are installed")


def _program(image: Image, name: str) -> str:
    for folder in _BIN:
        found = image.stat(f"{folder}/{name}", follow=True)
        if found and found.kind == "file":
            return f"{folder}/{name}"
    return ""


def _another_way(image: Image) -> str:
    for path in _IN_INITRAMFS:
        if image.exists(path):
            return path
    repart = [path for folder in ("/usr/lib/repart.d", "/etc/repart.d") for path in image.glob(f"{folder}/*.conf")]
    grows = any(line.place == "/" and "x-systemd.growfs" in line.options for line in fstab.read(image))
    for path in repart:
        if "Type=root" in (text(image, path) or "") and grows:
            return path
    return ""
