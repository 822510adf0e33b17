"""udev gives no card a name by its MAC address, and makes no such rule at the next boot."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading.lines import content_of, is_file, layered, numbered
from factory.reading.network import MAC

FOLDERS = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
GENERATOR = re.compile(r"7\d-persistent-net-generator\.rules$")
PERSISTENT = re.compile(r"persistent-net[^/]*\.rules$")
_NAMES = re.compile(r"\bNAME:?\s*=")
_ADDRESS = re.compile(r"ATTRS?\{address\}\s*==")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    count = 0
    for path in layered(looked.image, FOLDERS, ".rules"):
        if not is_file(looked.image, path):
            continue  # a directory of that name keeps udev from writing it
        count += 1
        lines = list(numbered(content_of(looked.image, path), "#"))
        persistent = PERSISTENT.search(path) and not GENERATOR.search(path)
        if GENERATOR.search(path) and lines:
            yield Problem(path, f"{path}:{lines[0][0]}: the generator of rules that name cards by MAC address")
            continue
        for number, line in lines:
            named = _NAMES.search(line) and _ADDRESS.search(line) and MAC.search(line)
            if persistent or named:
                yield Problem(path, f"{path}:{number}: {line.strip()}")
                break
    yield Note(f"{count} rules files")
