"""Places of a build and the ledger: real processes that die, real renames, a really full disk."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import ledger
from factory.errors import HostError, UsageError
from factory.files import sum_line, write_sums, write_whole
from factory.workspace import Workspace, closed_folder, entries
from tests.build_places import ROOT, create, mode, output, python, state

__all__ = ["output", "state"]


# -- a build from start to end ---------------------------------------------------------------------------------------


def test_the_places_of_a_build(state: Path, output: Path) -> None:
    old = os.umask(0o077)
    try:
        workspace = create(state, output)
    finally:
        os.umask(old)
    assert re.fullmatch(r"\d{8}T\d{6}Z-01234567", workspace.build_id)
    assert workspace.partial == output / "nginx" / f".{workspace.build_id}.partial"
    assert re.fullmatch(rf"{workspace.build_id}-[0-9a-f]{{8}}", workspace.work.name)
    assert workspace.work.parent == state / "builds"
    # QEMU's account passes through by name, and reads the artefact; it lists nothing and sees no secret.
    assert [mode(path) for path in (state, state / "builds", workspace.work)] == [0o711] * 3
    assert mode(workspace.partial) == 0o755 and mode(state / "ledger") == 0o700
    entry = ledger.path_of(state, workspace.build_id)
    assert mode(entry) == 0o600
    assert json.loads(entry.read_text())["owner"]["process"]["pid"] == os.getpid()
    with workspace.secret("key") as descriptor:
        os.write(descriptor, b"secret")
    assert mode(workspace.work / "key") == 0o600
    with pytest.raises(HostError, match="File exists"), workspace.secret("key"):
        pass


def test_the_ledger_is_written_before_anything_is_made(state: Path, output: Path) -> None:
    code = """
import sys
from pathlib import Path
seen = []
sys.addaudithook(lambda event, args: seen.append((event, str(args[1] if event == "os.link" else args[0])))
                 if event in ("os.link", "os.mkdir") else None)
from factory.workspace import Workspace
workspace = Workspace.create("nginx", "0123456789", output=Path(sys.argv[2]), state=Path(sys.argv[1]))
made = [path for event, path in seen]
entry = made.index(f"{sys.argv[1]}/ledger/{workspace.build_id}.json")
print(entry < made.index(str(workspace.work)) < made.index(str(workspace.partial)))
"""
    process = python(code, state, output)
    assert process.stdout is not None and process.stdout.read() == "True\n"


def test_a_good_build_appears_whole_and_latest_points_to_it(state: Path, output: Path) -> None:
    for number in range(2):
        workspace = create(state, output, key=f"{number:08x}")
        (workspace.partial / "nginx-1.0.0.qcow2").write_bytes(bytes([number]))
        (workspace.partial / "logs").mkdir()
        assert not (output / "nginx" / workspace.build_id).exists()
        final = workspace.commit()
        assert final == output / "nginx" / workspace.build_id
        latest = output / "nginx" / "latest"
        assert os.readlink(latest) == workspace.build_id  # relative: the folder can be moved
        assert (latest / "nginx-1.0.0.qcow2").read_bytes() == bytes([number])
        assert not workspace.work.exists() and entries(state) == []
    assert sorted(path.name for path in (output / "nginx").iterdir() if path.name.startswith(".")) == []


def test_a_failed_build_keeps_its_logs_and_leaves_latest_alone(state: Path, output: Path) -> None:
    good = create(state, output).commit()
    workspace = create(state, output)
    for name in ("build.log", "console-build.log", "nginx.qcow2", "SHA256SUMS"):
        (workspace.partial / name).write_text("x")
    failed = workspace.fail()
    assert failed == output / "nginx" / f"{workspace.build_id}.failed"
    assert sorted(path.name for path in failed.iterdir()) == ["build.log", "console-build.log"]
    assert (output / "nginx" / "latest").resolve() == good
    assert not workspace.work.exists() and entries(state) == []


def test_a_refused_image_can_be_kept_for_a_look(state: Path, output: Path) -> None:
    workspace = create(state, output)
    (workspace.partial / "nginx.qcow2").write_text("x")
    assert [path.name for path in workspace.fail(keep_image=True).iterdir()] == ["nginx.qcow2"]
    assert not (output / "nginx" / "latest").exists()


def test_a_commit_that_cannot_be_undone_tells_where_its_output_is(
    state: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = create(state, output)
    final = output / "nginx" / workspace.build_id
    whole = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        if path == final:  # as on a file system that has become read-only meanwhile
            raise OSError(errno.EROFS, "read-only", str(path))
        return whole(path, target)

    (output / "nginx" / "latest" / "mine").mkdir(parents=True)
    monkeypatch.setattr(Path, "rename", renamed)
    with pytest.raises(HostError):
        workspace.commit()
    assert workspace.fail(keep_image=True) == final and final.is_dir()


def test_failing_never_hides_the_error_that_is_on_its_way(state: Path, output: Path) -> None:
    workspace = create(state, output)
    shutil.rmtree(output)
    assert workspace.fail() == workspace.partial
    assert not workspace.work.exists() and entries(state) == []


def test_a_discarded_build_leaves_nothing(state: Path, output: Path) -> None:
    workspace = create(state, output)
    (workspace.partial / "build.log").write_text("x")
    workspace.discard()
    assert list(output.iterdir()) == [] and list((state / "builds").iterdir()) == [] and entries(state) == []


def test_a_folder_in_the_place_of_latest_is_an_error_and_nothing_is_lost(state: Path, output: Path) -> None:
    (output / "nginx" / "latest" / "mine").mkdir(parents=True)
    workspace = create(state, output)
    (workspace.partial / "build.log").write_text("x")
    with pytest.raises(HostError) as caught:
        workspace.commit()
    assert caught.value.code == "host.not-a-file" and str(output / "nginx" / "latest") in str(caught.value)
    assert (workspace.fail() / "build.log").exists()
    names = [path.name for path in (output / "nginx").iterdir()]
    assert sorted(names) == [f"{workspace.build_id}.failed", "latest"]


def test_builds_in_the_same_second_do_not_collide(state: Path, output: Path, tmp_path: Path) -> None:
    found: list[Workspace] = []
    states = [state, state, tmp_path / "other-state"]
    threads = [threading.Thread(target=lambda state=state: found.append(create(state, output))) for state in states]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({workspace.build_id for workspace in found}) == 3
    assert time.monotonic() - started < 10
    assert len({workspace.commit() for workspace in found}) == 3
    assert (output / "nginx" / "latest").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "nul\0"])
def test_a_name_that_is_no_folder_name_is_refused(state: Path, output: Path, name: str) -> None:
    with pytest.raises(UsageError):
        create(state, output, recipe=name)
    assert not state.exists() and not output.exists()


# -- a host that refuses ---------------------------------------------------------------------------------------------


@pytest.fixture
def denied() -> Iterator[Path]:
    """A folder that this process may not write to, for as long as the test runs."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o555)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(was)
        shutil.rmtree(folder)


