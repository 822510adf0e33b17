"""A state and a cache that hosts and containers share, that are somebody's home, or whose clock was wrong once.

What a living run of another container owns stays; what is none of the factory's own stays for ever.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factory import ledger, processes
from factory.errors import HostError
from factory.hypervisor import embedded
from factory.processes import abandoned, dead, mark
from factory.publish import pending
from factory.workspace import Workspace
from tests.build_places import create, died, mode, output, python, state
from tests.command_line import TOP, own_places, run

__all__ = ["output", "state"]

DAYS = 24 * 3600


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places(tmp_path, monkeypatch)


def made_by(pid: int = 1, start: int = 1, *, space: str = "", boot: str = "", host: str = "") -> str:
    """A mark as ours, but for what is given."""
    parts = mark().split("-")
    return "-".join([str(pid), str(start), space or parts[2], boot or parts[3], host or parts[4]])


# -- whose a file is


def test_who_is_dead_is_only_said_where_it_can_be_known() -> None:
    assert not dead(mark()) and dead(made_by())
    assert not dead(made_by(space="17")), "a container of this host: its pids mean nothing here"
    assert not dead(made_by(boot="0badcafe", host="0badcafe")), "another host: its first name space bears our number"
    assert dead(made_by(boot="0badcafe")), "this host, which has booted since"
    assert not dead("no mark") and not dead("1-1-1")


def test_what_nobody_can_look_at_is_given_up_in_time() -> None:
    now = time.time()
    for other in (made_by(space="17"), made_by(boot="0badcafe", host="0badcafe")):
        assert not abandoned(other, written=now - DAYS)
        assert abandoned(other, written=now - 3 * DAYS)
    assert not abandoned(mark(), written=0), "we live, however long"
    assert abandoned(made_by(), written=now)
    assert not abandoned("no mark", written=0)


def test_temporary_files_of_another_container_stay_for_two_days(tmp_path: Path) -> None:
    path = tmp_path / f".new-{made_by(space='17')}-abc"
    path.mkdir()
    assert processes.remove_left(tmp_path, ".new-*") == [] and path.is_dir()
    os.utime(path, (0, 0))
    assert processes.remove_left(tmp_path, ".new-*") == [path] and not path.exists()


def libvirt_folder(folder: Path, name: str, owner: str = "") -> Path:
    made = folder / "state" / "libvirt" / name
    made.mkdir(parents=True)
    (made / embedded.PLACE).write_text(str(made))
    if owner:
        (made / embedded.OWNER).write_text(owner)
    return made


def test_the_libvirt_of_another_container_is_left_alone(tmp_path: Path) -> None:
    other = libvirt_folder(tmp_path, "4194303-5", made_by(4194303, 5, space="17"))
    gone = libvirt_folder(tmp_path, "4194302-5", made_by(4194302, 5))
    just_begun = libvirt_folder(tmp_path, "4194301-5")
    assert embedded.reap(kept=True) == [f"removed {gone}"]
    assert other.is_dir() and just_begun.is_dir()
    for path in (other / embedded.OWNER, just_begun):
        os.utime(path, (0, 0))
    assert sorted(embedded.reap()) == sorted([f"removed {other}", f"removed {just_begun}"])


REAP = "from factory.hypervisor import embedded; print(embedded.reap(kept=True))"


@pytest.mark.real
def test_a_real_container_that_shares_the_state_takes_nothing_from_a_living_run(tmp_path: Path) -> None:
    me = f"{os.getpid()}-{ledger.started(os.getpid())}"
    mine = libvirt_folder(tmp_path, me, mark())
    apart = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--pid", "--fork", "--mount-proc"]
    done = subprocess.run([*apart, sys.executable, "-c", REAP], cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no name spaces here: {done.stderr.strip()}")
    assert (done.stdout, done.stderr) == ("[]\n", "") and mine.is_dir()


def test_an_upload_of_another_container_goes_on_and_a_lost_one_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "uploads"
    folder.mkdir(parents=True)
    note = folder / f"{made_by(space='17')}.abcd.json"
    note.write_text(json.dumps({"target": "generic", "key": "web/1.0/a.qcow2"}))
    assert pending.reap(dry_run=True) == []
    os.utime(note, (0, 0))
    assert pending.reap(dry_run=True) == ["would abort the upload of web/1.0/a.qcow2"]


# -- a home as the cache


def test_gc_takes_nothing_that_is_not_ours(tmp_path: Path) -> None:
    home = tmp_path / "home"
    others = ["work/thesis/text", "work/web-1/text", "downloads/photo.jpg", "ledger/2025.json", "libvirt/2024-10/text"]
    others += ["base/.new-idea/text", "uploads/1.json"]
    for name in others:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("precious")
    for path in home.rglob("*"):
        os.utime(path, (0, 0))
    home.chmod(0o700)
    for _ in range(2):
        done = run("gc", FACTORY_CACHE=str(home), FACTORY_STATE=str(home))
        assert (done.returncode, done.stdout) == (0, "There was nothing to remove.\n"), done.stderr
    assert [name for name in others if not (home / name).is_file()] == []


# -- modes, and what is left of a flip


@pytest.mark.real
@pytest.mark.parametrize("first", ["pending.note('generic', 'web/a')", "embedded.connection(kvm=False)"])
def test_a_group_that_may_write_does_not_spoil_the_state(state: Path, output: Path, first: str) -> None:
    code = "import os; os.umask(0o002)\nfrom factory.publish import pending\nfrom factory.hypervisor import embedded\n"
    process = python(code + first)
    assert process.returncode == 0
    assert mode(state) == 0o711
    create(state, output).discard()


@pytest.mark.real
def test_what_a_killed_check_left_is_removed(tmp_path: Path, state: Path) -> None:
    image = tmp_path / "a.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", image, "8M"], check=True)
    before = "import os, signal\nfrom factory import disk\n"
    before += "disk.raw_copy = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    assert run("check", str(image), before=before).returncode == -9
    (left,) = state.glob("check-*")
    assert mode(state) == 0o711
    assert run("gc", "--dry-run").stdout == f"would remove {left}\n"
    assert run("gc").stdout == f"removed {left}\n" and not left.exists()


KILLED_IN_A_FLIP = """
import os, signal, sys
from pathlib import Path
from factory.workspace import Workspace
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Workspace.create("nginx", "0123456789", output=Path(sys.argv[2]), state=Path(sys.argv[1])).commit()
"""


def test_a_link_that_was_to_become_latest_is_removed(state: Path, output: Path) -> None:
    process = python(KILLED_IN_A_FLIP, state, output)
    assert process.returncode == -9
    assert len(list((output / "nginx").glob(".latest.*"))) == 1
    ledger.reap(state)
    assert [path.name[0] for path in (output / "nginx").iterdir()] == ["2"]


# -- one thing that fails


def test_what_gc_cannot_look_at_keeps_nothing_else_from_being_cleared(
    tmp_path: Path, state: Path, output: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with died(state, output, "none") as (_, _, work):
        done = run("gc")
        assert done.returncode == 3 and "host.cache-unsafe" in done.stderr
        assert not work.exists() and f"removed {work}" in done.stderr


def test_a_failure_is_told_although_nothing_can_be_kept(state: Path, output: Path) -> None:
    workspace: Workspace = create(state, output)
    (state / "ledger").chmod(0o700)
    workspace.keep_machine(ledger.KeptMachine("m", "root", "k", "", str(workspace.partial / "c.log"), 0.0))
    ledger.path_of(state, workspace.build_id).unlink()
    (state / "ledger").rmdir()  # nothing can be written there any more
    with pytest.raises(HostError):
        workspace.keep("why")
    assert workspace.fail().name == f"{workspace.build_id}.failed"
