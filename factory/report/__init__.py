"""Reports: the findings on one image, written for people (text) or for programs (json, junit, sarif).

A report is a module of this folder with

    write(report) -> str        the whole report, with a last newline
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from factory.findings import Finding, Findings
from factory.targets import Rule

FOLDER = Path(__file__).parent
ORDER = {"fail": 0, "warn": 1, "skip": 3, "pass": 4}


@dataclass(frozen=True)
class Report:
    """What is reported: the document, the rules by id, and whether a terminal shows colours."""

    document: Findings
    rules: Mapping[str, Rule]
    colour: bool = False


def names() -> list[str]:
    """The reports there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def write(name: str, report: Report) -> str:
    """The report *name* as text."""
    return cast(str, importlib.import_module(f"factory.report.{name}").write(report))


def worst_first(finding: Finding) -> tuple[int, int, str]:
    """The order of findings for people: failed, warned, told, skipped, passed; then by rule."""
    return (2 if finding.only_told else ORDER[finding.status], 0, finding.rule)
