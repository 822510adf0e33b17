"""Generic initramfs: what makes it puts in drivers for every machine, not for the one it runs on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.inspection import Image
from factory.leftovers import text
from factory.reading import dracut
from factory.reading.kernels import Kernel
from factory.reading.kernels import read as read_kernels

_TOOLS = ("/etc/initramfs-tools/initramfs.conf", "/usr/share/initramfs-tools/conf.d/*", "/etc/initramfs-tools/conf.d/*")
_ALPINE = "/etc/mkinitfs/mkinitfs.conf"
_FOR_ALL = ("most",)
_NEEDED = {"virtio", "virtio_ring", "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "scsi_mod"}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    notes = []
    if image.exists("/etc/initramfs-tools"):
        path, line, value = _last(image, _tools_files(image), "MODULES") or ("", 0, "most")
        if value not in _FOR_ALL:
            yield Problem(path, f"{path}:{line}: MODULES={value}")
        notes.append(f"{path}:{line}: MODULES={value}" if path else "initramfs-tools: MODULES=most by default")
    if image.exists("/usr/lib/dracut") or image.exists("/etc/dracut.conf.d") or image.exists("/etc/dracut.conf"):
        path, line, value = _last(image, dracut.files(image), "hostonly") or ("", 0, "no")
        for setting in dracut.settings(image):
            gone = sorted(_NEEDED & {word.replace("-", "_") for word in setting.words})
            if setting.name == "omit_drivers" and gone:
                fix = f"Take {' '.join(gone)} out of line {setting.line} of {setting.path}"
                yield Problem(setting.path, f"{setting.evidence}: the next initramfs finds no virtio disk", fix=fix)
        if value.lower() in ("yes", "y", "1", "true"):
            yield Problem(path, f"{path}:{line}: hostonly={value}")
        notes.append(f"{path}:{line}: hostonly={value}" if path else "dracut: hostonly is not set")
    if image.exists(_ALPINE):
        path, line, value = _last(image, [_ALPINE], "features") or (_ALPINE, 0, "")
        if "virtio" not in value.split():
            yield Problem(path, f"{path}:{line}: features={value!r} has no virtio")
        notes.append(f"{path}:{line}: features={value}")
    if not notes:
        kernels: tuple[Kernel, ...] = looked.know(read_kernels)
        if not any(kernel.initrds for kernel in kernels):
            raise NotApplicable("no initramfs, and nothing that makes one")
        raise NotApplicable("nothing that makes an initramfs is installed")
    yield Note("\n".join(notes))


def _last(image: Image, paths: Iterable[str], name: str) -> tuple[str, int, str] | None:
    """The last assignment of a shell variable in *paths*: file, line, value."""
    found = None
    for path in paths:
        for number, line in enumerate((text(image, path) or "").splitlines(), 1):
            match = re.match(rf"""\s*{name}=(?:"([^"]*)"|'([^']*)'|([^\s#;]*))""", line)
            if match:
                found = (path, number, (match[1] or match[2] or match[3] or "").strip())
    return found


def _tools_files(image: Image) -> list[str]:
    # As mkinitramfs does, names of other characters (and backups) are passed over.
    found = [path for pattern in _TOOLS for path in image.glob(pattern)]
    return [path for path in found if re.fullmatch(r"[\w.-]+", path.rpartition("/")[2])
            and not path.endswith((".dpkg-old", ".dpkg-dist", ".dpkg-new", ".bak", ".orig"))]  # fmt: skip
