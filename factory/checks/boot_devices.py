"""Devices needed at boot: root= of every entry and the lines of fstab name what is really on this disk, by an id.

A name such as /dev/sda1 changes with the machine; an id that is not there makes the boot wait, or end, where it is
needed. So does a type that the file system is not of, and an option that it does not have. What fstab marks nofail or
noauto is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from factory.checks import Looked, Note, Problem, Rule, without_words
from factory.checks.drivers import MADE_ANEW, readable
from factory.inspection import Image, Unreadable
from factory.leftovers import text
from factory.reading import boot_entries, devices, dracut, fstab, grub_defaults, mount_options, systemd
from factory.reading.boot_entries import BootEntry
from factory.reading.devices import Devices
from factory.reading.fstab import Mount

_PSEUDO = (
    "tmpfs proc sysfs devtmpfs devpts cgroup cgroup2 debugfs tracefs bpf configfs securityfs pstore ramfs hugetlbfs"
)
_REMOTE = "nfs nfs4 cifs smb3 smbfs 9p virtiofs vboxsf vmhgfs fuse.vmhgfs-fuse prl_fs ceph glusterfs lustre"
_OTHERS = "mqueue binfmt_misc autofs overlay efivarfs fusectl fuse.sshfs fuse.glusterfs"
_NO_DEVICE = frozenset(f"{_PSEUDO} {_REMOTE} {_OTHERS}".split())


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    disk = looked.know(devices.read)
    entries = looked.know(boot_entries.read).entries
    for entry in entries:
        yield from _root(looked.image, disk, entry)
    lines = [line for line in looked.know(fstab.read) if _names_a_device(line)]
    for line in lines:
        yield from _fstab(looked.image, disk, line)
    yield from _built_in(looked, disk, entries)
    yield from _crypttab(looked.image, disk)
    yield from _units(looked, disk)
    yield from _next_update(looked.image, disk)
    yield Note(f"root= of {len(entries)} boot entries and {len(lines)} lines of {fstab.PATH} name what is on the disk")


def _root(image: Image, disk: Devices, entry: BootEntry) -> Iterator[Problem]:
    actual = _kind(image, image.mounts()["/"])
    for types in entry.option("rootfstype")[-1:]:
        if not mount_options.is_of(actual, types):
            evidence = f"{entry.evidence}: rootfstype={types}, and the root file system is {actual}"
            yield Problem(entry.path, evidence, fix=without_words(f"rootfstype={types}"))
    for value in entry.option("rd.lvm.lv"):
        if disk.judge(f"/dev/{value}") == "missing":
            yield Problem(entry.path, f"{entry.evidence}: rd.lvm.lv={value} is not on this disk")
    named = [value for value in entry.option("root") if value]
    if not named:
        if "root=" not in " ".join(entry.options) and not entry.option("ostree"):
            yield Problem(entry.path, f"{entry.evidence}: no root= tells which file system to boot")
        return
    root = named[-1]
    kind = disk.judge(root)
    if kind == "name":
        yield Problem(entry.path, f"{entry.evidence}: root={root} is a name that changes with the machine")
    elif kind == "missing":
        yield Problem(entry.path, f"{entry.evidence}: root={root} is not on this disk; {disk.inventory(root)}")
    elif kind == "there":
        number = devices.partition(image, root)
        own = image.mounts()["/"]
        if number is not None and own is not None and number != own:
            yield Problem(
                entry.path, f"{entry.evidence}: root={root} is partition {number}, and the system is on {own}"
            )
        elif number is not None:
            yield from _subvolume(image, entry, number)


def _built_in(looked: Looked, disk: Devices, entries: Iterable[BootEntry]) -> Iterator[Problem]:
    """Words for the kernel that dracut put into an initramfs; those of the boot entry win over them."""
    actual = _kind(looked.image, looked.image.mounts()["/"])
    given = {word.partition("=")[0] for entry in entries for word in entry.options}
    for archive in readable(looked):
        for name, word in archive.words:
            key, _, value = word.partition("=")
            volume = key == "rd.lvm.lv" and disk.judge(f"/dev/{value}") == "missing"
            luks = key in ("rd.luks.uuid", "rd.luks.name") and _no_luks(disk, value)
            root = key == "root" and disk.judge(value) in ("missing", "name")
            kind = key == "rootfstype" and not mount_options.is_of(actual, value)
            if volume or luks or root or kind:
                what = f"and the root file system is {actual}" if kind else "is not on this disk by an id"
                evidence = f"{archive.path}: {name}: {word} {what}"
                passed = (root or kind) and key in given
                yield Problem(archive.path, evidence, warn=passed, fix=f"In the guest, {MADE_ANEW}")


def _no_luks(disk: Devices, value: str) -> bool:
    number = value.partition("=")[0].removeprefix("luks-").lower()
    return not any(uuid.startswith(number) for uuid in disk.values["UUID"])


def _subvolume(image: Image, entry: BootEntry, partition: int) -> Iterator[Problem]:
    """rootflags= that name a subvolume which is not there."""
    flags = [flag for value in entry.option("rootflags") for flag in value.split(",") if flag.startswith("subvol")]
    if flags and partition not in image.unreadable_partitions:
        try:
            image.mounted(partition, flags)
        except Unreadable as error:
            yield Problem(entry.path, f"{entry.evidence}: rootflags={','.join(flags)}: {error.cause or error.message}")


def _fstab(image: Image, disk: Devices, line: Mount) -> Iterator[Problem]:
    if not line.needed or line.source.startswith("/dev/sr") or line.kind == "iso9660":  # that is another rule's
        return
    kind = disk.judge(line.source)
    if kind == "missing":
        yield Problem(fstab.PATH, f"{line.evidence}: not on this disk; {disk.inventory(line.source)}")
    elif kind == "name":
        yield Problem(fstab.PATH, f"{line.evidence}: a name that changes with the machine")
    elif line.kind == "swap" and line.source.startswith("/") and not line.source.startswith("/dev/"):
        if not image.exists(line.source):
            yield Problem(fstab.PATH, f"{line.evidence}: there is no such file")
    elif image.mounts().get(line.place, 0) is None and any(each.startswith("subvol") for each in line.options):
        yield Problem(fstab.PATH, f"{line.evidence}: the disk has no such subvolume")
    elif line.place == "/" and kind == "there":
        number = devices.partition(image, line.source)
        own = image.mounts()["/"]
        if number is not None and own is not None and number != own:
            yield Problem(fstab.PATH, f"{line.evidence}: that is partition {number}, and the system is on {own}")
    if kind == "there":
        yield from _mountable(image, line)


def _mountable(image: Image, line: Mount) -> Iterator[Problem]:
    """The type and the options of a line that names what is there."""
    at = image.mounts().get(line.place) or devices.partition(image, line.source)
    actual, root, where = _kind(image, at), line.place == "/", f"line {line.line} of {fstab.PATH}"
    if not mount_options.is_of(actual, line.kind):
        # The root is mounted by the initramfs, which asks the disk; a swap that fails ends no boot.
        harmless = root or line.kind == "swap"
        fix = f"Write {actual} in place of {line.kind} into {where}"
        yield Problem(fstab.PATH, f"{line.evidence}: the file system is {actual}", warn=harmless, fix=fix)
    elif line.kind != "swap":
        for option, meant in mount_options.unknown(actual, line.options):
            fix = f"Write {meant} in place of {option}" if meant else f"Take {option} out"
            evidence = f"{line.evidence}: {actual} has no option {option}"
            yield Problem(fstab.PATH, evidence, warn=not meant, fix=f"{fix}, in {where}")
    # openSUSE MicroOS (btrfs) and what is made with ostree have a root that is read-only by design.
    ways = [option for option in line.options if option in ("ro", "rw", "defaults")]
    if root and ways[-1:] == ["ro"] and actual != "btrfs" and not image.exists("/ostree"):
        evidence = f"{line.evidence}: the root stays read-only, so the first boot can write nothing"
        yield Problem(fstab.PATH, evidence, warn=True, fix=f"Write rw in place of ro into {where}")


def _kind(image: Image, partition: int | None) -> str:
    """What a partition holds; "" when that is not known."""
    return next((p.filesystem.kind for p in image.partitions() if p.number == partition and p.filesystem), "")


def _units(looked: Looked, disk: Devices) -> Iterator[Problem]:
    """Units of systemd that mount or swap at boot, in place of lines of fstab."""
    units = looked.know(systemd.read)
    for name in units.enabled() if units.present else ():
        path = units.path(name)
        if not name.endswith((".mount", ".swap")) or not path.startswith("/etc/"):
            continue
        for number, line in enumerate((text(looked.image, path) or "").splitlines(), 1):
            source = line.removeprefix("What=").strip()
            if line.startswith("What=") and disk.judge(source) in ("missing", "name"):
                yield Problem(path, f"{path}:{number}: {line.strip()}: not on this disk by an id")


def _crypttab(image: Image, disk: Devices) -> Iterator[Problem]:
    path = "/etc/crypttab"
    for number, line in enumerate((text(image, path) or "").splitlines(), 1):
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#") or {"noauto", "nofail"} & set("".join(fields[3:]).split(",")):
            continue
        if disk.judge(fields[1]) in ("missing", "name"):
            yield Problem(path, f"{path}:{number}: {' '.join(fields[:2])}: not on this disk by an id")


def _next_update(image: Image, disk: Devices) -> Iterator[Problem]:
    """What writes such a name at the next update of the kernel."""
    for name, setting in grub_defaults.read(image).items():
        if name == "GRUB_DISABLE_LINUX_UUID" and setting.value == "true":
            yield Problem(
                setting.path, f"{setting.evidence}: the next update of the menu writes device names", warn=True
            )
        if name not in ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT", "cmdline"):
            continue
        for option in setting.options:
            key, _, value = option.partition("=")
            if key in ("root", "resume") and disk.judge(value) in ("missing", "name"):
                yield Problem(setting.path, f"{setting.evidence}: {option} goes into the next boot entry", warn=True)
    for line in dracut.settings(image):
        for word in line.words if line.name == "kernel_cmdline" else ():
            key, _, value = word.partition("=")
            found = disk.judge(f"/dev/{value}" if key == "rd.lvm.lv" else value)
            if key in ("root", "resume", "rd.lvm.lv") and found in ("missing", "name"):
                fix = f"Take {word} out of line {line.line} of {line.path}"
                evidence = f"{line.path}:{line.line}: {word} goes into the next initramfs"
                yield Problem(line.path, evidence, warn=True, fix=fix)


def _names_a_device(line: Mount) -> bool:
    return line.kind not in _NO_DEVICE and not {"bind", "rbind"} & set(line.options)
