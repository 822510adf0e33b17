"""Package system: no package is half installed, and none is kept from being updated.

*broken* (default true) and *held* (default true) say which of the two is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, without_line
from factory.inspection import Image
from factory.leftovers import text
from factory.quoting import quoted
from factory.reading.packages import stanzas

_STATUS = "/var/lib/dpkg/status"
_LOCKS = ("/etc/dnf/plugins/versionlock.list", "/etc/yum/pluginconf.d/versionlock.list", "/etc/zypp/locks")
_CONFIGURATIONS = ("/etc/dnf/dnf.conf", "/etc/yum.conf", "/etc/yum.repos.d/*.repo")
_WORLD = "/etc/apk/world"
_BUSY = ("/var/lib/dpkg/updates/[0-9]*", "/var/lib/yum/transaction-all.*[0-9]")
_YUM = "yum-complete-transaction, or yum-complete-transaction --cleanup-only, in the guest"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    known = 0
    for fields in stanzas(text(image, _STATUS) or ""):
        known += 1
        name, status = fields.get("Package", "?"), fields.get("Status", "install ok installed").split()
        if wanted(rule, "broken") and len(status) == 3:
            good = status[2] in ("installed", "config-files", "not-installed", "triggers-pending", "triggers-awaited")
            if not good or status[1] != "ok":
                yield Problem(_STATUS, f"{_STATUS}: {name}: {' '.join(status)}")
        if wanted(rule, "held") and status[:1] == ["hold"]:
            yield Problem(_STATUS, f"{_STATUS}: {name}: {' '.join(status)}", fix=f"apt-mark unhold {quoted(name)}")
    if wanted(rule, "broken"):
        for path in sorted({path for pattern in _BUSY for path in image.glob(pattern)}):
            yield Problem(path, f"{path}: the package system was interrupted", fix=_YUM if "/yum/" in path else None)
    if wanted(rule, "held"):
        yield from _locked(image)
    if not known and not image.exists(_WORLD) and not image.glob("/etc/yum.repos.d") and not image.exists("/etc/zypp"):
        raise NotApplicable("no package system that is known")
    yield Note(f"{known} packages of dpkg, none of them in an unusual state" if known else "no lock on a package")


def wanted(rule: Rule, name: str) -> bool:
    """Whether the rule asks for this half."""
    return str(rule.parameters.get(name, "true")).lower() == "true"


def _locked(image: Image) -> Iterator[Problem]:
    for path in _LOCKS:
        for number, line in enumerate((text(image, path) or "").splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                fix = "zypper removelock NUMBER; zypper locks lists them" if "zypp" in path else "dnf versionlock clear"
                yield Problem(path, f"{path}:{number}: {line.strip()}", fix=fix)
                break  # one line of a lock in zypp's file says enough
    for path in sorted({path for pattern in _CONFIGURATIONS for path in image.glob(pattern)}):
        for number, line in enumerate((text(image, path) or "").splitlines(), 1):
            if re.match(r"(?:exclude|excludepkgs)\s*=\s*\S", line):
                yield Problem(path, f"{path}:{number}: {line.strip()}", fix=without_line(path, number))
    for number, line in enumerate((text(image, _WORLD) or "").splitlines(), 1):
        if re.search(r"[<>=~]", line):
            unpinned = f"sed -i '{number}s/[<>=~].*//' {_WORLD} && apk upgrade"
            yield Problem(_WORLD, f"{_WORLD}:{number}: {line.strip()}", fix=unpinned)
    for path in image.glob("/etc/apt/preferences.d/*"):
        for fields in stanzas(text(image, path) or ""):
            if re.fullmatch(r"-\d+", fields.get("Pin-Priority", "")) and fields.get("Package") == "*":
                told = f"{path}: no package at all is updated from {fields.get('Pin', '?')}"
                yield Problem(path, told, fix=f"rm -f {quoted(path)}")
