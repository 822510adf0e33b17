"""Machines under the embedded libvirt, for real: how they start, as whom, how they end, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.hypervisor import enclosure, watcher
from factory.ledger import started
from tests.ordinary_user import as_ordinary_user

pytestmark = pytest.mark.real

TOP = Path(__file__).parents[1]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account for QEMU")
SCENARIO = [sys.executable, "-m", "tests.no_system"]
Facts = dict[str, Any]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What libvirt finds out about QEMU takes seconds, and is the same for every test."""
    return tmp_path_factory.mktemp("cache")


def child(argv: list[str], state: Path, cache: Path, **environment: str) -> subprocess.Popen[str]:
    places = {"FACTORY_STATE": str(state), "FACTORY_CACHE": str(cache), "PYTHONPATH": str(TOP)}
    return subprocess.Popen(
        argv,
        cwd="/",
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | places | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(argv: list[str], state: Path, cache: Path, **environment: str) -> list[Facts]:
    """What a scenario told, one line each; it must end well and say nothing else."""
    process = child(argv, state, cache, **environment)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return [json.loads(line) for line in output.splitlines()]


def left_below(folder: Path) -> list[str]:
    """What a scenario left behind, beside its own work folders."""
    paths = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(str(path) for path in paths if not path.parts[0].startswith("work"))


def wait_for(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# -- starting


def test_a_port_that_was_taken_meanwhile_is_left_for_another(tmp_path: Path, cache: Path) -> None:
    (facts,) = told([*SCENARIO, "port_taken"], tmp_path / "state", cache)
    assert (facts["code"], facts["moved"]) == ("", True)


def test_an_empty_disk_is_told_within_seconds(tmp_path: Path, cache: Path) -> None:
    state = tmp_path / "state"
    (facts,) = told([*SCENARIO, "nothing_to_boot"], state, cache)
    assert facts["code"] == "machine.no-boot-device"
    assert facts["seconds"] < 10
    assert "SeaBIOS" in facts["console"]
    assert "No bootable device" in facts["output"]
    assert "\x1b" not in facts["output"]
    assert left_below(state) == ["libvirt"]
    (qemu,) = facts["qemus"]
    assert started(qemu["pid"]) is None
    if os.geteuid() == 0:
        assert facts["account"] in enclosure.ACCOUNTS
        assert "0" not in qemu["uid"] + qemu["gid"]
        assert len(set(qemu["uid"])) == 1  # real, effective, saved and of the file system


PLACES = ["x" * 75 + "/" + "y" * 75, "with space, ümläut & %41 ?#=", "closed/state"]


@pytest.mark.parametrize("place", PLACES, ids=["150 characters", "odd characters", "below a closed folder"])
def test_wherever_the_state_is(tmp_path: Path, cache: Path, place: str) -> None:
    state = tmp_path / place
    state.parent.mkdir(parents=True, exist_ok=True)
    if "closed" in place:
        state.parent.chmod(0o700)
    (facts,) = told([*SCENARIO, "nothing_to_boot"], state, cache)
    assert facts["code"] == "machine.no-boot-device"
    assert left_below(state) == ["libvirt"]


@AS_ROOT
def test_an_ordinary_user_starts_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home"
    argv = as_ordinary_user([*SCENARIO, "nothing_to_boot"], home)
    environment = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "XDG_RUNTIME_DIR": "", "XDG_CACHE_HOME": ""}
    (home / "tmp").mkdir()
    (home / "tmp").chmod(0o777)
    for place in ("plain", PLACES[0], PLACES[1]):
        (facts,) = told(argv, home / place, home / "cache", **environment)
        assert facts["code"] == "machine.no-boot-device"
        assert facts["account"] == "" and facts["me"] != 0
        assert facts["qemus"][0]["uid"] == [str(facts["me"])] * 4
        assert left_below(home / place) == ["libvirt"]
    assert {path.name for path in home.iterdir()} == {
        "cache",
        "plain",
        "tmp",
        *(place.split("/")[0] for place in PLACES[:2]),
    }
    assert list((home / "tmp").iterdir()) == []


def test_two_builds_after_one_another_in_one_process(tmp_path: Path, cache: Path) -> None:
    first, second = told([*SCENARIO, "one_after_the_other"], tmp_path / "state", cache)
    assert first["code"] == second["code"] == "machine.no-boot-device"
    assert left_below(tmp_path / "state") == ["libvirt"]


def test_two_builds_at_once_in_one_process(tmp_path: Path, cache: Path) -> None:
    before = sorted(enclosure.STAGE.iterdir()) if enclosure.STAGE.is_dir() else []
    (facts,) = told([*SCENARIO, "both_at_once"], tmp_path / "state", cache)
    for number, end in enumerate(facts["ends"], 1):
        assert (end["code"], end["qemus"]) == ("", 2)
        assert f"HERE-{number}" in end["console"]
    assert left_below(tmp_path / "state") == ["libvirt"]
    assert (sorted(enclosure.STAGE.iterdir()) if enclosure.STAGE.is_dir() else []) == before


def test_libvirt_takes_every_kind_of_machine(tmp_path: Path, cache: Path) -> None:
    kinds = told([*SCENARIO, "every_kind"], tmp_path / "state", cache)
    assert [facts["error"] for facts in kinds] == [""] * 5


@AS_ROOT
def test_where_nobody_asks_for_the_exit_status_of_orphans(tmp_path: Path, cache: Path) -> None:
    """As the first process of a container, which inherits every QEMU; it once took 80 s to end each of them."""
    first = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    start = time.monotonic()
    told([*first, *SCENARIO, "one_after_the_other"], tmp_path / "state", cache)
    assert time.monotonic() - start < 25


@AS_ROOT
def test_root_without_its_rights_is_told_so(tmp_path: Path, cache: Path) -> None:
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (facts,) = told([*drop, *SCENARIO, "closed_without_rights"], closed / "state", cache)
    assert (facts["code"], facts["status"]) == ("host.closed-folder", 3)
    assert "closed to other accounts" in facts["cause"]


# -- ending


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, Facts]:
    """The ends that :func:`tests.no_system.other_ends` saw, by name."""
    facts = told([*SCENARIO, "other_ends"], tmp_path_factory.mktemp("ends") / "state", cache)
    return {each["name"]: each for each in facts}


