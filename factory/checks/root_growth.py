"""The root file system grows to the disk at the first boot: the tools are there and cloud-init's modules are on.

growroot in the initramfs, or systemd-repart with a definition, grow the partition as well. A volume of LVM none of them
grows: something that calls lvextend has to be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import holds, matching
from factory.partitions import Partition
from factory.quoting import quoted
from factory.reading import cloud_init
from factory.reading.cloud_init import CloudInit
from factory.reading.lines import content_of, entries, layered

GROWPART = ("/usr/bin/growpart", "/usr/sbin/growpart", "/usr/local/bin/growpart")
PARTITIONING = ("/usr/sbin/sfdisk", "/sbin/sfdisk", "/usr/sbin/sgdisk", "/sbin/sgdisk", "/usr/bin/sgdisk")
RESIZE = {
    "ext": ("/usr/sbin/resize2fs", "/sbin/resize2fs"),
    "xfs": ("/usr/sbin/xfs_growfs", "/sbin/xfs_growfs"),
    "btrfs": ("/usr/bin/btrfs", "/usr/sbin/btrfs", "/sbin/btrfs", "/bin/btrfs"),
}
GROWROOT = (
    "/usr/share/initramfs-tools/hooks/growroot",
    "/usr/lib/dracut/modules.d/50growroot",
)
REPART = ("/etc/repart.d", "/usr/local/lib/repart.d", "/usr/lib/repart.d")
_ROOT_TYPE = re.compile(r"root(?!.*verity)[\w-]*|linux-generic", re.IGNORECASE)
_PARTITION = re.compile(r"/dev/(?:(?:vd|sd|xvd|hd)(?P<disk>[a-z]+)|nvme\d+n\d+p|mmcblk\d+p)(?P<number>\d+)")
STAGES = ("cloud_init_modules", "cloud_config_modules", "cloud_final_modules")
OFF = ("off", "false", "no", "0")
DISABLED = "/etc/growroot-disabled"
# Where something may lie that grows a volume of LVM at boot.
SCRIPTS = (
    "/etc/cloud/cloud.cfg.d/*.cfg",
    "/var/lib/cloud/scripts/per-*/*",
    "/etc/rc.local",
    "/etc/rc.d/rc.local",
    "/etc/local.d/*.start",
    "/etc/systemd/system/*.service",
    "/usr/local/lib/systemd/system/*.service",
    "/usr/local/bin/*",
    "/usr/local/sbin/*",
    "/opt/*/bin/*",
)
BY_HAND = (
    "Make the image with the root on a plain partition; or in /etc/cloud/cloud.cfg.d/50-lvm.cfg, with your own names: "
    "growpart: {devices: [/dev/vda3]} and runcmd: [pvresize /dev/vda3, lvextend -r -l +100%FREE /dev/VG/ROOT]"
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    settings = looked.know(cloud_init.read)
    other = [path for pattern in GROWROOT for path in image.glob(pattern)] + list(_definitions(looked))
    kind = _root_kind(looked)
    tools = next((paths for name, paths in RESIZE.items() if kind.startswith(name)), ())
    if not tools:
        yield Problem("image", f"the root file system is {kind or 'of an unknown kind'}, which nothing grows")
    elif not any(map(image.exists, tools)):
        yield Problem("image", f"the root file system is {kind}, and none of {', '.join(tools)} is there")
    if not any(map(image.exists, GROWPART)) and not other:
        yield Problem("image", f"there is no {GROWPART[0]}, no growroot and no definition of a root for systemd-repart")
    elif not any(map(image.exists, PARTITIONING)) and not other:
        yield Problem("image", f"growpart has neither sfdisk nor sgdisk: none of {', '.join(PARTITIONING)} is there")
    yield from _volume(looked)
    if image.exists(DISABLED):
        yield Problem(DISABLED, f"{DISABLED} is there", fix=f"rm -f {DISABLED}")
    if settings.program:
        # Whichever stage runs it: each does so at the first boot.
        modules = {module for stage in STAGES for module in settings.modules(stage)}
        for module in ("growpart", "resizefs"):
            if module not in modules and not (module == "growpart" and other):
                path = settings.path("cloud_init_modules")
                told = f"none of {', '.join(STAGES)} has {module}: {settings.place('cloud_init_modules')}"
                yield Problem(path, told, fix=f"Write {module} into cloud_init_modules of {quoted(path)}")
        for keys in (("growpart", "mode"), ("resize_rootfs",)):
            if settings.word(*keys) in OFF:
                path = settings.path(*keys)
                yield Problem(path, settings.place(*keys), fix=f"Take the line out of {quoted(path)}")
        if not other:
            yield from _devices(looked, settings)
    yield Note(f"the tools for {kind} and cloud-init's modules are there")


def _volume(looked: Looked) -> Iterator[Problem]:
    """A root on LVM that nothing grows."""
    root = _root(looked)
    if root is None or root.type != "lvm":
        return
    for path, found in matching(looked.image, *SCRIPTS):
        if found.kind == "file" and found.size < 1 << 20 and holds(looked.image, path, b"lvextend"):
            return
    told = f"the root is {root.name}, a volume of LVM, which neither growpart nor cloud-init grows"
    yield Problem("image", told, fix=BY_HAND)


def _definitions(looked: Looked) -> Iterator[str]:
    """The files by which systemd-repart grows the root: those that say its type."""
    root = _root(looked)
    for path in layered(looked.image, REPART, ".conf"):
        for entry in entries(path, content_of(looked.image, path)):
            own = root is not None and entry.value.lower() == root.type
            if (entry.section, entry.key) == ("Partition", "Type") and (own or _ROOT_TYPE.fullmatch(entry.value)):
                yield path


def _devices(looked: Looked, settings: CloudInit) -> Iterator[Problem]:
    """A list of what growpart is to grow, when the root is not in it."""
    said, root = settings.get("growpart"), _root(looked)
    if not isinstance(said, dict) or "devices" not in said or root is None or not root.number or root.type == "lvm":
        return
    value = settings.get("growpart", "devices")
    devices = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
    if not any(_may_be(device, root.number) for device in devices):
        path, place = settings.path("growpart", "devices"), settings.place("growpart", "devices")
        told = f"{place}: the root is not among them"
        yield Problem(path, told, fix=f"Take devices, below growpart, out of {quoted(path)}, or write devices: ['/']")


def _may_be(device: str, root: int) -> bool:
    """Whether a word for growpart may mean the partition *root* of the only disk; of a link only a boot tells."""
    if not device.startswith("/dev/"):
        return device == "/"
    match = _PARTITION.fullmatch(device)
    return match is None or (int(match["number"]) == root and match["disk"] in (None, "a"))


def _root_kind(looked: Looked) -> str:
    root = _root(looked)
    return root.filesystem.kind if root and root.filesystem else ""


def _root(looked: Looked) -> Partition | None:
    number = looked.image.mounts()["/"]
    return next((part for part in looked.disk.partitions() if part.number == number), None)
