"""The names by which rules and other findings are called: in a recipe's ``checks.ignore`` and on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from factory import boot_test, rule_names, scrub, targets
from factory.checking import ignoring
from factory.findings import Finding


def broken(rule: str) -> Finding:
    return Finding(rule=rule, status="fail", severity="error", subject="image", evidence="broken", why="", source="")


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("gen-g27", ["GEN-G27"]),
        ("id01", ["GEN-G30"]),
        ("BT13", ["GEN-F10", "GEN-G17"]),  # two rules cover it
        ("scrub-canaries", ["SCRUB-CANARIES"]),
        ("Boot-Units", ["BOOT-UNITS"]),
        ("test-2", ["TEST-2"]),
        ("zzz", []),
    ],
)
def test_what_is_ignored_by_any_of_its_names_is_skipped(name: str, rules: list[str]) -> None:
    every = ["GEN-G27", "GEN-G30", "GEN-F10", "GEN-G17", "SCRUB-CANARIES", "BOOT-UNITS", "TEST-2", "TEST-1"]
    told = ignoring([broken(rule) for rule in every], {name: "a reason"})
    assert sorted(each.rule for each in told if each.status == "skip") == sorted(rules)
    assert all(each.evidence.startswith("ignored (a reason): ") for each in told if each.status == "skip")


def test_all_that_a_build_finds_has_a_name() -> None:
    known = rule_names.of_builds(tests=2)
    written = "".join(path.read_text("utf-8") for path in Path(boot_test.__file__).parent.glob("*.py"))
    assert set(re.findall(r'"(BOOT-[A-Z-]+)"', written)) == set(rule_names.BOOT) <= set(known)
    assert {f"SCRUB-{each.name.upper()}" for each in scrub.operations()} <= set(known)
    assert {name for name in known if name.startswith("TEST-")} == {"TEST-1", "TEST-2"}
    for name in targets.names():
        for rule in targets.rules(targets.load(name)):
            assert known[rule.id] == (rule.id,)
            assert all(
                rule.id in known[other] or known[other] == (other,) for other in rule.covers
            )  # an id comes first


def test_each_entry_of_the_catalogue_of_traces_has_a_rule_or_a_reason() -> None:
    catalogue = {"ID": 28, "NET": 12, "CI": 15, "SH": 15, "DL": 18, "BT": 20, "FW": 3}
    entries = {f"{name}{number:02}" for name, last in catalogue.items() for number in range(1, last + 1)}
    reasons = (Path(__file__).parents[1] / "docs" / "checks.md").read_text("utf-8").partition("## Not decidable")[2]
    named = {entry for entry in entries if re.search(rf"^\| `{entry}`", reasons, re.MULTILINE)}
    assert not entries - set(rule_names.of_builds()) - named
