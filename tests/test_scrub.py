"""Scrub operations: each finds its dirt, its shell commands really remove it, and what only looks like dirt stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from factory import inspection, scrub
from factory.inspection import Image, Unreadable
from factory.scrub import Facts, Leftover
from tests import images
from tests.guest_tree import Content, Tree, enter, plant
from tests.scrub_cases import CASES, FACTS, GUEST, HOST, Case

ALL = [
    pytest.param(name, case, id=f"{name}-{number}")
    for name, cases in CASES.items()
    for number, case in enumerate(cases)
]
OPERATIONS = {operation.name: operation for operation in scrub.operations()}


def clean_guest(folder: Path, *layers: dict[str, Content]) -> Path:
    root = plant(folder / "guest", GUEST)
    for layer in layers:
        plant(root, layer)
    return root


def found(name: str, root: Path) -> list[Leftover]:
    return list(OPERATIONS[name].verify(Tree(root), FACTS))


def state(root: Path, names: list[str]) -> dict[str, object]:
    """Kind, mode and content of each path."""
    result: dict[str, object] = {}
    for name in names:
        path = root / name.lstrip("/")
        if path.is_symlink():
            result[name] = os.readlink(path)
        elif path.is_dir():
            result[name] = oct(path.stat().st_mode)
        else:
            result[name] = (oct(path.stat().st_mode), path.read_bytes()) if path.exists() else None
    return result


def after(path: Path) -> bytes | None:
    if path.is_symlink():
        return b"-> " + os.fsencode(os.readlink(path))
    return path.read_bytes() if path.exists() else None


def test_every_operation_has_a_case_with_dirt_and_one_with_what_only_looks_like_it() -> None:
    assert set(CASES) == set(OPERATIONS)
    for name, cases in CASES.items():
        assert any(case.dirty for case in cases), name
    without = {name for name, cases in CASES.items() if not any(case.benign for case in cases)}
    assert without == {"login-records", "tmp-files"}  # their clean twins are in the clean guest


def test_a_clean_guest_has_no_leftover(tmp_path: Path) -> None:
    assert scrub.verify(Tree(clean_guest(tmp_path)), FACTS) == []


@pytest.mark.parametrize(("name", "case"), ALL)
def test_finds_removes_and_leaves_alone(name: str, case: Case, tmp_path: Path) -> None:
    root = clean_guest(tmp_path, dict(case.benign))
    assert [leftover.path for leftover in found(name, root)] in (
        [],
        [p for p in case.benign if p in ("/var/mail/app",)],
    )
    plant(root, case.dirty)
    if case.dirty:
        assert {leftover.path for leftover in found(name, root)} == case.expected
    survivors = [path for path in case.benign if path not in case.after]
    before = state(root, survivors)
    assert enter(root, scrub.deletion(FACTS, name)) == ""
    assert {leftover.path for leftover in found(name, root)} == case.stays
    assert state(root, survivors) == before
    for path, content in case.after.items():
        assert after(root / path.lstrip("/")) == content, path
    # A second run finds nothing to do and nothing to complain about.
    assert enter(root, scrub.deletion(FACTS, name)) == ""
