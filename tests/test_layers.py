"""Layers: from which layer a build starts, why, and what the cache keeps of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from factory import cache, disk, layers, seed
from factory.errors import BuildError, FactoryError, HostError
from factory.layers import Identity, Policy, choose
from factory.layers.keys import LayerKey, layer_keys
from tests.command_line import own_places
from tests.recipe_files import load
from tests.test_layer_keys import FILES, MACHINE, MORE, keys_of

# -- choosing


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cache.Cache:
    own_places(tmp_path, monkeypatch)
    return cache.Cache()


def identity() -> Identity:
    login, host_key = seed.new_keypair("a"), seed.new_keypair("b")
    return Identity("u" * 36, "52:54:00:00:00:01", "factory-0123456789", "i", login, host_key)


def put(
    store: cache.Cache,
    key: str,
    way: Iterable[LayerKey] = (),
    *,
    at: float | None = None,
    who: Identity | None = None,
) -> None:
    """A layer, as far as the cache can tell, of a build that came to the points of *way* at the moment *at*, or now."""
    memory, content = store.root.parent / "memory", store.root.parent / "disk"
    memory.write_bytes(b"memory of " + key.encode())
    content.write_bytes(b"disk of " + key.encode())
    saved = store.put("memory", key, memory, {})
    reached = {each.key: time.time() if at is None else at for each in way}
    facts = layers.facts_of(
        who or identity(), machine="m" * 36, seed_size=67584, lists_at=5.0, sources="s", reached=reached
    )
    store.put("layer", key, content, {**facts, "memory": saved.sha256})


def chosen(
    store: cache.Cache,
    keys: tuple[LayerKey, ...],
    policy: Policy | None = None,
    history: list[dict[str, Any]] | None = None,
) -> list[tuple[str, str]]:
    return [(use.cache, use.why) for use in choose(store, keys, policy or Policy(), history or []).uses]


def history_of(
    store: cache.Cache, keys: tuple[LayerKey, ...], without: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    path = layers.history_path(store, Path("/recipes/web.yaml"))
    layers.write_history(path, keys, without or {})
    return layers.read_history(path)


def test_nothing_is_there_at_first(store: cache.Cache, tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    start = choose(store, keys, Policy(), [])
    assert (start.index, start.layer) == (-1, None)
    assert {use.why for use in start.uses} == {"the first time"}


def test_a_build_starts_at_the_latest_layer_and_says_why(store: cache.Cache, tmp_path: Path) -> None:
    before = keys_of(tmp_path)
    for index in (0, 1, 2, 5, 6):
        put(store, before[index].key, before)
    history = history_of(store, before)
    keys = keys_of(tmp_path, MORE.replace("enable", "disable"))
    start = choose(store, keys, Policy(), history)
    assert start.index == 5 and start.layer
    assert (start.layer.lists_at, start.layer.sources) == (5.0, "s")
    assert [use.cache for use in start.uses] == ["hit"] * 6 + ["miss"]
    whys = [use.why for use in start.uses]
    assert whys[2].startswith("kept") and whys[3].startswith("within the layer kept")
    assert whys[6] == "its text changed"
    assert start.uses[2].size == len(b"memory of " + b"disk of ") + 2 * 64


def test_after_an_edit_in_the_middle_all_below_it_run(store: cache.Cache, tmp_path: Path) -> None:
    before = keys_of(tmp_path)
    for each in before:
        put(store, each.key, before)
    recipe = load(tmp_path, MORE, FILES)
    (recipe.folder / "site/a").write_text("other")
    told = chosen(store, layer_keys(recipe, MACHINE), history=history_of(store, before))
    assert [hit for hit, _ in told] == ["hit"] * 3 + ["miss"] * 4
    assert [why for _, why in told[3:]] == ["the file site changed"] + ["what comes before it changed"] * 3
    told = chosen(store, keys_of(tmp_path, greeting="hey"), history=history_of(store, before))
    assert told[4] == ("miss", "the variable greeting changed")


def test_what_was_fetched_grows_old(store: cache.Cache, tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    put(store, keys[0].key, keys)
    for each in keys[1:]:
        put(store, each.key, keys, at=time.time() - 86401)
    told = chosen(store, keys, history=history_of(store, keys))
    assert [hit for hit, _ in told] == ["hit"] + ["miss"] * 6
    assert "is too old" in told[1][1]
    accepted = chosen(store, keys, Policy(from_step=5), history=history_of(store, keys))
    assert [hit for hit, _ in accepted] == ["hit"] * 5 + ["miss"] * 2
    assert accepted[5] == accepted[6] == ("miss", "--from")


def test_what_a_wrong_clock_dated_counts_as_too_old(store: cache.Cache, tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    put(store, keys[1].key, keys)
    assert choose(store, keys, Policy(), []).index == 1
    (entry,) = store.entries("layer")
    record = json.loads((entry.folder / "entry.json").read_text())
    future = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    (entry.folder / "entry.json").write_text(json.dumps(record | {"created": future}))
    assert choose(store, keys, Policy(), []).index == -1


@pytest.mark.parametrize(
    ("before", "now", "start"),
    [
        ("", ", refresh: 1h", 4),
        (", refresh: 7d", ", refresh: 1h", 4),
        (", refresh: 1h", ", refresh: 7d", 6),
        (", refresh: 1h", "", 6),
        ("", ", refresh: 3h", 6),
    ],
)
def test_the_recipe_of_today_says_how_long_what_was_fetched_counts(
    store: cache.Cache, tmp_path: Path, before: str, now: str, start: int
) -> None:
    earlier = keys_of(tmp_path, MORE.replace("run.sh}", f"run.sh{before}}}"))
    for index in (4, 5, 6):
        put(store, earlier[index].key, earlier, at=time.time() - 2 * 3600)
    keys = keys_of(tmp_path, MORE.replace("run.sh}", f"run.sh{now}}}"))
    found = choose(store, keys, Policy(), history_of(store, earlier))
    assert found.index == start
    assert start == 6 or "is too old" in found.uses[5].why


def test_a_moment_that_a_wrong_clock_gave_counts_as_too_old(store: cache.Cache, tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    put(store, keys[1].key, keys, at=time.time() + 86400)
    assert choose(store, keys, Policy(), []).index == -1
    put(store, keys[1].key, keys[:1])  # of the upgrade it does not say when
    assert choose(store, keys, Policy(), []).index == -1


@pytest.mark.parametrize(
    ("policy", "index", "why"),
    [
        (Policy(cold=True), -1, "--cold"),
        (Policy(no_cache=True), 0, "--no-cache"),
        (Policy(cold=True, no_cache=True), -1, "--cold"),
        (Policy(from_step=2), 1, "--from"),
        (Policy(from_step=6), 5, "--from"),
    ],
)
def test_options_decide(store: cache.Cache, tmp_path: Path, policy: Policy, index: int, why: str) -> None:
    keys = keys_of(tmp_path)
    for each in keys:
        put(store, each.key, keys)
    start = choose(store, keys, policy, [])
    assert start.index == index
    assert {use.why for use in start.uses[index + 1 :]} == {why}


def test_half_a_layer_is_none(store: cache.Cache, tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    put(store, keys[0].key, keys)
    put(store, keys[1].key, keys)
    for entry in store.entries("memory"):
        if entry.key == keys[1].key:
            entry.path.chmod(0o600)
            entry.path.write_bytes(b"altered")
    assert choose(store, keys, Policy(), []).index == 0
    for entry in store.entries("memory"):
        store.remove(entry)
    assert choose(store, keys, Policy(), []).index == -1


def test_a_step_quicker_than_its_layer_says_so_the_next_time(store: cache.Cache, tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    put(store, keys[2].key, keys)
    told = chosen(store, keys, history=history_of(store, keys, {keys[3].key: "it took 0.4 s, less than to keep it"}))
    assert told[3][1] == "it took 0.4 s, less than to keep it"
    assert told[4][1] == "its layer is not in the cache any more"


def test_another_step_in_its_place(store: cache.Cache, tmp_path: Path) -> None:
    before = keys_of(tmp_path)
    keys = keys_of(tmp_path, MORE.replace("  - packages", "  - shell: 'true'\n  - packages"))
    put(store, before[1].key, before)
    told = chosen(store, keys, history=history_of(store, before))
    assert told[1][0] == "hit"
    assert told[2] == ("miss", "another step stood here")


# -- keeping


def test_an_identity_survives_and_remembers_the_keys_before(store: cache.Cache, tmp_path: Path) -> None:
    first = identity()
    second = first.renewed(seed.new_keypair("c"), seed.new_keypair("d"))
    assert second.pairs == (first.login, first.host_key)
    put(store, "k" * 64, who=second)
    found = layers.find(store, "k" * 64)
    assert found and found.identity == second and found.machine == "m" * 36
    records = list(store.root.glob("*/*/*/entry.json"))
    assert records and {path.stat().st_mode & 0o777 for path in records} == {0o600}
    assert store.root.stat().st_mode & 0o777 == 0o700


@pytest.mark.real
def test_a_disk_is_kept_as_its_difference_to_the_base(store: cache.Cache, tmp_path: Path) -> None:
    base, first, second = (tmp_path / name for name in ("base.qcow2", "first.qcow2", "second.qcow2"))
    raw = tmp_path / "raw"
    raw.write_bytes(b"base" * 25600 + bytes(1 << 20))
    disk.convert(raw, "raw", base, "qcow2")
    disk.create_overlay(base, "qcow2", first, 8 << 20, cluster_size=4096)
    disk.create_overlay(first, "qcow2", second, cluster_size=4096)
    from factory.run import run

    for path, words in ((first, "write -P 1 0 64k"), (second, "write -P 2 32k 64k"), (second, "discard 8k 4k")):
        run(["qemu-io", "-d", "unmap", "-f", "qcow2", "-c", words, path], reason="to write")
    wanted = tmp_path / "wanted.raw"
    disk.convert(second, "qcow2", wanted, "raw")
    memory = tmp_path / "layer-1.memory"
    memory.write_bytes(b"m")
    facts = layers.facts_of(identity(), machine="m" * 36, seed_size=1, lists_at=0.0, sources="", reached={})
    for _ in range(2):
        memory.write_bytes(b"m")
        layers.keep(store, "k" * 64, second, memory, base, facts, tmp_path)
    assert len(store.entries("layer")) == len(store.entries("memory")) == 1
    found = layers.find(store, "k" * 64)
    assert found and found.size < 1 << 20
    moved = tmp_path / "elsewhere.qcow2"
    base.rename(moved)
    overlay, copied = tmp_path / "overlay.qcow2", tmp_path / "copied"
    found.copy(store, moved, overlay, copied)
    assert disk.compare(overlay, "qcow2", wanted, "raw")
    assert disk.info(overlay, "qcow2").backing == str(moved)
    assert copied.read_bytes() == b"m" and overlay.stat().st_mode & 0o777 == 0o600
    layers.drop(store, found)
    with pytest.raises(FactoryError):
        found.copy(store, moved, tmp_path / "again", tmp_path / "again-m")
    assert layers.find(store, "k" * 64) is None


def test_a_memory_that_the_cache_has_no_room_for_is_removed(
    store: cache.Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, memory = tmp_path / "disk-1.qcow2", tmp_path / "layer-1.memory"
    frozen.write_bytes(b"the guest goes on from it")
    memory.write_bytes(b"m")
    monkeypatch.setattr(layers, "ROOM", 1 << 60)
    with pytest.raises(HostError) as caught:
        layers.keep(store, "k" * 64, frozen, memory, tmp_path / "base", {}, tmp_path)
    assert caught.value.code == "host.disk-space"
    assert frozen.exists() and not memory.exists()


@pytest.mark.real
def test_two_builds_that_keep_the_same_point_at_once(
    store: cache.Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, base = tmp_path / "raw", tmp_path / "base.qcow2"
    raw.write_bytes(bytes(1 << 20))
    disk.convert(raw, "raw", base, "qcow2")
    put, both = cache.Cache.put, threading.Event()
    saved: list[str] = []

    def slow(self: cache.Cache, kind: str, *rest: Any) -> cache.Entry:
        """Has both memories in the cache before either disk, if nothing prevents it."""
        entry = put(self, kind, *rest)
        if kind == "memory":
            saved.append(entry.sha256)
            both.set() if len(saved) == 2 else both.wait(1.0)
        return entry

    monkeypatch.setattr(cache.Cache, "put", slow)

    def keep(name: str) -> None:
        work = tmp_path / name
        work.mkdir()
        disk.create_overlay(base, "qcow2", work / "disk", 1 << 20, cluster_size=4096)
        (work / "memory").write_text(f"of {name}")
        facts = layers.facts_of(identity(), machine="m" * 36, seed_size=1, lists_at=0.0, sources="", reached={})
        layers.keep(cache.Cache(), "k" * 64, work / "disk", work / "memory", base, facts, work)

    with ThreadPoolExecutor(2) as builds:
        list(builds.map(keep, ("one", "two")))
    assert len(store.entries("layer")) == len(store.entries("memory")) == 1
    assert layers.find(store, "k" * 64) is not None


def test_layers_go_when_the_cache_is_full_however_new(store: cache.Cache, tmp_path: Path) -> None:
    for letter in "abc":
        put(store, letter * 64)
    base = tmp_path / "base"
    base.write_bytes(b"x" * 1000)
    kept = store.put("base", "base", base, {})
    newest = [entry for entry in store.entries() if entry.key == "c" * 64]
    store.trim(limit=10, keep=newest)
    assert {entry.folder for entry in store.entries()} == {kept.folder, *(entry.folder for entry in newest)}


def test_after_a_damaged_file_system_no_layer_of_the_build_is_trusted(store: cache.Cache, tmp_path: Path) -> None:
    from factory.build import _distrust

    keys = keys_of(tmp_path)
    for each in (*keys, replace(keys[0], key="f" * 64)):
        put(store, each.key, keys)
    uses = choose(store, keys, Policy(), []).uses
    _distrust(uses, BuildError("another error", code="build.image-corrupt"))
    assert len(store.entries("layer")) == 8
    _distrust([replace(use, cache="miss") for use in uses], BuildError("not by a layer", code="build.file-system"))
    assert len(store.entries("layer")) == 8
    error = BuildError("the guest's file system was not left clean", hint="See the log", code="build.file-system")
    _distrust(uses, error)
    assert [entry.key for entry in store.entries()] == ["f" * 64] * 2
    assert error.hint == "See the log. The layers of this build are dropped: build it again"
