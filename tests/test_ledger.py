"""The ledger: what real processes that were killed left is found and removed, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from factory import ledger
from factory.errors import HostError
from factory.workspace import Workspace, alive, entries, reap
from tests.build_places import create, died, ended, output, state

__all__ = ["output", "state"]


def test_what_a_dead_build_left_is_reaped(state: Path, output: Path) -> None:
    with died(state, output, "logs") as (build_id, child, work):
        assert not ended(child)
        assert [entry.port for entry in entries(state)] == [40022]
        done = reap(state)
        assert ended(child) and not work.exists() and entries(state) == []
        failed = output / "nginx" / f"{build_id}.failed"
        assert [path.name for path in failed.iterdir()] == ["build.log"]
        assert done == [
            f"ended the left process {child}",
            f"kept the logs of a build that died, in {failed}",
            f"removed {work}",
        ]
        assert reap(state) == []


def test_a_dead_build_without_logs_leaves_nothing(state: Path, output: Path) -> None:
    with died(state, output, "none"):
        reap(state)
        assert list((output / "nginx").iterdir()) == [] and entries(state) == []


def test_an_output_that_cannot_be_looked_at_stops_nothing(
    state: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with died(state, output, "logs") as (build_id, child, work):
        partial, stat = output / "nginx" / f".{build_id}.partial", Path.stat

        def stale(path: Path, **words: Any) -> os.stat_result:
            if path == partial:
                raise OSError(errno.ESTALE, "Stale file handle")
            return stat(path, **words)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "stat", stale)
            assert reap(state, dry_run=True) == [f"would end process {child}", f"would remove {work}"]
            done = reap(state)
        assert done[-1] == f"{partial} cannot be looked at: Stale file handle"
        assert ended(child) and not work.exists()
        assert len(entries(state)) == 1, "it is cleared when it can be looked at again"
        reap(state)
        assert (output / "nginx" / f"{build_id}.failed").is_dir() and entries(state) == []


def test_a_kept_build_stays_until_it_is_asked_for(state: Path, output: Path) -> None:
    with died(state, output, "kept") as (_, child, work):
        assert reap(state) == [] and work.exists() and not ended(child)
        assert len(reap(state, kept=True)) == 3
        assert not work.exists() and ended(child)


def change(state: Path, build_id: str, **changes: Any) -> None:
    path = ledger.path_of(state, build_id)
    data = json.loads(path.read_text())
    for name, value in changes.items():
        if name in data["owner"]:
            data["owner"][name] = value
        else:
            data[name] = value
    path.write_text(json.dumps(data))


def test_a_later_process_with_the_same_pid_is_left_alone(state: Path, output: Path) -> None:
    with died(state, output, "none") as (build_id, child, work):
        change(state, build_id, children=[{"pid": child, "start": 1}, {"pid": 2**22 - 1, "start": 1}])
        assert not any(line.startswith("ended") for line in reap(state))
        assert not ended(child) and not work.exists()


def test_after_a_reboot_the_pids_mean_nothing(state: Path, output: Path) -> None:
    with died(state, output, "none") as (build_id, child, work):
        change(state, build_id, boot_id="another")
        reap(state)
        assert not ended(child) and not work.exists()


def test_a_build_of_another_host_or_container_counts_as_alive_for_two_days(state: Path, output: Path) -> None:
    with died(state, output, "none") as (build_id, child, work):
        change(state, build_id, boot_id="another", host="elsewhere")
        assert reap(state) == [] and work.exists()
        change(state, build_id, written=time.time() - 3 * 24 * 3600)
        reap(state)
        assert not work.exists() and not ended(child)


def test_nothing_outside_its_place_is_removed(state: Path, output: Path, tmp_path: Path) -> None:
    for folder in ("home", "home.partial"):
        (tmp_path / folder).mkdir()
    with died(state, output, "none") as (build_id, *_):
        change(state, build_id, work=str(tmp_path / "home"), partial=str(tmp_path / "home.partial"))
        reap(state)
        assert (tmp_path / "home").is_dir() and (tmp_path / "home.partial").is_dir()


def test_an_entry_that_cannot_be_read_is_told_and_goes_when_it_is_old(state: Path, output: Path) -> None:
    workspace = create(state, output)
    for text in ("", "{", "[]", '{"build_id": 1}', '{"owner": {"process": 3}}'):
        path = state / "ledger" / "20260101T000000Z-00000000.json"
        path.write_text(text)
        assert reap(state, dry_run=True) == (told := reap(state))
        assert len(told) == 1 and "cannot be read" in told[0]
    os.utime(path, (0, 0))
    assert reap(state, dry_run=True) == [f"would remove the unreadable ledger entry {path}"] and path.exists()
    [line] = reap(state)
    assert line.startswith("removed the unreadable") and not path.exists()
    assert workspace.work.exists()


def test_a_working_folder_without_an_entry_is_removed(state: Path, output: Path) -> None:
    workspace = create(state, output)
    left = state / "builds" / "20260101T000000Z-00000000-deadbeef"
    other = state / "builds" / "not-ours-really"
    left.mkdir()
    other.mkdir()
    assert reap(state) == [f"removed {left}"]
    assert workspace.work.exists() and other.exists()


def test_children_are_noted_from_several_threads(state: Path, output: Path) -> None:
    workspace = create(state, output)
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(4)]
    try:
        threads = [threading.Thread(target=workspace.note_child, args=(child.pid,)) for child in children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        workspace.forget_child(children[0].pid)
        [entry] = entries(state)
        assert {child.pid for child in entry.children} == {child.pid for child in children[1:]}
    finally:
        for child in children:
            child.kill()
            child.wait()
    workspace.note_child(children[0].pid)  # ended already: not noted
    assert len(workspace.entry.children) == 3


def test_who_is_alive() -> None:
    me = ledger.Owner.me()
    assert alive(me)
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert ledger.started(zombie.pid) is None
    assert ledger.started(1) is not None and ledger.started(2**22 + 1) is None


def test_a_state_that_others_can_write_is_refused(state: Path, output: Path) -> None:
    create(state, output).discard()
    (state / "ledger").chmod(0o777)
    for act in (lambda: reap(state), lambda: create(state, output)):
        with pytest.raises(HostError, match="0777") as caught:
            act()
        assert caught.value.code == "host.state-unsafe"
    assert reap(state / "not there") == []


def test_what_ends_after_its_build_brings_no_entry_back(state: Path, output: Path) -> None:
    """Boot tests run in threads of their own: after Ctrl-C they may end their machines when all is removed."""
    for leave in (Workspace.fail, Workspace.discard, Workspace.commit):
        workspace = create(state, output)
        workspace.note_child(os.getpid())
        leave(workspace)
        workspace.forget_child(os.getpid())
        workspace.note_child(os.getpid())
        workspace.note_port(2222)
        workspace.forget_machine()
        assert ledger.entries(state) == [], leave.__name__
        assert not list((state / "ledger").iterdir()), leave.__name__
    workspace = create(state, output)
    workspace.keep("step.failed")
    workspace.fail()
    workspace.note_port(2222)
    assert [entry.port for entry in ledger.entries(state)] == [2222], "what is kept goes on being noted"
