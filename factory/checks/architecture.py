"""The processor: the guest's programs are for an architecture that the target runs."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.inspection import Absent, Image

MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 21: "ppc64", 22: "s390x", 243: "riscv64"}
PROGRAMS = ("/bin/sh", "/usr/bin/bash", "/bin/busybox", "/sbin/init")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    path, machine = looked.know(program)
    if not path:
        raise NotApplicable(f"none of {', '.join(PROGRAMS)} is a program that tells its processor")
    if machine not in looked.target.architectures:
        yield Problem(path, f"{path} is for {machine}; the target runs {', '.join(looked.target.architectures)}")
    yield Note(f"{path} is for {machine}")


def program(image: Image) -> tuple[str, str]:
    """A program of the guest, and the processor that it is for; both empty when none tells."""
    for path in PROGRAMS:
        try:
            head = image.head(path, 20)
        except Absent:
            continue
        if head[:4] == b"\x7fELF" and len(head) == 20:
            number = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)[0]
            return path, MACHINES.get(number, f"machine {number}")
    return "", ""
