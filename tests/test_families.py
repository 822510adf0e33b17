"""A family is a folder of modules that are found by listing it; each member keeps the same rules.

What a family looks for in its members would otherwise be missed only when a build comes to the one that lacks it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import factory

FACTORY = Path(factory.__file__).parent
TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Family:
    """*members* must have *attributes*; *others* are modules of the folder that are none; *tests* name each member."""

    attributes: Mapping[str, type]
    tests: tuple[str, ...]
    others: tuple[str, ...] = ()


FAMILIES = {
    "scrub": Family(
        {"SUMMARY": str, "ORDER": int, "apply": object, "verify": object}, ("test_scrub*.py", "scrub_*.py")
    ),
    "provision": Family({"apply": object}, ("test_provision*.py",), ("causes", "session")),
    "packaging": Family({"FAMILIES": list, "System": type}, ("test_packaging*.py", "test_apt*.py")),
    "bases": Family({"FORMAT": int, "build": object}, ("test_bases*.py", "test_download*.py", "test_scratch*.py")),
    "report": Family({"write": object}, ("test_check.py",)),
    "checks": Family({"check": object}, ()),  # tests/rules/test_coverage.py wants two images of each rule
}
MEMBERS = [
    pytest.param(family, path.stem, id=f"{family}-{path.stem}")
    for family, rules in FAMILIES.items()
    for path in sorted((FACTORY / family).glob("*.py"))
    if path.stem != "__init__" and path.stem not in rules.others
]


def member(family: str, name: str) -> ModuleType:
    return importlib.import_module(f"factory.{family}.{name}")


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_a_member_has_what_its_family_looks_for(family: str, name: str) -> None:
    module = member(family, name)
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    for attribute, kind in FAMILIES[family].attributes.items():
        assert isinstance(getattr(module, attribute), kind), attribute
        assert kind is not object or callable(getattr(module, attribute)), attribute


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_a_member_says_what_it_is(family: str, name: str) -> None:
    module = member(family, name)
    first = (module.__doc__ or "").strip().split("\n")[0]
    assert len(first) > 20
    assert first.endswith(".") or "\n" in (module.__doc__ or "").strip()
    summary = getattr(module, "SUMMARY", "x")
    assert summary == summary.strip()
    assert summary
    assert "\n" not in summary
    assert not summary.endswith(".")
    assert len(summary) <= 80


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_a_test_names_each_member(family: str, name: str) -> None:
    spellings = f"{re.escape(name)}|{re.escape(name.replace('_', '-'))}"
    naming = re.compile(rf"[\"']({spellings})[\"']|factory\.{family}\.{name}\b|import .*\b{name}\b|\b{name}\.build\(")
    if not FAMILIES[family].tests:
        return
    files = [path for pattern in FAMILIES[family].tests for path in TESTS.glob(pattern)]
    assert any(naming.search(path.read_text()) for path in files), f"no test of {FAMILIES[family].tests} names {name}"


@pytest.mark.parametrize("family", [name for name, rules in FAMILIES.items() if "ORDER" in rules.attributes])
def test_each_place_in_an_order_is_taken_once(family: str) -> None:
    names = [path.stem for path in sorted((FACTORY / family).glob("*.py")) if path.stem != "__init__"]
    orders = {name: member(family, name).ORDER for name in names}
    assert len(set(orders.values())) == len(orders), sorted(orders.items(), key=lambda item: item[1])


def test_every_kind_of_step_has_its_provisioner() -> None:
    from factory.recipe.steps import STEPS

    names = {path.stem for path in (FACTORY / "provision").glob("*.py")}
    assert names - {"__init__", *FAMILIES["provision"].others} == {step.kind for step in STEPS}
