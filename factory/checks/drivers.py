"""Drivers of the cloud's machines: each installed kernel has them built in or in the initramfs it is booted with.

*initramfs* are drivers without which the root file system is not found; *modules* are those that may be loaded later.
Words joined by ``|`` are alternatives. *with* are drivers that the others need, and *root* stands for that of the root
file system: they are missing when the kernel has them as modules and the initramfs lacks them. *oldest* is the first
release of Linux that will do. What modprobe is told not to load is as good as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.blocked_modules import blocked
from factory.inspection import Image, Unreadable
from factory.reading import initramfs, kernels
from factory.reading.bls import version_key
from factory.reading.initramfs import Initramfs
from factory.reading.kernels import Kernel

_OPTIONS = {
    "virtio_scsi": "CONFIG_SCSI_VIRTIO",
    "sd_mod": "CONFIG_BLK_DEV_SD",
    "ena": "CONFIG_ENA_ETHERNET",
    "nvme": "CONFIG_BLK_DEV_NVME",
    "ata_piix": "CONFIG_ATA_PIIX",
    "e1000": "CONFIG_E1000",
    "iscsi_tcp": "CONFIG_ISCSI_TCP",
    "mlx5_core": "CONFIG_MLX5_CORE",
    "bnxt_en": "CONFIG_BNXT",
    "ixgbevf": "CONFIG_IXGBEVF",
    "hv_vmbus": "CONFIG_HYPERV",
    "hv_storvsc": "CONFIG_HYPERV_STORAGE",
    "hv_netvsc": "CONFIG_HYPERV_NET",
}
MADE_ANEW = (
    "make the initramfs anew: update-initramfs -u -k all (Debian), dracut --force --no-hostonly --regenerate-all "
    "(RHEL, SUSE) or mkinitfs (Alpine)"
)
_ROOTS = {"ext2": "ext4", "ext3": "ext4", "ext4": "ext4", "xfs": "xfs", "btrfs": "btrfs"}


def unpacked(image: Image) -> dict[str, Initramfs]:
    """The initramfs of every kernel, by its path. Raises Unreadable."""
    return {file.path: initramfs.read(image, file.place) for kernel in kernels.read(image) for file in kernel.initrds}


def readable(looked: Looked) -> Iterable[Initramfs]:
    """The initramfs of every kernel, for checks of what is in them; none when one cannot be read.

    This check and that of hibernation then say so, and refuse the image: others need not.
    """
    try:
        return looked.know(unpacked).values()
    except Unreadable:
        return ()


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    early = list(rule.parameters.get("initramfs", ()))
    more = list(rule.parameters.get("with", ()))
    if "root" in more:
        number = looked.image.mounts()["/"]
        kind = next((p.filesystem.kind for p in looked.image.partitions() if p.number == number and p.filesystem), "")
        more[more.index("root")] = _ROOTS.get(kind, "")
    found = looked.know(kernels.read)
    if not found:
        yield Problem("image", "no kernel was found, neither in a boot entry nor in /boot")
        return
    archives = looked.know(unpacked)
    loaded: set[str] = set()  # what some kernel has only as a module; of alternatives another one does
    for kernel in found:
        builtin = _builtin(looked.image, kernel)
        inside: frozenset[str] = frozenset()
        for file in kernel.initrds:
            inside |= archives[file.path].modules
            builtin = builtin | archives[file.path].builtin
        missing = [name for name in early if not _any(name, builtin | inside)]
        missing += [name for name in more if _any(name, kernel.modules) and not _any(name, builtin | inside)]
        if missing:
            where = " and ".join(file.path for file in kernel.initrds) or "no initramfs"
            place = f"neither built into {kernel.name} nor in {where}"
            # A kernel that no boot loader offers and that has no initramfs was not made to boot here.
            unused = not kernel.listed and not kernel.initrds
            yield Problem(kernel.image.path, f"{_names(missing)}: {place}", warn=unused)
        oldest = str(rule.parameters.get("oldest", ""))
        if oldest and kernel.release[:1].isdigit() and version_key(kernel.release) < version_key(oldest):
            yield Problem(kernel.image.path, f"{kernel.name} is older than {oldest}")
        later = [name for name in rule.parameters.get("modules", ())
                 if not _any(name, builtin | inside | kernel.modules)]  # fmt: skip
        if later:
            place = f"neither built into {kernel.name} nor among its modules"
            yield Problem(kernel.image.path, f"{_names(later)}: {place}")
        loaded |= {*early, *more, *rule.parameters.get("modules", ())} - builtin
    yield from blocked(looked, loaded)
    names = ", ".join(kernel.name for kernel in found)
    yield Note(f"{names}: {_names([*early, *rule.parameters.get('modules', ())])} are there")


def _builtin(image: Image, kernel: Kernel) -> frozenset[str]:
    """What is built in: as the kernel's own list says, or its configuration when there is no list."""
    if kernel.complete or not kernel.release:
        return kernel.builtin
    wanted = {*_OPTIONS, "virtio_pci", "virtio_blk", "virtio_net"}
    return frozenset(
        name for name in wanted if kernels.configured(image, kernel.release, _OPTIONS.get(name, _option(name))) == "y"
    )


def _option(name: str) -> str:
    return f"CONFIG_{name.upper()}"


def _any(alternatives: str, names: frozenset[str]) -> bool:
    return any(name in names for name in alternatives.split("|"))


def _names(names: list[str]) -> str:
    return ", ".join(name.replace("|", " or ") for name in names)
