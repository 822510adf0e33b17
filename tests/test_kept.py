"""Builds that were kept when they failed: their machines run on, people get at them, and they end in time."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory import kept, ledger
from factory.cli import options
from factory.errors import UsageError
from factory.hypervisor import embedded, kept_machine, watcher
from factory.hypervisor.kept_machine import Login
from factory.ledger import started
from factory.recipe import load_recipe
from factory.seed import new_keypair
from factory.workspace import Workspace
from tests import command_line
from tests.command_line import run
from tests.recipe_files import HEAD, write
from tests.test_machine import SCENARIO, child, wait_for

Facts = dict[str, Any]


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.own_places(tmp_path, monkeypatch)


def told_by(folder: Path, *scenario: str) -> Facts:
    """What a scenario told, in a process that has ended since."""
    process = child([*SCENARIO, *scenario], folder / "state", folder / "cache")
    said, wrong = process.communicate(timeout=90)
    assert process.returncode == 0, wrong
    facts: Facts = {"owner": process.pid}
    for line in said.splitlines():
        facts |= json.loads(line)
    return facts


def fail_and_keep(folder: Path, seconds: int) -> Facts:
    """What a build that failed told of the machine that it left."""
    facts = told_by(folder, "kept_after_a_failure", str(seconds))
    return facts | {"qemu": facts["qemus"][0]["pid"]}


@pytest.fixture
def failed(tmp_path: Path) -> Iterator[Facts]:
    facts = fail_and_keep(tmp_path, 120)
    yield facts
    run("gc")
    assert started(facts["qemu"]) is None


@pytest.mark.real
def test_disks_that_are_kept_name_what_they_lie_on_as_everybody_sees_it(tmp_path: Path) -> None:
    told = told_by(tmp_path, "disks_of_a_failed_build", "60")
    assert told["below_both"] == [told["base"], told["frozen"]]


@pytest.mark.real
def test_a_kept_machine_outlives_its_build_and_gc_ends_it(tmp_path: Path, failed: Facts) -> None:
    assert started(failed["owner"]) is None
    time.sleep(2)  # whatever ends machines of dead builds has had its time
    assert started(failed["qemu"]) is not None
    (entry,) = ledger.entries(tmp_path / "state")
    assert entry.build_id == failed["build_id"] and entry.port == failed["port"]
    assert [each.pid for each in entry.children] == [failed["qemu"]]
    machine = kept.machine_of(kept.find("web"))
    assert stat.S_IMODE(Path(machine.key).stat().st_mode) == 0o600
    assert "PRIVATE KEY" in Path(machine.key).read_text()
    assert ledger.reap(tmp_path / "state") == [], "the next build leaves it alone"
    assert started(failed["qemu"]) is not None

    done = run("gc")
    assert f"ended the left process {failed['qemu']}" in done.stdout
    assert started(failed["qemu"]) is None
    assert wait_for(lambda: started(failed["watcher"]) is None, 5)
    left = [path for path in (tmp_path / "state").rglob("*") if not path.is_dir()]
    assert left == [Path(failed["failed"], "console-build.log")]
    assert run("gc").stdout == "There was nothing to remove.\n"


@pytest.mark.real
@pytest.mark.parametrize("keep", [60, 0])
def test_of_boots_that_are_refused_one_runs_on_if_that_is_wanted(tmp_path: Path, keep: int) -> None:
    facts = told_by(tmp_path, "kept_when_refused", str(keep))
    try:
        assert facts["running"] == (1 if keep else 0)
        assert str(facts["machine"]).startswith("two-") is bool(keep)  # the one that ended first
    finally:
        run("gc")


@pytest.mark.real
def test_an_interrupt_leaves_no_machine_that_nobody_hears_of(tmp_path: Path) -> None:
    facts = told_by(tmp_path, "interrupted_after_one_was_kept")
    assert facts.pop("owner")
    assert facts == {"before": 1, "kept": True, "after": 0, "still": False}
    assert ledger.entries(tmp_path / "state") == []
    assert [path for path in (tmp_path / "state/builds").rglob("*") if path.is_file()] == []
    assert run("gc").stdout == "There was nothing to remove.\n"


@pytest.mark.real
def test_its_console_is_shown_and_followed_until_it_ends(failed: Facts) -> None:
    done = run("console", "--no-follow")
    assert (done.returncode, "HERE" in done.stdout) == (0, True)
    assert "\x1b" not in done.stdout
    os.kill(failed["qemu"], signal.SIGKILL)
    done = run("console", failed["build_id"])
    assert (done.returncode, "HERE" in done.stdout) == (0, True)
    done = run("ssh")
    assert done.returncode == 2
    assert "does not run any more" in done.stderr and "usage.machine-gone" in done.stderr


@pytest.mark.real
def test_its_time_is_kept_even_when_nobody_comes_by(tmp_path: Path) -> None:
    facts = fail_and_keep(tmp_path, 3)
    assert wait_for(lambda: started(facts["qemu"]) is None, 10)
    assert wait_for(lambda: started(facts["watcher"]) is None, 5)
    wait_for(lambda: ledger.expired(ledger.entries(tmp_path / "state")[0]), 5)
    assert ledger.reap(tmp_path / "state"), "and the next build clears the rest away"
    assert not Path(facts["work"]).exists() and ledger.entries(tmp_path / "state") == []


@pytest.mark.real
def test_the_way_in_is_pinned_to_the_guests_key(failed: Facts) -> None:
    words = kept.ssh_words(kept.find(failed["build_id"]), ["systemctl", "--failed"])
    text = " ".join(words)
    assert 'StrictHostKeyChecking="yes"' in text and f"-p {failed['port']}" in text
    assert words[-3:] == ["--", "systemctl", "--failed"] and words[-4] == "127.0.0.1"
    known = next(word for word in words if word.startswith("UserKnownHostsFile")).split('"')[1]
    assert Path(known).read_text().startswith(f"[127.0.0.1]:{failed['port']} ssh-ed25519 ")


@pytest.mark.real
def test_a_qemu_whose_owner_and_watcher_were_killed_is_ended_by_gc(tmp_path: Path) -> None:
    process = child([*SCENARIO, "runs_until_killed"], tmp_path / "state", tmp_path / "cache")
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    (qemu,) = (each["pid"] for each in facts["qemus"])
    os.kill(facts["watcher"], signal.SIGKILL)
    process.kill()
    process.communicate()
    time.sleep(1)
    assert started(qemu) is not None, "nobody is left to end it"
    assert f"removed {facts['folder']}" in run("gc").stdout
    assert started(qemu) is None and not watcher.processes_of(facts["folder"])


def test_a_program_whose_factory_was_killed_is_ended_by_gc(tmp_path: Path) -> None:
    code = (
        "import os, sys; from factory.run import stream\n"
        "stream(['sh', '-c', 'sleep 600 & echo $$ $!; wait'], reason='for the test',"
        " on_output=lambda text: (print(text, flush=True)))"
    )
    process = child([sys.executable, "-c", code], tmp_path / "state", tmp_path / "cache")
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    (tmp_path / "state").mkdir()
    assert all(started(pid) for pid in pids)
    assert run("gc").stdout == "There was nothing to remove.\n", "its owner lives"
    assert all(started(pid) for pid in pids)
    process.kill()
    process.wait()
    done = run("gc").stdout
    assert {f"ended the left process {pid}" for pid in pids} <= set(done.splitlines())
    assert not any(started(pid) for pid in pids)


def test_without_a_kept_build_the_verbs_say_so() -> None:
    for verb in ("ssh", "console", "retry"):
        done = run(verb)
        assert done.returncode == 2
        assert "no build is kept" in done.stderr and "usage.no-kept-build" in done.stderr
    assert "there is no kept build 'web'" in run("ssh", "web").stderr


def test_retry_calls_the_build_as_it_was_called_and_writes_no_secret_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build itself is replaced: what counts here is how it is called the second time."""
    recipe = write(tmp_path, HEAD + "variables: {token: {secret: true}, colour: {default: red}}\n")
    assert load_recipe(str(recipe), settings={"token": "x"}).secret_names == {"token"}
    before = (
        "import sys\nfrom pathlib import Path\nfrom factory import build, settings\n"
        "from factory.errors import StepFailed\nfrom factory.workspace import Workspace\n"
        "def fail(plan, options, console):\n"
        "    state = settings.state_dir()\n"
        "    print(plan.recipe.values, options.output, options.boot_test, options.keep)\n"
        "    workspace = Workspace.create(plan.recipe.name, plan.key, output=options.output, state=state)\n"
        "    workspace.keep('step.failed', options.again)\n"
        "    workspace.fail()\n"
        "    raise StepFailed('step 1 failed')\n"
        "build.build = fail"
    )
    monkeypatch.chdir(tmp_path)
    words = ("--output", "aus gabe", "--boot-test", "quick", "--keep", "on-failure", "--set", "colour=blue & green")
    first = run("build", recipe, *words, "--set", "token=s3cret", before=before)
    assert first.returncode == 4
    (entry,) = ledger.entries(tmp_path / "state")
    assert "s3cret" not in ledger.path_of(tmp_path / "state", entry.build_id).read_text()
    without = run("retry", before=before)
    assert without.returncode == 2 and "token" in without.stderr
    assert ledger.entries(tmp_path / "state") == [entry], "what cannot be built again stays"
    again = run("retry", entry.build_id, "--set", "token=s3cret", before=before)
    assert again.returncode == 4
    assert "Again: factory build" in again.stderr and "s3cret" not in again.stderr
    assert again.stdout == first.stdout.replace("aus gabe", str(command_line.TOP / "aus gabe"))
    (second,) = ledger.entries(tmp_path / "state")
    assert second.build_id != entry.build_id and second.again == entry.again

    (tmp_path / "geheim").write_text("s3cret\n")
    by_file = f"token@{os.path.relpath(tmp_path / 'geheim', command_line.TOP)}"
    assert run("build", recipe, *words, "--set", by_file, before=before).stdout == first.stdout
    third = ledger.entries(tmp_path / "state")[-1]
    assert third.again[-1].startswith("token@/")
    assert Path(third.again[-1].partition("@")[2]).samefile(tmp_path / "geheim")
    assert "s3cret" not in third.text().decode()
    assert run("retry", third.build_id, before=before).stdout == again.stdout, (
        "what is in a file need not be given again"
    )
    assert run("build", recipe, "--keep", "on-failure", "--set", "token=s3cret", before=before).returncode == 4
    folders = {entry.again[entry.again.index("--output") + 1] for entry in ledger.entries(tmp_path / "state")}
    assert folders == {str(command_line.TOP / "aus gabe"), str(command_line.TOP / "out")}, "wherever it is continued"


