"""Rules about what system the image holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images import MIB, call
from tests.rule_images import Case, benign, cases, defect, on_disk, prove, remove, write


def partition_of(content: bytes) -> Callable[[Path], None]:
    """One more partition, at the end of the disk, that holds *content*."""

    def action(path: Path) -> None:
        end = path.stat().st_size
        os.truncate(path, end + 8 * MIB)
        call("sgdisk", "-e", "-n", "16:0:0", path)
        with path.open("r+b") as file:
            file.seek(end)
            file.write(content)

    return action


CASES = [
    defect("GEN-G01", "debian", remove("/etc/os-release", "/usr/lib/os-release")),
    defect("GEN-G01", "debian", remove("/etc", "/usr/lib/os-release")),
    defect("GEN-G01", "debian", on_disk(partition_of(b"something unknown")), related=("GEN-F10",)),
    defect("GEN-G01", "debian", on_disk(partition_of(bytes(65600) + b"_BHRfS_M" + bytes(9000))), related=("GEN-F10",)),
    benign("GEN-G01", "debian", write("/etc/os-release.bak", "")),
]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
