"""Whether a firmware finds a boot loader on a disk: code in the MBR and behind it, or a program on the ESP."""

from __future__ import annotations

from collections.abc import Iterable

from factory.inspection import Absent, Image, Unreadable

BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
ESP = ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef")
LOADERS = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI", "i386": "BOOTIA32.EFI"}
CODE = 440  # bytes of an MBR before the disk's number


def read_bios(image: Image) -> str:
    """Why a BIOS finds no loader; empty when it finds one."""
    if not any(image.peek(0, CODE)):
        return "the first sector holds no boot code"
    if image.table != "gpt":
        return "" if any(image.peek(512, 512)) or any(part.bootable for part in image.partitions()) else (
            "neither a partition is marked active, nor is there more boot code behind the first sector"
        )  # fmt: skip
    rooms = [part for part in image.partitions() if part.type == BIOS_BOOT]
    if any(any(image.peek(part.start, 512)) for part in rooms) or any(part.bootable for part in image.partitions()):
        return ""
    return "the BIOS boot partition is empty" if rooms else "a GPT without a BIOS boot partition or a bootable one"


def read_uefi(image: Image, architectures: Iterable[str]) -> str:
    """Why a UEFI firmware, which knows no boot entries of this disk, finds no loader; empty when it finds one."""
    parts = [part for part in image.partitions() if part.type in ESP]
    if not parts:
        return "there is no EFI system partition"
    why = ""
    for part in parts:
        if part.filesystem is None or part.filesystem.kind != "vfat":
            why = f"the EFI system partition {part.number} holds no FAT file system"
            continue
        for name in (LOADERS[each] for each in architectures if each in LOADERS):
            path = f"/EFI/BOOT/{name}"
            try:
                if image.head(path, 2, partition=part.number) == b"MZ":
                    return ""
                why = f"{path} on partition {part.number} is no program"
            except Absent:
                why = f"{path} is not on partition {part.number}"
            except Unreadable as error:
                if part.number in image.unreadable_partitions:
                    raise
                why = f"{path}: {error}"
    return why