@pytest.mark.parametrize(
    ("terminal", "ci", "expected"), [(True, "", "on-failure"), (True, "1", "never"), (False, "", "never")]
)
def test_who_sits_at_a_terminal_has_failures_kept(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, ci: str, expected: str
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert options.keep_of(None).value == expected
    assert options.keep_of(options.Keep.always).value == "always"


def test_a_time_that_is_none_is_refused() -> None:
    done = run("build", "nginx", "--keep-for", "soon")
    assert done.returncode == 2 and "--keep-for must be a duration" in done.stderr
    with pytest.raises(UsageError):
        options.seconds_of("-1", "--keep-for")


def test_of_two_boots_the_one_that_is_kept_is_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.create("web", "0" * 64, output=tmp_path / "out", state=tmp_path / "state")
    key = new_keypair("boot test")
    bios, uefi = (
        SimpleNamespace(
            name=name,
            login=Login("debian", key, key),
            spec=SimpleNamespace(uuid=name, ssh_port=port, console=workspace.partial / f"console-{name}.log"),
        )
        for name, port in (("bios", 40001), ("uefi", 40002))
    )
    monkeypatch.setattr(embedded, "process_of", lambda _: os.getpid())
    monkeypatch.setattr(embedded, "keep", lambda *_: None)
    for machine in (bios, uefi):
        workspace.note_port(machine.spec.ssh_port)
    workspace.note_child(os.getpid())
    assert kept_machine.keep(cast(Any, bios), workspace, 60)
    words = kept.ssh_words(kept.find("web"))
    assert words[words.index("-p") + 1] == "40001"
    kept_machine._left.clear()
    workspace.forget_machine()
    workspace.discard()
