"""cloud-init is installed: its program and its Python package are there."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import cloud_init

PACKAGES = (
    "/usr/lib/python[23]*/dist-packages/cloudinit",
    "/usr/lib/python[23]*/site-packages/cloudinit",
    "/usr/local/lib/python[23]*/*-packages/cloudinit",
    "/opt/*/lib/python[23]*/site-packages/cloudinit",
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    program = looked.know(cloud_init.read).program
    if not program:
        tiny = looked.image.exists("/usr/bin/tiny-cloud") or looked.image.exists("/usr/sbin/tiny-cloud")
        beside = "; tiny-cloud is, which reads no user-data of cloud-init" if tiny else ""
        yield Problem("image", f"none of {', '.join(cloud_init.PROGRAMS)} is there{beside}")
    elif found := [path for pattern in PACKAGES for path in looked.image.glob(pattern)]:
        yield Note(f"{program}, {found[0]}")
    else:
        yield Problem(program, f"{program} is there, and its Python package cloudinit is in none of the usual places")