@pytest.mark.parametrize(
    ("name", "code", "seconds"),
    [
        ("panic", "machine.kernel-panic", 5),
        ("panic-at-power-off", "machine.kernel-panic", 5),
        ("power-off", "", 10),
        ("ended-early", "machine.ended", 10),
        ("last-word", "", 10),
        ("no-power-off", "machine.no-power-off", 5),
        ("too-long", "machine.timeout", 5),
        ("reset", "", 10),
        ("hung", "machine.hung", 6),
    ],
)
def test_each_end_has_its_name(ends: dict[str, Facts], name: str, code: str, seconds: float) -> None:
    assert ends[name]["code"] == code
    assert ends[name]["seconds"] < seconds


def test_an_end_is_told_with_the_last_words(ends: dict[str, Facts]) -> None:
    assert ends["panic"]["cause"] == "The console says: Kernel panic - not syncing: VFS"
    assert "last words" in ends["hung"]["output"]
    assert "bye" in ends["ended-early"]["output"]


def test_a_guest_that_resets_itself_stays(ends: dict[str, Facts]) -> None:
    assert ends["reset"]["alive"] is True
    assert ends["power-off"]["alive"] is False


@pytest.mark.skipif(
    Path("/proc/sys/vm/overcommit_memory").read_text().strip() != "0", reason="this kernel gives any amount of memory"
)
def test_a_machine_that_does_not_start_is_told_by_who_is_why(tmp_path: Path, cache: Path) -> None:
    memory, cpus = told([*SCENARIO, "never_starts"], tmp_path / "state", cache)
    assert (memory["code"], memory["status"]) == ("host.memory", 3), memory["cause"]
    assert (cpus["code"], cpus["status"]) == ("machine.start", 4), cpus["cause"]


@AS_ROOT
def test_qemu_reads_no_file_of_root(ends: dict[str, Facts]) -> None:
    assert ends["not-given"]["code"] == "host.machine-start"
    assert "Permission denied" in ends["not-given"]["cause"]


def test_every_end_leaves_no_qemu(ends: dict[str, Facts]) -> None:
    assert ends["after"]["qemus"] == []


# -- being killed


@pytest.fixture
def running(tmp_path: Path, cache: Path) -> Iterator[tuple[subprocess.Popen[str], Facts]]:
    """A process that owns a running machine, and what it told of it."""
    process = child([*SCENARIO, "runs_until_killed"], tmp_path / "state", cache)
    assert process.stdout
    line = process.stdout.readline()
    try:
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def qemu_of(facts: Facts) -> int:
    (qemu,) = facts["qemus"]
    return int(qemu["pid"])


def test_a_qemu_that_is_killed_is_noticed(running: tuple[subprocess.Popen[str], Facts]) -> None:
    process, facts = running
    start = time.monotonic()
    os.kill(qemu_of(facts), signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    assert json.loads(output)["code"] == "machine.ended"
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_qemu_outlives_its_owner(running: tuple[subprocess.Popen[str], Facts], number: signal.Signals) -> None:
    process, facts = running
    process.send_signal(number)
    assert wait_for(lambda: started(qemu_of(facts)) is None, 5)
    process.communicate(timeout=10)
    assert wait_for(lambda: started(facts["watcher"]) is None, 5)
    assert not watcher.processes_of(facts["folder"])


def test_the_next_run_removes_what_a_killed_one_left(
    tmp_path: Path, cache: Path, running: tuple[subprocess.Popen[str], Facts]
) -> None:
    process, facts = running
    process.kill()
    process.communicate()
    assert Path(facts["folder"]).is_dir()
    (tmp_path / "state/work").rename(tmp_path / "state/work-of-the-killed")
    told([*SCENARIO, "nothing_to_boot"], tmp_path / "state", cache)
    assert left_below(tmp_path / "state") == ["libvirt"]


def test_a_terminal_that_sends_ctrl_c_to_all_ends_in_order(
    running: tuple[subprocess.Popen[str], Facts],
) -> None:
    """The watcher is in another session, so it does not die of the Ctrl-C that its owner still cleans up after."""
    process, facts = running
    assert os.getsid(facts["watcher"]) != os.getsid(process.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert started(qemu_of(facts)) is None
    assert not Path(facts["folder"]).exists()
