"""Agents of other clouds: none is installed, as a package, as a snap or by hand.

*agents* has, for each origin, the names of packages and snaps (patterns), the paths of files that run, and those of
traces, such as settings that a removed package left: these are only a warning. The origins in *own* are the target's,
and welcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from factory.checks import Looked, Note, Problem, Rule
from factory.inspection import Image
from factory.quoting import quoted
from factory.reading import packages

REMOVED = {
    "dpkg": "apt-get purge {name}, in the guest",
    "rpm": "dnf remove {name}, or zypper remove {name}, in the guest",
    "apk": "apk del {name}, in the guest",
}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    own = rule.parameters.get("own", ())
    origins: dict[str, dict[str, Any]] = rule.parameters["agents"]
    found = looked.know(packages.read)
    told = 0
    for origin, agents in origins.items():
        if origin in own:
            continue
        names = [name for name in found.installed if _any(name, agents.get("packages", ()))]
        for name in names:
            fix = REMOVED[found.system].format(name=quoted(name)) if found.system in REMOVED else None
            yield Problem(name, f"{found.evidence(name)}: {origin}", fix=fix)
        for snap in found.snaps:
            if _any(snap, agents.get("snaps", ())):
                fix = f"snap remove {quoted(snap)}, in the guest"
                yield Problem(snap, f"/var/lib/snapd/snaps: {snap}: {origin}", fix=fix)
                told += 1
        # What a package of its own has put there was told with it.
        if not names:
            for key in ("files", "traces"):
                for path in _paths(looked.image, agents.get(key, ())):
                    yield Problem(path, f"{path}: {origin}", key == "traces", f"rm -rf {quoted(path)}")
        told += len(names)
    yield Note(f"{len(found.installed)} packages and {len(found.snaps)} snaps, none of them such an agent")


def _paths(image: Image, patterns: Iterable[str]) -> Iterator[str]:
    """Each file that a pattern names, once: /lib is often a link to /usr/lib."""
    seen = set()
    for pattern in patterns:
        for path in image.glob(pattern):
            found = image.stat(path)
            if found and (found.partition, found.inode) not in seen:
                seen.add((found.partition, found.inode))
                yield path


def _any(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
