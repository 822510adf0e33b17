"""Reads the serial console as it comes and knows what a dead boot looks like."""

from __future__ import annotations

import codecs
import re
import threading
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
        re.compile(r"(?:You are in|Welcome to) (?:emergency|rescue) mode|Give root password for"),
        "The guest stopped in its emergency shell",
        "A file system or a mount of /etc/fstab failed; the console log names the unit",
    ),
    Death(
        "machine.initramfs",
        re.compile(
            r"^\(initramfs\)|Dropping to a shell!|Warning: Could not boot|Entering emergency mode", re.MULTILINE
        ),
        "The guest's initramfs did not find its root file system",
        "The initramfs lacks the disk's driver, or the root= of its boot entry names another disk",
    ),
    Death(
        "machine.grub",
        # Not grub's "error: no such device" alone: it may still find its files elsewhere.
        re.compile(r"grub rescue>|^grub>", re.MULTILINE),
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
PIECE = 16_000  # bytes that are looked at together
MOST = 4 << 20  # bytes read at once: a guest that floods its console must not keep us from looking at the clock
KEPT = 20_000  # characters
CONTROL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-?]{0,32}[ -/]?|[]PX^_][^\x07\x1b\n]{0,256}\x1b?|[ -/]?)?)\Z")


class ConsoleWatch:
    """Follows the file that QEMU writes the serial console to. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unfinished = ""  # the start of a control sequence whose end has not come yet
        self._recent = ""
        self._death: tuple[Death, str] | None = None
        self.last_progress = time.monotonic()

    def read(self) -> str:
        """The text that is new since the last call, without control sequences."""
        with self._lock:
            new = []
            try:
                with self.path.open("rb") as file:
                    end = file.seek(self._offset) + MOST
                    while self._offset < end and (data := file.read(PIECE)):
                        self._offset += len(data)
                        new.append(self._take(data))
            except OSError:
                pass
            if new:
                self.last_progress = time.monotonic()
            return "".join(new)

    def _take(self, data: bytes) -> str:
        raw = self._unfinished + self._decoder.decode(data)
        unfinished = UNFINISHED.search(raw)
        self._unfinished = unfinished[0] if unfinished else ""
        text = clean(raw[: unfinished.start()] if unfinished else raw)
        self._recent = (self._recent + text)[-KEPT:]
        found = _find_death(self._recent)
        if found and (self._death is None or self._death[0] is found[0]):  # its line may have grown
            self._death = found
        return text

    def mentions(self, *texts: str) -> bool:
        """Whether what was read lately has one of *texts*."""
        self.read()
        return any(text in self._recent for text in texts)

    def restart(self) -> None:
        """Forget what was read: the guest boots anew."""
        self.read()
        with self._lock:
            self._recent = ""
            self._death = None
            self.last_progress = time.monotonic()

    def death(self) -> tuple[Death, str] | None:
        """The first sign of a dead boot since the start, in what was read, and its line."""
        return self._death

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


def _find_death(text: str) -> tuple[Death, str] | None:
    for death in DEATHS:
        match = death.pattern.search(text)
        if match:
            start = text.rfind("\n", 0, match.start()) + 1
            end = text.find("\n", match.end())
            return death, text[start : end if end >= 0 else None].strip()
    return None


def clean(text: str) -> str:
    """*text* without escape sequences and carriage returns: it comes from a guest."""
    return CONTROL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
