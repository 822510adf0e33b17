"""Every rule of every target has a defective image and a benign twin; every healthy guest breaks no rule."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from factory import targets
from tests import trees
from tests.rule_images import Case, all_rules, broken, check, make

FOLDER = Path(__file__).parent
CHECKS = Path(targets.__file__).parents[1] / "checks"


def every_case() -> list[Case]:
    modules = sorted(path.stem for path in FOLDER.glob("test_*.py") if path.stem != "test_coverage")
    found: list[Case] = []
    for name in modules:
        found += importlib.import_module(f"tests.rules.{name}").CASES
    return found


CASES = every_case()


@pytest.mark.parametrize("rule", sorted(all_rules()))
def test_each_rule_has_a_defect_and_a_benign_twin(rule: str) -> None:
    mine = [case for case in CASES if case.rule == rule]
    assert any(case.broken for case in mine), f"no defective image shows that {rule} can fail"
    assert any(not case.broken for case in mine), f"no benign twin shows that {rule} lets pass what is fine"


def test_no_case_is_of_a_rule_that_is_not_there() -> None:
    assert {case.rule for case in CASES} <= set(all_rules())


@pytest.mark.parametrize("name", targets.names())
def test_a_target_is_whole(name: str) -> None:
    target = targets.load(name)
    rules = targets.rules(target)
    assert rules
    for rule in rules:
        assert len(rule.fix.strip()) >= 8, f"{rule.id} has no fix"
        assert (CHECKS / f"{rule.check}.py").is_file(), rule.id
        assert rule.title == rule.title.strip().rstrip("."), rule.id
        assert "\n" not in rule.fix.strip() or rule.fix.endswith("\n"), rule.id
        assert re.match(r"https://|[A-Za-z]", rule.source), rule.id


def test_each_check_is_used() -> None:
    used = {rule.check for rule in all_rules().values()}
    assert {path.stem for path in CHECKS.glob("*.py")} - {"__init__"} == used


@pytest.mark.real
@pytest.mark.parametrize("family", trees.FAMILIES)
def test_a_healthy_guest_breaks_no_rule(family: str, tmp_path: Path) -> None:
    found = broken(check(make(tmp_path / "disk.raw", family)))
    assert not found, "\n".join(
        f"{each.rule} {each.subject}: {each.evidence}" for some in found.values() for each in some
    )
