"""Ctrl-C while a failed build is being kept: nothing of it stays. The build is a real one but for its machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory import build, ledger, preflight
from factory.console import Console
from factory.errors import StepFailed
from factory.hypervisor import accelerator, embedded, kept_machine
from factory.hypervisor.hypervisor import Hypervisor
from factory.interrupts import Interrupted
from factory.plan import make_plan
from factory.seed import new_keypair
from factory.workspace import Workspace
from tests.command_line import own_places
from tests.recipe_files import HEAD, write


class Left:
    """A machine that runs and could be kept."""

    def __init__(self, console: Path) -> None:
        self.spec = SimpleNamespace(uuid="u" * 8, ssh_port=1, console=console)
        self.name, self.alive, self.refused = "web", True, False
        self.login = kept_machine.Login("root", new_keypair("login"), None)

    def destroy(self) -> None:
        self.alive = False


def hypervisor(owner: Workspace) -> Any:
    made = Hypervisor(owner.work, accelerator.Accelerator("tcg", "a test"), owner=owner, keep=60)
    made._closing.callback(lambda: None)
    return made


@pytest.fixture
def embedded_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What libvirt's process would leave running."""
    kept: list[str] = []
    monkeypatch.setattr(embedded, "process_of", lambda _: 1)
    monkeypatch.setattr(embedded, "keep", lambda uuid, _: kept.append(uuid))
    monkeypatch.setattr(embedded, "unkeep", lambda uuid: kept.remove(uuid) if uuid in kept else None)
    yield kept


def test_an_interrupt_just_after_the_ledger_names_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded_kept: list[str]
) -> None:
    owner = Workspace.create("web", "0" * 8, output=tmp_path / "out", state=tmp_path / "state")
    noted = owner.keep_machine

    def note(machine: ledger.KeptMachine) -> None:
        noted(machine)
        raise Interrupted("SIGINT")

    monkeypatch.setattr(owner, "keep_machine", note)
    machine, running = Left(owner.partial / "console-build.log"), hypervisor(owner)
    with pytest.raises(Interrupted):
        try:
            with running._running(machine):
                raise StepFailed("the step failed")
        except BaseException as error:
            running.__exit__(type(error), error, None)
            raise
    assert not machine.alive and embedded_kept == []
    assert owner.entry.kept == "" and owner.entry.kept_machine is None
    owner.fail()
    assert ledger.entries(tmp_path / "state") == [] and not owner.work.exists()


@pytest.mark.parametrize("method", ["keep", "fail"])
def test_an_interrupt_while_the_failure_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded_kept: list[str], method: str
) -> None:
    own_places(tmp_path, monkeypatch)
    monkeypatch.setattr(build, "reap_before_a_build", lambda: None)
    monkeypatch.setattr(preflight, "_require_space", lambda *_: None)
    monkeypatch.setattr(accelerator, "choose", lambda _: accelerator.Accelerator("tcg", "a test"))
    machines: list[Left] = []

    def fails(plan: object, options: object, chosen: object, workspace: Workspace, *_: object) -> None:
        machines.append(Left(workspace.partial / "console-build.log"))
        with hypervisor(workspace)._running(machines[0]):
            raise StepFailed("the step failed")

    monkeypatch.setattr(build, "_run", fails)
    whole, calls = getattr(Workspace, method), threading.Semaphore(1)

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if calls.acquire(blocking=False):
            raise Interrupted("SIGINT")
        return whole(*arguments, **named)

    monkeypatch.setattr(Workspace, method, interrupted)
    plan = make_plan(str(write(tmp_path, HEAD)))
    options = build.Options(output=tmp_path / "out", keep="on-failure", boot_test="none")
    with pytest.raises(Interrupted):
        build.build(plan, options, Console.quiet())
    assert not machines[0].alive and embedded_kept == []
    assert ledger.entries(tmp_path / "state") == [] and list((tmp_path / "state/builds").iterdir()) == []
    (folder,) = (tmp_path / "out/web").iterdir()
    assert folder.name.endswith(".failed")
