"""Reads the serial console as it comes and knows what a dead boot looks like."""

from __future__ import annotations

import codecs
import re
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Death:
    """A boot that cannot succeed any more: the pattern, what it means, and what to try."""

    code: str
    pattern: re.Pattern[str]
    cause: str
    hint: str
    patience: float = 0.0  # seconds that a boot gets to come up all the same, before it counts
    scaled: bool = True  # whether an emulated guest gets several times as long
    unless: re.Pattern[str] | None = None  # whose words, before or after, rule it out
    until: re.Pattern[str] | None = None  # whose words take back every sign before them


# systemd cuts long names of units in the middle, so the end of the line counts too.
SSH = r"[^\n]*(?:\bsshd?\.service|OpenBSD Secure Shell server|OpenSSH server daemon)"
SSH_FAILED = re.compile(f"Failed to start {SSH}")
SSH_STARTED = re.compile(f"Started {SSH}")  # at a second start, perhaps; that it ran before a failure is no comfort
DEATHS = (
    Death(
        "machine.kernel-panic",
        re.compile(r"Kernel panic - not syncing: ?(.*)"),
        "The guest's kernel panicked",
        "See the lines above the panic in the console log; too little memory or no driver of the root disk are common",
    ),
    Death(
        "machine.emergency",
        # Not in what a command of cloud-init prints.
        re.compile(
            r"^(?![^\n]*cloud-init\[\d)[^\n]*?(?:(?:You are in|Welcome to) (?:emergency|rescue) mode"
            r"|Give root password for)",
            re.MULTILINE,
        ),
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
    # From here on: signs that a login will not come, although the system runs. They count while one is waited for.
    Death(
        "machine.no-seed",
        re.compile(r"Cloud-init v\. \S+ finished at .*Datasource DataSourceNone"),
        "cloud-init found no seed, so nobody can log in",
        "Its datasource_list leaves out NoCloud and ConfigDrive, or the kernel has no driver of the seed's disk",
        patience=3,
    ),
    # ds-identify turns cloud-init off where it finds no seed; the host keys that it makes are then missing.
    Death(
        "machine.no-seed",
        SSH_FAILED,
        "cloud-init did not run, so the guest has neither host keys nor the key of the login",
        "It found no seed: its datasource_list leaves out NoCloud and ConfigDrive, the kernel has no driver of the "
        "seed's disk, or cloud-init is disabled in the image",
        patience=6,
        scaled=False,
        unless=re.compile(r"cloud-init\[\d|Cloud-init v"),
        until=SSH_STARTED,
    ),
    Death(
        "machine.no-address",
        re.compile(
            # Not that a job still runs: on a busy host a healthy one was seen to take minutes.
            r"Failed to start [^\n]*(?:networking\.service|systemd-networkd-wait-online|NetworkManager-wait-online"
            r"|Raise network interfaces|Wait for Network to be Configured)"
            r"|ci-info: \++Net device info\++(?:(?!\| +\w+ +\| +True +\| +(?!127\.)\d+\.\d+\.\d+\.\d+)[^\0])*?"
            r"ci-info: \++Route IPv[46] info"
        ),
        "The guest got no network address",
        "Its network configuration names another interface or MAC address, or asks nobody for an address (DHCP)",
        patience=6,
        unless=re.compile(r"ci-info: \| +\w+ +\| +True +\| +(?!127\.)\d+\.\d+\.\d+\.\d+"),
    ),
    Death(
        "machine.ssh-closed",
        SSH_FAILED,
        "The guest's SSH server did not start",
        "Its configuration is wrong ('sshd -t' in the guest tells), or it has no host keys",
        patience=6,
        scaled=False,  # a second start follows the first failure at once, or not at all
        until=SSH_STARTED,
    ),
    Death(
        "machine.cloud-init",
        re.compile(
            r"Failed to start [^\n]*(?:cloud-init(?:-local|-network|-main)?\.service|Initial cloud-init job)"
            r"|cloud-init\[\d+\]: (?:Traceback \(most recent call last\)|failed run of stage)"
        ),
        "cloud-init failed, so nobody can log in",
        "Look at the lines of cloud-init in the console log; a key of cloud_init: in the recipe may be the reason",
        patience=6,
    ),
)
TAIL = 3000  # characters of the console kept for a message
PIECE = 16_000  # bytes that are looked at together
MOST = 4 << 20  # bytes read at once: a guest that floods its console must not keep us from looking at the clock
KEPT = 20_000  # characters
LINE_HEAD = 200  # characters of the begin of a longer line, which tell what it is
CONTROL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-?]{0,32}[ -/]?|[]PX^_][^\x07\x1b\n]{0,256}\x1b?|[ -/]?)?)\Z")


