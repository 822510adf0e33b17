"""Boot entries: there is one, and the kernel and initramfs that each loads are where its boot loader looks.

Unified kernel images, which hold kernel, initramfs and command line in one program of UEFI, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import boot_entries
from factory.reading.boot_firmware import read_bios

SEPARATE = (
    "Make an entry with kernel and initramfs as files of their own beside it, in the guest: layout=bls in "
    "/etc/kernel/install.conf, then kernel-install add VERSION /lib/modules/VERSION/vmlinuz"
)

STUB = (
    "Write the UUID that blkid shows for the file system with /boot into it, or in the guest: "
    "grub-install --target=x86_64-efi --removable && update-grub"
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = looked.know(boot_entries.read)
    if not found.entries:
        for path in _unified(looked):
            seen = f"no boot entry for Linux but {path}, a unified kernel image, which is not read here"
            yield Problem("image", seen, fix=SEPARATE)
            return
        read = f" in {', '.join(found.files)}" if found.files else ""
        yield Problem("image", f"no boot entry for Linux was found{read}")
        return
    told = set()
    for entry in found.entries:
        for file in (entry.kernel, *entry.initrds):
            if not file.there and (file.path, entry.default) not in told:
                told.add((file.path, entry.default))
                which = "the default entry" if entry.default else f"entry {entry.title or entry.id!r}"
                # Another entry may be chosen by hand; the default is what a cloud boots.
                yield Problem(file.path, f"{entry.path}:{entry.line}: {which} loads it, and it is not there",
                              warn=not entry.default)  # fmt: skip
    stranded = found.stranded if _by_uefi(looked) and not any(_unified(looked)) else ()
    for missing in found.missing:
        if not missing.what.startswith("default entry"):
            seen = f"{missing.path}:{missing.line}: {missing.what}: not on this disk"
            if missing in stranded:
                yield Problem(missing.path, f"{seen}, and UEFI finds no boot entry without it", fix=STUB)
            else:
                yield Problem(missing.path, seen, warn=True)
    default = next((entry for entry in found.entries if entry.default), found.entries[0])
    yield Note(
        f"{len(found.entries)} boot entries; the default is {default.path}:{default.line}: {default.kernel.path}"
    )


def _by_uefi(looked: Looked) -> bool:
    """Whether the image is booted by UEFI: because it is asked for, or because nothing else is there."""
    return looked.firmware == "uefi" or (not looked.firmware and bool(read_bios(looked.disk)))


def _unified(looked: Looked) -> Iterator[str]:
    for part in looked.disk.partitions():
        if part.filesystem and part.filesystem.kind == "vfat" and part.number not in looked.disk.unreadable_partitions:
            yield from looked.disk.glob("/EFI/Linux/*.efi", partition=part.number)
