"""Several recipes at once: the budget, what is shown, failures apart, and what an interrupt leaves."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from factory.build import Options
from factory.console import Console
from factory.parallel import Budget, Running, Stopped, _View, available_memory, build_all, default_jobs, memory_of
from factory.plan import Plan, make_plan
from tests import command_line
from tests.recipe_files import HEAD, write

TOP = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    command_line.own_places(tmp_path, monkeypatch)
    return tmp_path


def plans(place: Path, *names: str, more: str = "") -> list[Plan]:
    """Recipes whose base is not there, so that each fails at once; by its own fault."""
    made = []
    for name in names:
        text = HEAD.replace("name: web", f"name: {name}").replace("debian-12", f"debian-12@sha256:{'0' * 64}")
        made.append(make_plan(str(write(place, text + more, name=name))))
    return made


# -- the budget


def test_no_more_runs_at_once_than_the_budget_holds() -> None:
    budget, lock = Budget(10), threading.Lock()
    now, most = 0, 0

    def one(amount: int) -> None:
        nonlocal now, most
        with budget.share(amount):
            with lock:
                now += min(amount, 10)
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= min(amount, 10)

    threads = [threading.Thread(target=one, args=(amount,)) for amount in (4, 4, 4, 7, 100, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert 4 < most <= 10


def test_who_waits_for_the_budget_begins_no_more_once_all_stop() -> None:
    budget, ends = Budget(10), list[str]()
    holds, over = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.share(10):
            holds.set()
            over.wait(10)

    def wait() -> None:
        try:
            with budget.share(10):
                ends.append("began")
        except Stopped:
            ends.append("stopped")

    first, second = threading.Thread(target=hold), threading.Thread(target=wait)
    first.start()
    assert holds.wait(10)
    second.start()
    budget.stop()
    second.join(5)  # the first holds all of it still
    assert not second.is_alive()
    over.set()
    first.join(10)
    wait()  # one that comes later
    assert ends == ["stopped", "stopped"]


def test_a_process_that_begins_at_the_moment_of_the_interrupt_is_ended_too() -> None:
    running = Running()
    began: list[str] = []

    class Process:
        def __init__(self, name: str) -> None:
            self.name = name

        def start(self) -> None:
            time.sleep(0.2)  # the interrupt comes now
            began.append(self.name)

        def terminate(self) -> None:
            began.remove(self.name)

    first = threading.Thread(target=running.begin, args=(Process("one"),))
    first.start()
    time.sleep(0.05)
    running.stop()
    first.join(10)
    with pytest.raises(Stopped):
        running.begin(Process("two"))  # type: ignore[arg-type]
    assert began == []


def test_a_build_takes_its_machine_or_those_of_its_tests(place: Path) -> None:
    (small,) = plans(place, "small", more="machine: {memory: 1GiB}\nrequirements: {memory: 2GiB}\n")
    sizes = [memory_of(small, Options(boot_test=mode)) >> 20 for mode in ("none", "quick", "full")]
    assert sizes == [1024 + 768, 2048 + 768, 4096 + 768]


def test_the_memory_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert available_memory(file) == 2 << 20
    assert available_memory() > 1 << 20


@pytest.mark.parametrize("name", ["v2", "v1", "v1 whose path is another's"])
def test_the_memory_that_a_control_group_leaves(tmp_path: Path, name: str) -> None:
    """Files of the page cache that nobody uses now are free; the narrowest of the groups above counts."""
    meminfo, own, groups = tmp_path / "meminfo", tmp_path / "own", tmp_path / "cgroup"
    meminfo.write_text("MemAvailable:    2048 kB\n")
    below = groups if name == "v2" else groups / "memory"
    v1 = name != "v2"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else ("memory.max", "memory.current")
    cache = "total_inactive_file" if v1 else "inactive_file"
    own.write_text("4:memory:/pod/box\n0::/other\n" if v1 else "0::/pod/box\n")
    assert available_memory(meminfo, own, groups) == 2 << 20, "without any limit"

    def limit(folder: Path, most: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in zip((*names, "memory.stat"), (most, "900000", f"anon 5\n{cache} 400000\n"), strict=True):
            (folder / file).write_text(f"{text}\n")

    no_limit = str((1 << 63) - 4096) if v1 else "max"
    limit(below, no_limit)
    assert available_memory(meminfo, own, groups) == 2 << 20
    if name.endswith("another's"):  # in a container the mount shows our own group as its root
        limit(below, "1000000")
    else:
        limit(below / "pod", "1000000")
        limit(below / "pod/box", no_limit)
    assert available_memory(meminfo, own, groups) == 500_000
    limit(below, "800000")
    assert available_memory(meminfo, own, groups) == 300_000
    limit(below, "200000")
    assert available_memory(meminfo, own, groups) == 0


def test_without_any_memory_one_begins_at_a_time() -> None:
    budget = Budget(0)
    with budget.share(5):
        budget.stop()
        with pytest.raises(Stopped), budget.share(5):
            pass
    waiting = Budget(0)
    second = threading.Event()

    def other() -> None:
        with waiting.share(5):
            second.set()

    with waiting.share(5):
        thread = threading.Thread(target=other)
        thread.start()
        assert not second.wait(0.2)
    assert second.wait(5)
    thread.join(5)


def test_two_cpus_that_we_may_use_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, jobs in ((1, 1), (2, 1), (6, 3)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cpus=cpus: set(range(cpus)))
        assert default_jobs() == jobs


# -- what is shown


def test_events_of_a_process_become_stages_here() -> None:
    shown = io.StringIO()
    console = Console.create("json", shown)
    view = _View(console)
    for event in (
        {"event": "stage", "stage": "web", "state": "running"},
        {"event": "stage", "stage": "web/customise", "state": "running"},
        {"event": "stage", "stage": "web/customise/1/2 copy", "state": "running"},
        {"event": "output", "stage": "web/customise/1/2 copy", "source": "", "line": "hello"},
        {"event": "stage", "stage": "web/customise/1/2 copy", "state": "cached", "seconds": 0.1, "note": "kept"},
        {"event": "stage", "stage": "web/customise", "state": "failed", "seconds": 0.1},
        {"event": "message", "text": "a word"},
        {"event": "error", "code": "x"},
    ):
        view.show(json.dumps(event) + "\n")
    view.close()
    assert [(record.path, record.depth, record.state, record.note) for record in console.timeline()] == [
        ("web", 0, "failed", ""),
        ("web/customise", 1, "failed", ""),
        ("web/customise/1/2 copy", 2, "cached", "kept"),
    ]
    assert '"line": "hello"' in shown.getvalue() and '"text": "a word"' in shown.getvalue()
    assert '"event": "error"' not in shown.getvalue()  # who asked for the builds shows it


# -- processes


@pytest.mark.real
def test_each_failure_is_its_own(place: Path) -> None:
    console = Console.quiet()
    options = Options(accelerator="tcg", output=place / "out", offline=True)
    ends = build_all([(plan, options) for plan in plans(place, "one", "two", "three")], console, 2)
    assert [end.plan.recipe.name for end in ends] == ["one", "two", "three"]
    assert [end.error.code for end in ends if end.error] == ["base.offline"] * 3
    assert {record.path for record in console.timeline() if record.depth == 0} == {"one", "two", "three"}
    assert len(list((place / "out").glob("*/*.failed/build.log"))) == 3


@pytest.mark.real
def test_one_table_and_one_status(place: Path) -> None:
    files = [plan.recipe.file for plan in plans(place, "one", "two")]
    done = command_line.run(
        "build", *files, "--jobs", "2", "--offline", "--accel", "tcg", "--json", "--output", place / "out"
    )
    assert done.returncode == 4
    builds = json.loads(done.stdout)["builds"]
    assert [(built["recipe"], built["error"]["code"]) for built in builds] == [
        ("one", "base.offline"),
        ("two", "base.offline"),
    ]
    assert done.stderr.count("error: the base debian-12 is not in the cache") == 2
    assert "recipe  result" in done.stderr


SLEEPER = """
import sys, time
from pathlib import Path
import factory.build
def build(plan, options, console):
    try:
        Path(sys.argv[-1], plan.recipe.name).touch()  # from now on an interrupt may come
        for _ in range(600):  # a signal just before one long sleep would be seen after it
            time.sleep(0.1)
    finally:
        Path(sys.argv[-1], plan.recipe.name + ".cleaned").touch()
factory.build.build = build
"""


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_ends_each_of_them(place: Path, number: signal.Signals) -> None:
    """The processes are new ones, so what stands in for a build comes in by a module that Python loads at its start."""
    site = place / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLEEPER.replace("sys.argv[-1]", repr(str(place))))
    files = [str(plan.recipe.file) for plan in plans(place, "one", "two")]
    process = subprocess.Popen(
        [sys.executable, "-m", "factory", "build", *files, "--jobs", "2"],
        cwd=TOP,
        env=os.environ | {"PYTHONPATH": f"{site}:{TOP}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def all_there(*names: str) -> bool:
        return all((place / name).exists() for name in names)

    def wait(*names: str) -> bool:
        deadline = time.monotonic() + 30
        while not all_there(*names) and time.monotonic() < deadline:
            time.sleep(0.05)
        return all_there(*names)

    try:
        assert wait("one", "two"), process.communicate(timeout=5)
        process.send_signal(number)
        assert wait("one.cleaned", "two.cleaned")
        output, _ = process.communicate(timeout=20)
        assert process.returncode == (130 if number != signal.SIGKILL else -9), output
        assert "Traceback" not in output
    finally:
        process.kill()
        process.communicate()
