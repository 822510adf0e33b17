"""``factory gc`` as people call it: what it removes is what a dry run has shown, and a dry run removes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory.processes import mark
from factory.workspace import Workspace
from tests.build_places import died, ended
from tests.command_line import own_places, run


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_a_dry_run_shows_what_would_go_and_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places(tmp_path, monkeypatch)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where half-made bases and short names lie
    state, output, cache = tmp_path / "state", tmp_path / "out", tmp_path / "cache"
    living = Workspace.create("nginx", "f" * 16, output=output, state=state)
    dead = f"1-1-{mark().split('-', 2)[2]}"
    without_entry = state / "builds" / "20260101T000000Z-00000000-deadbeef"
    half_a_base = tmp_path / f"image-factory-{dead}-abc"
    unfinished, half_an_entry = cache / "work" / "debian-12-0123456789abcdef", cache / "base" / f".new-{dead}-abc"
    cache.mkdir(mode=0o700)
    for folder in (half_a_base, unfinished, half_an_entry):
        folder.mkdir(parents=True)
        (folder / "content").write_text("half")
    (cache / "locks").mkdir()
    (cache / "locks" / f"base-{unfinished.name}.lock").touch()
    note = state / "uploads" / f"{dead}.abcd.json"
    note.parent.mkdir(mode=0o700)
    note.write_text(json.dumps({"target": "generic", "key": "nginx/1.0/a.qcow2"}))
    with died(state, output, "none") as (build_id, child, work):
        without_entry.mkdir()
        before = tree(tmp_path)
        done = run("gc", "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["dry_run"] is True
        partial = output / "nginx" / f".{build_id}.partial"
        folders = [work, partial, without_entry, unfinished, half_a_base, half_an_entry]
        assert sorted(told["removed"]) == sorted(
            [
                *(f"would remove {folder}" for folder in folders),
                f"would end process {child}",
                "would abort the upload of nginx/1.0/a.qcow2",
            ]
        )
        after = tree(tmp_path)
        assert {path: after.get(path) for path in before} == before and not ended(child)
        assert run("gc", "--dry-run").stdout.splitlines() == told["removed"]

        for_real = json.loads(run("gc", "--json").stdout)
        assert for_real["dry_run"] is False and len(for_real["removed"]) == len(told["removed"])
        assert ended(child) and not any(folder.exists() for folder in folders)
        assert note.exists(), "no store is set up, so the upload cannot be aborted"
        assert living.work.is_dir() and living.partial.is_dir()
    note.unlink()
    assert run("gc", "--dry-run").stdout == "There was nothing to remove.\n"
