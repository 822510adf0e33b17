"""Serial console: every boot entry writes to it, and somebody can log in there.

*console* is the device, such as ttyS0. The order of console= does not matter: the last one is /dev/console, and every
one gets the kernel's messages. With *getty: true* a login must be offered on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import text
from factory.reading import boot_entries, systemd
from factory.reading.boot_entries import BootEntry

_RESCUE = frozenset(("single", "1", "s", "S", "emergency", "recovery", "rescue", "-s"))


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    device = str(rule.parameters.get("console", "ttyS0"))
    entries = [entry for entry in looked.know(boot_entries.read).entries if not is_rescue(entry)]
    for entry in entries:
        if device not in [value.partition(",")[0] for value in entry.option("console")]:
            yield Problem(entry.path, f"{entry.evidence}: no console={device}")
    if str(rule.parameters.get("getty", "false")).lower() == "true":
        yield from _getty(looked, device)
    yield Note(f"console={device} is in {len(entries)} boot entries")


def is_rescue(entry: BootEntry) -> bool:
    """Whether an entry is there for repairs by hand: it is not what a cloud boots."""
    words = set(entry.options)
    named = re.search(r"rescue|recovery|failsafe|fallback", f"{entry.id} {entry.title}", re.IGNORECASE)
    return bool(not entry.default and (words & _RESCUE or named or "systemd.unit=rescue.target" in words))


def _getty(looked: Looked, device: str) -> Iterator[Problem]:
    units = looked.know(systemd.read)
    if not units.present:
        content = text(looked.image, "/etc/inittab")
        lines = [line for line in (content or "").splitlines() if not line.lstrip().startswith("#")]
        if content is not None and not any(device in line and "getty" in line for line in lines):
            yield Problem("/etc/inittab", f"/etc/inittab: no getty on {device}")
        return
    # systemd's generator starts a login on each console of the kernel, unless it is masked.
    for unit in (f"serial-getty@{device}.service", "serial-getty@.service", "getty.target"):
        if path := units.masked(unit):
            yield Problem(path, f"{path}: {unit} is masked")
