"""The commands that findings about accounts and SSH come with: they mend what was found, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from factory import targets
from factory.checks import Looked, Problem, without_line
from tests.guest_tree import Content, Tree, plant
from tests.scrub_cases import GUEST


def problems(tmp_path: Path, rule_id: str, files: dict[str, Content]) -> Iterator[Problem]:
    import importlib

    target = targets.load("mgc")
    rule = next(rule for rule in targets.rules(target) if rule.id == rule_id)
    looked = Looked(cast(Any, None), target, Tree(plant(plant(tmp_path, GUEST), files)))
    check = importlib.import_module(f"factory.checks.{rule.check}").check
    return (found for found in check(looked, rule) if isinstance(found, Problem))


def test_emptying_a_line_keeps_the_numbers_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "it's a file"
    path.write_text("one\ntwo\nthree\n")
    for number in (1, 3):
        subprocess.run(without_line(str(path), number), shell=True, check=True)
    assert path.read_text() == "\ntwo\n\n"


@pytest.mark.parametrize(
    ("rule", "path", "content", "fix"),
    [
        ("GEN-G39", "/etc/environment", "A=1\nAPI_TOKEN=abcdef\n", "sed -i '2s/.*//' /etc/environment"),
        ("GEN-G39", "/srv/x", "\nghp_" + "a1" * 18 + "\n", "sed -i '2s/.*//' /srv/x"),
        ("SH10", "/etc/sudoers", "root ALL=ALL\neve ALL=ALL\n", "sed -i '2s/.*//' /etc/sudoers"),
        ("SH10", "/etc/sudoers", "Defaults targetpw\n", "sed -i '1s/.*//' /etc/sudoers"),
        ("ID08", "/etc/hosts", "127.0.0.1 localhost\n10.0.0.1 x\n", "sed -i '2s/.*//' /etc/hosts"),
        ("GEN-G19", "/etc/ssh/sshd_config", "AllowUsers eve\nUsePAM yes\n", "sed -i '1s/.*//' /etc/ssh/sshd_config"),
        ("SH07", "/etc/passwd", "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n", "userdel -f toor"),
        ("SH07", "/etc/passwd", "eve:x:1000:1000::/srv:/bin/sh\n", "userdel -f eve"),
        ("SH07", "/etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n", "userdel -f -r eve"),
    ],
)
def test_a_line_is_mended_without_its_file(tmp_path: Path, rule: str, path: str, content: str, fix: str) -> None:
    assert fix in [problem.fix for problem in problems(tmp_path, rule, {path: content})]
