"""Why a step failed: what its output says, and what the guest itself knows when it is asked at once."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from factory.errors import BuildError, MachineError, StepFailed
from factory.guest import Guest


class Cause(NamedTuple):
    """What the words of programs mean: *cause* is completed by what the pattern found."""

    pattern: str
    cause: str
    hint: str
    code: str


FULL = "Give the recipe a larger 'disk', or remove in the step what the image does not need"
MEMORY = "Give the recipe's machine more memory: 'machine: {memory: 4GiB}'"
NETWORK = "Check the network, the DNS and the proxy of this host; FACTORY_MIRROR names another archive"
CAUSES = (
    Cause(
        r"No space left on device|not enough free space|You don't have enough free space|Disk quota exceeded",
        "The guest's disk is full",
        FULL,
        "step.guest-disk-full",
    ),
    Cause(
        r"(?:Could not get lock (?P<lock>/[^\s.]+(?:\.[^\s.]+)*)|dpkg frontend lock (?:is|was) locked|"
        r"dpkg status database is locked|Unable to acquire the dpkg)"
        r"(?:.*?(?:held by process|process with pid) (?P<process>[^\n.]+))?",
        "Another program of the guest holds the lock of its packages ({process})",
        "Let the step wait for that program, or end it first: 'systemctl stop unattended-upgrades apt-daily.service'",
        "step.package-lock",
    ),
    Cause(
        r"(?:Could not resolve(?: host)?|Temporary failure (?:resolving|in name resolution))[: ]*(?P<name>'[^']+'|\S*)",
        "The guest could not resolve {name}",
        NETWORK,
        "step.archive-unreachable",
    ),
    Cause(
        r"(?:Could not connect to|Unable to connect to|Cannot initiate the connection to|Failed to connect to)"
        r" (?P<name>\S+)",
        "{name} did not answer the guest",
        NETWORK,
        "step.archive-unreachable",
    ),
    Cause(
        r"Cannot allocate memory|std::bad_alloc|virtual memory exhausted|MemoryError\b|fatal error: out of memory",
        "The guest had no memory left",
        MEMORY,
        "step.guest-out-of-memory",
    ),
)
KILLED = re.compile(r"^\[ *([0-9]{1,12}\.[0-9]{1,9})\].*Killed process \d+ \(([^)]+)\)", re.MULTILINE)
COUNT = re.compile(r"^oom_kill ([0-9]{1,18})$", re.MULTILINE)  # since the boot; Linux 4.13 and later
BEFORE = "/run/factory/kills"
NOTE = f"grep '^oom_kill ' /proc/vmstat 2>/dev/null >| {BEFORE}; "
"""Goes before a command whose failure is to be explained: what was killed before it is not its fault."""
SLACK = 1.0  # seconds between the guest's clock and ours, where the kernel does not count
QUESTION = (
    f"cat /proc/uptime; grep -h '^oom_kill ' {BEFORE} /proc/vmstat 2>/dev/null; "
    "df -P -x squashfs -x iso9660 -x tmpfs -x devtmpfs 2>/dev/null; "
    "df -Pi -x squashfs -x iso9660 -x tmpfs -x devtmpfs -x vfat 2>/dev/null; dmesg 2>/dev/null | grep 'Killed process'"
)


def explain(error: StepFailed, output: str, guest: Guest, seconds: float) -> StepFailed:
    """*error* with the cause that *output*, or the guest, gives; the step ran for *seconds*.

    What the guest says (a full disk, a process killed for lack of memory) beats the words of a program, which may only
    be the consequence.
    """
    found = _asked(guest, seconds) or _read(output)
    if found is None:
        return error
    cause, hint, code = found
    return StepFailed(error.message, cause=f"{cause}. {error.cause}", hint=hint, output=error.output, code=code)


def _read(output: str) -> tuple[str, str, str] | None:
    for cause in CAUSES:
        match = re.search(cause.pattern, output)
        if match:
            names = {name: (value or "not named").strip(" '") for name, value in match.groupdict().items()}
            return cause.cause.format(**names), cause.hint, cause.code
    return None


def _asked(guest: Guest, seconds: float) -> tuple[str, str, str] | None:
    start = time.monotonic()
    try:
        answer = guest.read(QUESTION, timeout=30)
    except (MachineError, BuildError):
        return None
    return judged(answer, seconds + time.monotonic() - start)


def judged(answer: str, seconds: float) -> tuple[str, str, str] | None:
    """What the *answer* to QUESTION means for a step that began *seconds* ago."""
    name = _killed(answer, seconds)
    if name:
        return f"The guest ran out of memory, and its kernel killed {name}", MEMORY, "step.guest-out-of-memory"
    for line in answer.splitlines():
        words = line.split()
        if len(words) >= 6 and words[4] == "100%" and words[5].startswith("/"):
            return f"The guest's file system at {words[5]} is full", FULL, "step.guest-disk-full"
    return None


def _killed(answer: str, seconds: float) -> str:
    """The program that the kernel killed last for lack of memory since the step began; empty when it killed none."""
    kills = KILLED.findall(answer)
    counts = [int(count) for count in COUNT.findall(answer)]
    if len(counts) == 2:
        before, now = counts
        return (kills[-1][1] if kills else "a program") if now > before else ""
    uptime = re.match(r"([0-9]{1,12}\.[0-9]{1,9}) ", answer)
    began = float(uptime[1]) - seconds - SLACK if uptime else float("inf")
    return next((name for when, name in reversed(kills) if float(when) >= began), "")
