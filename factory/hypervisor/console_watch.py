"""Reads the serial console as it comes and knows what a dead boot looks like."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Death:
    """A boot that cannot succeed any more: the pattern, what it means, and what to try."""

    code: str
    pattern: re.Pattern[str]
    cause: str
    hint: str


DEATHS = (
    Death(
        "machine.kernel-panic",
        re.compile(r"Kernel panic - not syncing: ?(.*)"),
        "The guest's kernel panicked",
        "See the lines above the panic in the console log; too little memory or no driver of the root disk are common",
    ),
    Death(
        "machine.emergency",
        re.compile(r"You are in (?:emergency|rescue) mode|Give root password for|Entering (?:emergency|rescue) mode"),
        "The guest stopped in its emergency shell",
        "A file system or a mount of /etc/fstab failed; the console log names the unit",
    ),
    Death(
        "machine.initramfs",
        re.compile(r"\(initramfs\) ?|Dropping to a shell!|dracut-initqueue.*timeout|Entering emergency mode"),
        "The guest's initramfs did not find its root file system",
        "The initramfs lacks the disk's driver, or the root= of its boot entry names another disk",
    ),
    Death(
        "machine.grub",
        re.compile(r"grub rescue>|(?m:^|\r)grub> ?|error: no such (?:device|partition)|error: unknown filesystem"),
        "The boot loader did not find its files",
        "grub's prefix points at another partition; install grub again, inside the guest",
    ),
    Death(
        "machine.no-boot-device",
        re.compile(
            r"No bootable device|UEFI Interactive Shell|Boot failed: not a bootable disk|BdsDxe: No bootable option"
        ),
        "The firmware found nothing to boot",
        "The disk has no boot loader for this firmware; BIOS needs a BIOS-boot partition, UEFI EFI/BOOT/BOOTX64.EFI",
    ),
)
TAIL = 3000  # characters of the console kept for a message
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class ConsoleWatch:
    """Follows the file that QEMU writes the serial console to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._recent = ""
        self.last_progress = time.monotonic()

    def read(self) -> str:
        """The text that is new since the last call, without control sequences."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(1 << 20)
        except OSError:
            return ""
        if not data:
            return ""
        self._offset += len(data)
        self.last_progress = time.monotonic()
        text = clean(data.decode("utf-8", "replace"))
        self._recent = (self._recent + text)[-20_000:]
        return text

    def mentions(self, *texts: str) -> bool:
        """Whether what was read lately has one of *texts*."""
        self.read()
        return any(text in self._recent for text in texts)

    def restart(self) -> None:
        """Forget what was read: the guest boots anew."""
        self.read()
        self._recent = ""
        self.last_progress = time.monotonic()

    def death(self) -> tuple[Death, str] | None:
        """The first sign of a dead boot in what was read lately, and its line."""
        for death in DEATHS:
            match = death.pattern.search(self._recent)
            if match:
                start = self._recent.rfind("\n", 0, match.start()) + 1
                end = self._recent.find("\n", match.end())
                return death, self._recent[start : end if end >= 0 else None].strip()
        return None

    @property
    def silent_for(self) -> float:
        """Seconds since the console last said something."""
        return time.monotonic() - self.last_progress

    def tail(self) -> str:
        """The end of the console, for a message."""
        self.read()
        return self._recent[-TAIL:].strip()

    def last_line(self) -> str:
        """The last line that is not empty."""
        lines = [line.strip() for line in self._recent.splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""


def clean(text: str) -> str:
    """*text* without escape sequences and carriage returns: it comes from a guest."""
    return CONTROL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
