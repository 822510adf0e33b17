"""Serial console: every boot entry writes to it, and somebody can log in there.

*console* is the device, such as ttyS0, and *aarch64* the one on that processor, or several joined by ``|`` of which one
will do: there the firmware names the console to a kernel that is told none. The order of console= does not matter: the
last one is /dev/console, and every one gets the kernel's messages. With *getty: true* a login must be offered on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.architecture import program
from factory.leftovers import text
from factory.reading import boot_entries, systemd
from factory.reading.boot_entries import BootEntry

_RESCUE = frozenset(("single", "1", "s", "S", "emergency", "recovery", "rescue", "-s"))


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    arm = looked.know(program)[1] == "aarch64"
    given = rule.parameters
    devices = str(given.get("aarch64", "ttyAMA0") if arm else given.get("console", "ttyS0")).split("|")
    fix = rule.fix.replace("ttyS0", devices[0]) if arm else None
    entries = [entry for entry in looked.know(boot_entries.read).entries if not is_rescue(entry)]
    for entry in entries:
        told = {value.partition(",")[0] for value in entry.option("console")}
        if not told.intersection(devices) and (told or not arm):
            yield Problem(entry.path, f"{entry.evidence}: no console={' or '.join(devices)}", fix=fix)
    if str(rule.parameters.get("getty", "false")).lower() == "true":
        yield from _getty(looked, devices, fix)
    yield Note(f"console={' or '.join(devices)} is in {len(entries)} boot entries")


def is_rescue(entry: BootEntry) -> bool:
    """Whether an entry is there for repairs by hand: it is not what a cloud boots."""
    words = set(entry.options)
    named = re.search(r"rescue|recovery|failsafe|fallback", f"{entry.id} {entry.title}", re.IGNORECASE)
    return bool(not entry.default and (words & _RESCUE or named or "systemd.unit=rescue.target" in words))


def _getty(looked: Looked, devices: list[str], fix: str | None) -> Iterator[Problem]:
    units = looked.know(systemd.read)
    if not units.present:
        content = text(looked.image, "/etc/inittab")
        lines = [line for line in (content or "").splitlines() if not line.lstrip().startswith("#") and "getty" in line]
        if content is not None and not any(device in line for line in lines for device in devices):
            yield Problem("/etc/inittab", f"/etc/inittab: no getty on {' or '.join(devices)}", fix=fix)
        return
    # systemd's generator starts a login on each console of the kernel, unless it is masked.
    for unit in (*(f"serial-getty@{device}.service" for device in devices), "serial-getty@.service", "getty.target"):
        if path := units.masked(unit):
            yield Problem(path, f"{path}: {unit} is masked", fix=fix)
