"""The layers of one build: which it gives up, what it says of their age, and files that change meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory import cache, disk, layers
from factory.console import Console
from factory.errors import BuildError, HostError, MachineError
from factory.layers import Policy, choose
from factory.layers.layering import Layering
from factory.plan import make_plan
from tests.recipe_files import HEAD, write
from tests.test_layer_keys import FILES, MORE
from tests.test_layers import identity, put, store

__all__ = ["store"]


def layering_of(
    root: Path,
    policy: Policy | None = None,
    *,
    saves: bool = False,
    meanwhile: Callable[[], object] = lambda: None,
    more: str = MORE,
) -> Layering:
    """The layers of a build, by default of machines that cannot be saved; *meanwhile* runs between plan and start."""
    plan = make_plan(str(write(root, HEAD + more, FILES)))
    meanwhile()
    site = SimpleNamespace(
        plan=plan,
        base=SimpleNamespace(sha256="b" * 64, path=root / "base"),
        workspace=SimpleNamespace(work=root),
        console=Console.quiet(),
        hypervisor=SimpleNamespace(
            saves=saves, accelerator=SimpleNamespace(name="tcg"), enclosure=SimpleNamespace(path=Path)
        ),
    )
    return Layering(cast(Any, site), policy or Policy())


def came_to(layering: Layering, *indexes: int) -> None:
    for index in indexes:
        layering.came_to(index, cast(Any, None), identity(), 0, 0.0, "")


@pytest.mark.real
@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (Policy(cold=True), []),
        (Policy(no_cache=True), [0]),
        (Policy(cold=True, no_cache=True), []),
        (Policy(from_step=4), [0, 1, 2, 3]),
        (Policy(), [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_layers_that_a_build_was_told_not_to_use_are_gone_when_it_fails(
    store: cache.Cache, tmp_path: Path, policy: Policy, left: list[int]
) -> None:
    keys = layering_of(tmp_path).keys
    for each in keys:
        put(store, each.key, keys)
    with layering_of(tmp_path, policy, saves=True) as layering:
        assert layering.start.index == len(left) - 1
    assert {entry.key for entry in store.entries()} == {keys[index].key for index in left}
    assert layering_of(tmp_path, saves=True).start.index == len(left) - 1, "what comes next goes on there"


@pytest.mark.real
@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (HostError("a layer cannot be copied", cause="No space left on device", code="host.cache"), True),
        (OSError(28, "No space left on device"), True),
        (MachineError("the resumed guest could not be given new keys", code="machine.not-renewed"), False),
    ],
)
def test_a_layer_that_could_not_be_used_stays_when_this_host_is_why(
    store: cache.Cache, tmp_path: Path, error: Exception, stays: bool
) -> None:
    keys = layering_of(tmp_path).keys
    put(store, keys[1].key, keys)
    with layering_of(tmp_path, saves=True) as layering:
        assert layering.start.index == 1
        layering.give_up(error)
        assert (layering.start.index, layering.start.layer) == (-1, None)
    assert (layers.find(store, keys[1].key) is not None) == stays


@pytest.mark.real
def test_a_build_says_when_what_it_used_is_too_old(store: cache.Cache, tmp_path: Path) -> None:
    layering = layering_of(tmp_path)
    layering.begun()
    came_to(layering, 0, 1, 2, 3)
    assert [use.expires is not None for use in layering.uses] == [False, True, True] + [False] * 4
    put(store, layering.keys[2].key, layering.keys[:3], at=time.time() - 3600)
    layering.start = choose(store, layering.keys, Policy(), [])
    assert layering.start.index == 2
    layering.begun()
    came_to(layering, 3)
    assert [round(use.expires - time.time(), -2) for use in layering.uses if use.expires] == [82800, 82800]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "index", "told"),
    [("site/a", 3, "the file site"), ("index.html", 4, "the file index.html"), ("run.sh", 5, "the file run.sh")],
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_file_that_changes_while_it_is_used_fails_the_build(
    store: cache.Cache, tmp_path: Path, name: str, index: int, told: str, gone: bool
) -> None:
    layering = layering_of(tmp_path)
    file = tmp_path / "recipes/web" / name
    with pytest.raises(BuildError) as caught, layering:
        layering.begun()
        came_to(layering, *range(index))
        file.write_text("saved in an editor")
        if gone:
            file.rename(tmp_path / "elsewhere")
        came_to(layering, index)
    assert (caught.value.code, caught.value.status) == ("build.recipe-changed", 4)
    assert caught.value.message == f"{told} changed while it was built"
    history = layers.read_history(layers.history_path(store, tmp_path / "recipes/web.yaml"))
    assert len(history) == index  # what came before it was as its key says


@pytest.mark.real
def test_a_file_that_changes_after_its_step_harms_nothing(store: cache.Cache, tmp_path: Path) -> None:
    with layering_of(tmp_path) as layering:
        layering.begun()
        came_to(layering, 0, 1, 2, 3)
        (tmp_path / "recipes/web/site/a").write_text("saved in an editor")
        came_to(layering, 4, 5, 6)


@pytest.mark.real
def test_a_file_that_changes_before_its_step_does_not_pass_for_what_was_planned(
    store: cache.Cache, tmp_path: Path
) -> None:
    script = tmp_path / "recipes/web/run.sh"
    with pytest.raises(BuildError, match=r"a file of the recipe web changed while it was built\."):
        layering_of(tmp_path, meanwhile=lambda: script.write_text("saved while the base was made"))


class Checkpoints:
    """A machine whose saving ends like one on a full disk: with an error, and the half of a file."""

    spec = SimpleNamespace(uuid="u" * 36)

    def __init__(self) -> None:
        self.begun: list[Path] = []

    def checkpoint(self, memory: Path, overlay: Path) -> Path:
        memory.write_bytes(b"the half of it")
        self.begun.append(memory)
        raise MachineError("libvirt cannot save the virtual machine", cause="No space left on device")


@pytest.mark.real
@pytest.mark.parametrize(("more", "tries"), [(MORE, 1), ("machine: {memory: 1TiB}\n" + MORE, 0)])
def test_a_memory_that_finds_no_room_takes_none(store: cache.Cache, tmp_path: Path, more: str, tries: int) -> None:
    machine = Checkpoints()
    with layering_of(tmp_path, saves=True, more=more) as layering:
        layering.begun()
        for index in (0, 1):
            layering.came_to(index, cast(Any, machine), identity(), 0, 0.0, "")
        assert len(machine.begun) == tries, "where memory and more is not free, nothing is written"
        assert not list(tmp_path.glob("*.memory")), "it would fill the disk until the build ends"
    assert store.entries() == []


class Saved:
    """A machine that can be saved, as often as it is asked."""

    spec = SimpleNamespace(uuid="u" * 36)

    def __init__(self) -> None:
        self.points: list[str] = []

    def checkpoint(self, memory: Path, overlay: Path) -> Path:
        self.points.append(memory.stem)
        memory.write_bytes(b"memory")
        disk.create(overlay, "qcow2", 1 << 20)
        return overlay


@pytest.mark.real
def test_no_layer_is_kept_of_a_guest_that_lets_no_later_build_in(store: cache.Cache, tmp_path: Path) -> None:
    disk.create(tmp_path / "base", "qcow2", 1 << 20)
    machine = Saved()
    with layering_of(tmp_path, saves=True) as layering:
        layering.begun()
        for index in (0, 6):
            shut = "PermitRootLogin is no" if index else ""
            layering.came_to(index, cast(Any, machine), identity(), 0, 0.0, "", lambda shut=shut: shut)  # type: ignore[misc]
        assert "root could not log in to it: PermitRootLogin is no" in layering.uses[6].why
    assert machine.points == ["layer-0"]
    again = layering_of(tmp_path, saves=True)
    assert "PermitRootLogin is no" in again.uses[6].why, "factory plan says why"
