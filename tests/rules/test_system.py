"""Rules about what system the image holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rule_images import Case, benign, cases, defect, prove, remove, write

CASES = [
    defect("GEN-G01", "debian", remove("/etc/os-release", "/usr/lib/os-release")),
    defect("GEN-G01", "debian", remove("/etc", "/usr/lib/os-release")),
    benign("GEN-G01", "debian", write("/etc/os-release.bak", "")),
]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