def test_a_place_that_may_not_be_written_is_named(denied: Path) -> None:
    for place, results in (
        (denied / "state", denied / "out"),
        (Path(f"/tmp/factory-test-{os.getpid()}"), denied / "out"),
    ):
        try:
            with pytest.raises(HostError, match=r"Permission denied.*another place") as caught:
                create(place, results)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        assert caught.value.code == "host.permission" and str(denied) in str(caught.value)


def test_a_file_in_the_way_is_named(state: Path, output: Path, tmp_path: Path) -> None:
    output.write_text("a file")
    with pytest.raises(HostError) as caught:
        create(state, output)
    assert caught.value.code in ("host.not-a-folder", "host.exists") and str(output) in str(caught.value)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(HostError):
        create(tmp_path / "file", tmp_path / "out2")


FULL = """
import sys
from pathlib import Path
from factory.errors import HostError
from factory.files import write_whole
from factory.workspace import Workspace
place = Path(sys.argv[1])
workspace = Workspace.create("nginx", "0123456789", output=place / "out", state=place / "state")
def attempt(act):
    try:
        act()
    except HostError as error:
        print(error.code, str(place) in str(error), len(str(error).splitlines()))
attempt(lambda: write_whole(workspace.partial / "manifest.json", bytes(1 << 20)))
print(sorted(path.name for path in workspace.partial.iterdir()))
(place / "fill").touch()
try:
    with open(place / "fill", "wb", buffering=0) as file:
        while file.write(bytes(512)): pass
except OSError:
    pass
attempt(lambda: Workspace.create("nginx", "0123456789", output=place / "out", state=place / "state"))
import subprocess
subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
attempt(lambda: write_whole(workspace.partial / "manifest.json", b"x"))
attempt(workspace.commit)
attempt(lambda: Workspace.create("nginx", "0123456789", output=place / "out", state=place / "state"))
"""


def test_a_full_and_a_read_only_disk_are_errors_of_the_host(tmp_path: Path) -> None:
    argv = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = 'mount -t tmpfs -o size=64k,mode=700 none "$1" && shift && exec "$@"'
    probe = subprocess.run([*argv, "sh", "-c", mount, "sh", tmp_path, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no file system can be mounted here: {probe.stderr.strip()}")
    done = subprocess.run(
        [*argv, "sh", "-c", mount, "sh", tmp_path, sys.executable, "-c", FULL, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "host.disk-full True 1",
        "[]",
        "host.disk-full True 1",
        *["host.read-only True 1"] * 3,
    ]


def test_the_folder_that_keeps_qemu_out_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0:
            assert closed_folder(tmp_path / "a" / "b") is not None
            break
    assert closed_folder(Path("/usr/bin/env")) is None
    (tmp_path / "closed").mkdir(mode=0o700)
    assert closed_folder(tmp_path / "closed" / "state") is not None


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"first")
    assert mode(path) == 0o644
    write_whole(path, b"second", mode=0o600)
    assert mode(path) == 0o600 and path.read_bytes() == b"second"
    with pytest.raises(HostError, match="Is a directory"):
        write_whole(tmp_path, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_real_sha256sum_agrees(state: Path, output: Path) -> None:
    workspace = create(state, output)
    for name in ("nginx-1.0.0.qcow2", "manifest.json", "build.log", "odd name\\with\nall", "-dash", "ünïcode"):
        (workspace.partial / name).write_text(name)
    workspace.write_sums()
    final = workspace.commit()
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=final, capture_output=True, text=True, check=True
    )
    assert done.stdout.count(": OK") == 5 and "build.log" not in done.stdout
    (final / "manifest.json").write_text("changed")
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=final, capture_output=True).returncode == 1


def test_known_sums_are_not_computed_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert write_sums(tmp_path, {"a": "0" * 64}).read_text() == f"{'0' * 64}  a\n"
    assert sum_line("a\\b", "f") == "\\f  a\\\\b\n"