class ConsoleWatch:
    """Follows the file that QEMU writes the serial console to. Safe to use from several threads."""

    def __init__(self, path: Path, begin: int = 0, *, scale: float = 1.0) -> None:
        """*begin* is how many bytes of the file are left out: an earlier machine wrote them.

        *scale* is that of the accelerator: an emulated guest takes longer to come up all the same.
        """
        self.path = path
        self._scale = scale
        self._lock = threading.Lock()
        self._begin = self._offset = begin
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unfinished = ""  # the start of a control sequence whose end has not come yet
        self._recent = ""  # from the begin of a line on
        self._death: tuple[Death, str] | None = None
        self._since = 0.0  # when it first showed
        self._seen: set[re.Pattern[str]] = set()  # what rules a sign out
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
        self._recent += text
        self._seen |= {each.unless for each in DEATHS if each.unless and each.unless.search(self._recent)}
        self._judge(_find_death(self._recent, self._seen))
        self._recent = _latest(self._recent)
        return text

    def _judge(self, found: tuple[Death, str] | None) -> None:
        """The sign that counts from now on: what is certain beats what takes patience, else the first one stays."""
        before = self._death[0] if self._death else None
        if before is None or self._off(before) or (found and found[0].patience < before.patience):
            if found and before is not found[0]:
                self._since = time.monotonic()
            self._death = found
        elif found and found[0] is before:  # its line may have grown
            self._death = found

    def _off(self, death: Death) -> bool:
        """Whether what came meanwhile rules *death* out, or takes its signs back."""
        if death.unless in self._seen:
            return True
        after = _after(self._recent, death.until)
        return after > 0 and not death.pattern.search(self._recent, after)

    def whole(self) -> str:
        """All that was written from the begin on, as it is. Raises OSError."""
        with self.path.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

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
            self._seen.clear()
            self.last_progress = time.monotonic()

    def death(self, *, waiting: bool = False) -> tuple[Death, str] | None:
        """The first sign of a dead boot since the start, in what was read, and its line.

        With *waiting* (for a login) also what only says that none will come, once its patience is over.
        """
        if self._death is None or (self._death[0].patience and not waiting):
            return None
        patience = self._death[0].patience * (self._scale if self._death[0].scaled else 1)
        return self._death if time.monotonic() - self._since >= patience else None

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


def _find_death(text: str, seen: Collection[re.Pattern[str]]) -> tuple[Death, str] | None:
    for death in DEATHS:
        match = None if death.unless in seen else death.pattern.search(text, _after(text, death.until))
        if match:
            start = text.rfind("\n", 0, match.start()) + 1
            end = text.find("\n", match.end())
            return death, text[start : end if end >= 0 else None].strip()
    return None


def _after(text: str, until: re.Pattern[str] | None) -> int:
    """Where the last words of *until* end in *text*; 0 when there are none."""
    return max((match.end() for match in until.finditer(text)), default=0) if until else 0


def _latest(text: str) -> str:
    """The end of *text*, from the begin of a line on, as *text* is: the middle of a line has another meaning."""
    start = len(text) - KEPT
    if start <= 0:
        return text
    next_line = text.find("\n", start - 1) + 1
    if 0 < next_line <= len(text) - TAIL:
        return text[next_line:]
    long_line = text.rfind("\n", 0, start) + 1
    return text[long_line : long_line + LINE_HEAD] + text[start + LINE_HEAD :]


def clean(text: str) -> str:
    """*text* without escape sequences and carriage returns: it comes from a guest."""
    return CONTROL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
