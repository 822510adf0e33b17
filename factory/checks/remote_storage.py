"""Remote storage: no service of *services* that needs disks of the network starts by itself.

Those of iSCSI, which distributions enable, wait for nothing as long as no target is known.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.inspection import Image
from factory.leftovers import text
from factory.reading import systemd

_NODES = ("/etc/iscsi/nodes/*/*/*", "/var/lib/iscsi/nodes/*/*/*", "/etc/iscsi/nodes/*/*", "/var/lib/iscsi/nodes/*/*")

_ISCSI = ("iscsi.service", "open-iscsi.service")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    for path in dict.fromkeys(_automatic(image)):
        yield Problem(path, f"{path}: node.startup = automatic")
    units = looked.know(systemd.read)
    known = any(map(image.glob, _NODES))
    services = [name for name in rule.parameters["services"] if known or name not in _ISCSI]
    for name in services if units.present else ():
        if path := units.started(name):
            yield Problem(path, f"{path}: {name} starts at boot")
    for name in services:
        for level in ("boot", "default"):
            script = f"/etc/runlevels/{level}/{name.removesuffix('.service')}"
            if image.exists(script):
                yield Problem(script, f"{script}: starts at boot")
    yield Note(f"none of {', '.join(services)} starts at boot")


def _automatic(image: Image) -> Iterator[str]:
    """Targets of iSCSI that are logged in to at boot."""
    for pattern in _NODES:
        for path in image.glob(pattern):
            found = image.stat(path)
            if found and found.kind == "file" and "node.startup = automatic" in (text(image, path) or ""):
                yield path
