"""Old builds go, and nothing else does."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factory import pruning
from factory.errors import UsageError
from tests.command_line import run

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def out(folder: Path, *names: str, latest: str = "") -> Path:
    """An output with builds ``recipe/day[.failed]`` of November 2026."""
    for name in names:
        recipe, _, day = name.partition("/")
        number, _, failed = day.partition(".")
        build = folder / "out" / recipe / f"202611{number}T000000Z-0123abcd{'.' * bool(failed)}{failed}"
        build.mkdir(parents=True)
        (build / "manifest.json").write_text("{}")
    if latest:
        recipe, _, number = latest.partition("/")
        (folder / "out" / recipe / "latest").symlink_to(f"202611{number}T000000Z-0123abcd")
    return folder / "out"


def days(old: list[pruning.OldBuild]) -> list[str]:
    return [f"{each.folder.parent.name}/{each.folder.name[6:8]}{each.folder.suffix}" for each in old]


def test_the_newest_of_each_recipe_stay(tmp_path: Path) -> None:
    made = out(tmp_path, "a/01", "a/02", "a/03", "b/01", "a/01.failed", "a/02.failed")
    old = pruning.old_builds(made, tmp_path, keep=1, now=NOW)
    assert sorted(days(old)) == ["a/01", "a/01.failed", "a/02"]
    pruning.remove(old)
    left = sorted(path.name[6:] for path in made.glob("*/*"))
    assert left == ["01T000000Z-0123abcd", "02T000000Z-0123abcd.failed", "03T000000Z-0123abcd"]


def test_latest_stays_although_it_is_old(tmp_path: Path) -> None:
    made = out(tmp_path, "a/01", "a/02", "a/03", latest="a/01")
    assert days(pruning.old_builds(made, tmp_path, keep=0, now=NOW)) == ["a/02", "a/03"]


@pytest.mark.parametrize("seconds", [0, 3 * 86400])
def test_builds_that_a_wrong_clock_dated_ahead_are_not_the_newest(tmp_path: Path, seconds: float) -> None:
    made = out(tmp_path, "a/01", "a/02", "a/25", "a/26")
    old = pruning.old_builds(made, tmp_path, keep=2, seconds=seconds, now=NOW)
    assert days(old) == ["a/25", "a/26"]


def test_young_ones_stay(tmp_path: Path) -> None:
    made = out(tmp_path, "a/01", "a/19", "a/20")
    assert days(pruning.old_builds(made, tmp_path, keep=0, seconds=3 * 86400, now=NOW)) == ["a/01", "a/19"]


def test_what_a_run_owns_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = out(tmp_path, "a/01.failed", "a/02.failed")

    class Kept:
        build_id = "20261101T000000Z-0123abcd"

    monkeypatch.setattr("factory.ledger.entries", lambda state: [Kept()])
    assert days(pruning.old_builds(made, tmp_path, keep=0, now=NOW)) == ["a/02.failed"]


def test_other_folders_and_links_stay(tmp_path: Path) -> None:
    made = out(tmp_path, "a/01")
    (made / "a" / "notes").mkdir()
    (made / "a" / ".20261102T000000Z-0123abcd.partial").mkdir()
    (made / "a" / "20261103T000000Z-0123abcd").symlink_to(tmp_path)
    half = made / "a" / ".20261104T000000Z-0123abcd.removed"  # of a run that was killed
    half.mkdir()
    old = pruning.old_builds(made, tmp_path, keep=0, now=NOW)
    assert {each.folder.name for each in old} == {"20261101T000000Z-0123abcd", half.name}
    pruning.remove(old)
    assert not half.exists() and (made / "a" / "notes").exists()


def test_half_an_output_whose_ledger_is_lost_goes_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = out(tmp_path, "a/01")
    lost, young, owned = (made / "a" / f".202611{day:02}T000000Z-0123abcd.partial" for day in (2, 3, 4))
    for half in (lost, young, owned):
        half.mkdir()
        (half / "a.qcow2").write_text("half")
        for path in (half / "a.qcow2", half):
            os.utime(path, (NOW.timestamp() - 3 * 86400,) * 2)
    os.utime(young / "a.qcow2", (NOW.timestamp() - 3600,) * 2)

    class Owned:
        build_id = "20261104T000000Z-0123abcd"

    monkeypatch.setattr("factory.ledger.entries", lambda state: [Owned()])
    old = pruning.old_builds(made, tmp_path, now=NOW)
    assert [each.folder for each in old] == [lost]
    monkeypatch.setattr("shutil.rmtree", lambda folder: None)  # cut short
    pruning.remove(old)
    monkeypatch.undo()
    (rest,) = pruning.old_builds(made, tmp_path, now=datetime(2026, 11, 20, tzinfo=UTC))
    pruning.remove([rest])
    assert sorted(made.glob("a/.*")) == [young, owned]


def test_a_recipe_without_builds_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        pruning.old_builds(out(tmp_path, "a/01"), tmp_path, recipes=["b"])
    assert caught.value.code == "usage.no-such-build"


def test_the_verb(tmp_path: Path) -> None:
    made = out(tmp_path, "a/01", "a/02", "b/01", "b/02", latest="b/02")
    shown = run("images", "prune", "a", "--keep", "1", "--dry-run", "--json", "--output", str(made))
    assert [Path(each["directory"]).name[:8] for each in json.loads(shown.stdout)["removed"]] == ["20261101"]
    assert len(list(made.glob("a/*"))) == 2
    shown = run("images", "prune", "--keep", "1", "--output", str(made))
    assert (shown.returncode, len(shown.stdout.splitlines())) == (0, 2)
    assert [path.name[:8] for path in made.glob("a/*")] == ["20261102"]
    assert run("images", "prune", "--older-than", "soon").returncode == 2
