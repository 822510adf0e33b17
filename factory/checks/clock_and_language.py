"""Clock and language: the clock of the machine counts in UTC, the time zone is UTC, and a locale is set."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import text

_UTC = ("UTC", "Etc/UTC", "Etc/UCT", "UCT", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu", "GMT", "Etc/GMT")
_LOCALES = ("/etc/locale.conf", "/etc/default/locale", "/etc/sysconfig/language", "/etc/profile.d/locale.sh",
            "/etc/profile.d/20locale.sh", "/etc/sysconfig/i18n")  # fmt: skip


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    clock = (text(image, "/etc/adjtime") or "").splitlines()
    if len(clock) > 2 and clock[2].strip() == "LOCAL":
        told = "/etc/adjtime:3: LOCAL: the machine's clock is taken for local time"
        yield Problem("/etc/adjtime", told, fix="sed -i 's/^LOCAL$/UTC/' /etc/adjtime")
    zone, where = "UTC", "no /etc/localtime, which means UTC"
    found = image.stat("/etc/localtime")
    if found and found.kind == "symlink":
        zone = image.readlink("/etc/localtime").partition("zoneinfo/")[2]
        where = f"/etc/localtime -> {image.readlink('/etc/localtime')}"
    elif found and found.kind == "file":
        # A copy ends with the rule of its zone, such as UTC0.
        last = image.read("/etc/localtime", limit=1 << 20).rstrip(b"\n").rpartition(b"\n")[2].decode("ascii", "replace")
        written = (text(image, "/etc/timezone") or "").strip()
        zone = written or ("UTC" if re.fullmatch(r"<?(?:UTC|GMT|Universal)>?0|TZif.*", last) else last)
        where = f"/etc/localtime ({written or last[:40]})"
    if zone not in _UTC:
        yield Problem("/etc/localtime", where, fix="ln -sf /usr/share/zoneinfo/UTC /etc/localtime")
    if not any(image.exists(path) for path in _LOCALES) and not image.exists("/etc/alpine-release"):
        none = f"no locale is set: none of {', '.join(_LOCALES[:2])}"
        yield Problem("image", none, fix="echo LANG=C.UTF-8 >/etc/locale.conf")
    yield Note(where)
