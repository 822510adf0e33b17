"""Memory: nothing takes a fixed part of the memory of every machine, however small it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import text
from factory.reading import boot_entries
from factory.units import MIB

_UNITS = {"": 1, "K": 1 << 10, "M": MIB, "G": 1 << 30}
_SYSCTL = ("/etc/sysctl.conf", "/etc/sysctl.d/*.conf", "/usr/lib/sysctl.d/*.conf")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    most = int(rule.parameters.get("megabytes", 256))
    for entry in looked.know(boot_entries.read).entries:
        for value in entry.option("crashkernel"):
            # 1G-4G:192M,4G-:256M gives nothing on a small machine; 512M@16M is taken on every one.
            match = re.fullmatch(r"(\d+)([KMG]?)(?:@\w+)?(?:,\w+)?", value)
            if match and int(match[1]) * _UNITS[match[2]] > most * MIB:
                yield Problem(entry.path, f"{entry.path}:{entry.line}: crashkernel={value}")
        for name in ("hugepages", "mem"):
            yield from (
                Problem(entry.path, f"{entry.path}:{entry.line}: {name}={value}") for value in entry.option(name)
            )
    for path in sorted({path for pattern in _SYSCTL for path in image.glob(pattern)}):
        for number, line in enumerate((text(image, path) or "").splitlines(), 1):
            if re.match(r"\s*-?vm[./]nr_hugepages\s*=\s*[1-9]", line):
                yield Problem(path, f"{path}:{number}: {line.strip()}")
    yield Note("no fixed part of the memory is reserved")
