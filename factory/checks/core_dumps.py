"""Crash data: no dump of a program's or a kernel's memory, and no report that may hold one.

*folders* that crash tools write to must be empty. Anywhere else a file named like a core dump counts when its content
is one: ELF of the type "core".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.inspection import Image
from factory.leftovers import size
from factory.reading import own_files

_NAMES = re.compile(r"core|core[.-].+|.+\.core|vgcore\..+")
_REPORTS = re.compile(r"hs_err_pid\d+\.log|java_pid\d+\.hprof|.+\.heapsnapshot|.+_\d+\.crash|.+\.dmp")
_IGNORED = ("kexec_cmd", "lock", ".lock", "kdump_lock")  # what crash tools put beside their dumps
_CORE = 4  # e_type


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    seen = 0
    for folder in rule.parameters["folders"]:
        for path, found in image.walk(folder):
            seen += 1
            if found.kind == "file" and found.size and path.rpartition("/")[2] not in _IGNORED:
                yield Problem(path, f"{path}: {size(found)} of crash data")
    for path, found in looked.know(own_files.read):
        seen += 1
        name = path.rpartition("/")[2]
        if any(path.startswith(f"{folder}/") for folder in rule.parameters["folders"]):
            continue
        if _NAMES.fullmatch(name) and is_core(image, path):
            yield Problem(path, f"{path}: the memory of a program ({size(found)})")
        elif _REPORTS.fullmatch(name):
            yield Problem(path, f"{path}: a crash report ({size(found)})")
    yield Note(f"{seen} files, none of them crash data")


def is_core(image: Image, path: str) -> bool:
    """Whether a file begins as a core dump."""
    head = image.head(path, 64)
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return False
    order = ">" if head[5] == 2 else "<"
    return int(struct.unpack_from(f"{order}H", head, 16)[0]) == _CORE
