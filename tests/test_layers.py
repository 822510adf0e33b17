"""Layers: what makes a key, from which layer a build starts, why, and what the cache keeps of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory import cache, disk, layers, seed
from factory.console import Console
from factory.errors import BuildError, FactoryError, HostError, MachineError
from factory.layers import Identity, Policy, choose
from factory.layers.keys import LayerKey, changed, layer_keys, step_number
from factory.layers.layering import Layering
from factory.plan import make_plan
from tests.command_line import own_places
from tests.recipe_files import HEAD, load, write

MORE = """variables:
  greeting: {default: hello}
provision:
  - packages: [nginx]
  - copy: {source: site, destination: /srv}
  - copy: {source: index.html, destination: /srv/index.html, template: true}
  - shell: {script: run.sh}
  - shell: systemctl enable nginx
"""
FILES: dict[str, str | bytes] = {"site/a": "a", "index.html": "@greeting@", "run.sh": "echo\n"}
MACHINE = {"the base": "b" * 64, "QEMU": "7.2"}


def keys_of(root: Path, more: str = MORE, machine: dict[str, str] = MACHINE, **settings: str) -> tuple[LayerKey, ...]:
    return layer_keys(load(root, more, FILES, settings), machine)


def first_changed(before: tuple[LayerKey, ...], after: tuple[LayerKey, ...]) -> str:
    """The name of the first point whose key differs; all after it must differ too."""
    same = [one.key == two.key for one, two in zip(before, after, strict=False)]
    first = same.index(False)
    assert not any(same[first:])
    return after[first].name


# -- keys


def test_each_point_has_a_name_and_a_key_of_its_own(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    assert [each.name for each in keys] == [
        "boot", "upgrade", "1/5 packages", "2/5 copy", "3/5 copy", "4/5 shell", "5/5 shell",
    ]  # fmt: skip
    assert len({each.key for each in keys}) == 7
    assert keys_of(tmp_path) == keys
    assert [each.keep for each in keys] == [None, 86400, 86400, None, None, None, None]


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("[nginx]", "[nginx, curl]", "1/5 packages"),
        ("/srv}", "/srv/www}", "2/5 copy"),
        ("systemctl enable", "systemctl disable", "5/5 shell"),
        ("run.sh}", "run.sh, directory: /srv}", "4/5 shell"),
        ("variables:", "upgrade: all\nvariables:", "upgrade"),
        ("run.sh}", "run.sh, timeout: 5m}", ""),
        ("  - packages", "  # a comment\n  - packages", ""),
    ],
)
def test_an_edit_changes_the_keys_from_there_on(tmp_path: Path, old: str, new: str, first: str) -> None:
    before, after = keys_of(tmp_path), keys_of(tmp_path, MORE.replace(old, new))
    if first:
        assert first_changed(before, after) == first
    else:
        assert [each.key for each in before] == [each.key for each in after]


def test_files_and_variables_change_what_uses_them(tmp_path: Path) -> None:
    before = keys_of(tmp_path)
    assert first_changed(before, keys_of(tmp_path, greeting="good morning")) == "3/5 copy"
    for name, first in (("site/a", "2/5 copy"), ("run.sh", "4/5 shell")):
        recipe = load(tmp_path, MORE, FILES)
        (recipe.folder / name).write_text("other")
        after = layer_keys(recipe, MACHINE)
        assert first_changed(before, after) == first
        assert changed(after[step_number(after, first) or 0], before[step_number(before, first) or 0].parts) == [
            f"the file {name.split('/')[0]}"
        ]
    (recipe.folder / "run.sh").write_text("echo\n")
    (recipe.folder / "run.sh").chmod(0o755)
    assert first_changed(layer_keys(load(tmp_path, MORE), MACHINE), before) == "4/5 shell"


@pytest.mark.parametrize("part", ["the base", "QEMU"])
def test_another_machine_changes_all(tmp_path: Path, part: str) -> None:
    assert first_changed(keys_of(tmp_path), keys_of(tmp_path, machine=MACHINE | {part: "other"})) == "boot"


def test_a_step_that_sees_a_secret_is_not_kept_nor_any_after_it(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, MORE.replace("variables:", "variables:\n  token: {secret: true}"), token="correct-horse")
    assert ["secret" in each.barred for each in keys] == [False, False, False, False, True, True, True]
    other = keys_of(tmp_path, MORE.replace("variables:", "variables:\n  token: {secret: true}"), token="battery-staple")
    assert [each.key for each in other] == [each.key for each in keys]  # no digest of a secret is in any key


def test_no_layer_holds_the_password_of_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys_of(tmp_path)
    monkeypatch.setenv("http_proxy", "http://user:correct-horse@proxy.example:3128")
    keys = keys_of(tmp_path)
    assert ["password" in each.barred for each in keys] == [False, True, True, True, True, True, True]
    assert [each.key for each in keys] == [each.key for each in before]  # no digest of it is in any key
    without = keys_of(tmp_path, MORE.replace("variables:", "upgrade: none\nvariables:"))
    assert ["password" in each.barred for each in without] == [False, True, True, True, True, True]
    never = MORE.replace("variables:", "upgrade: none\nvariables:").replace("  - packages: [nginx]\n", "")
    assert not any(each.barred for each in keys_of(tmp_path, never))  # the guest is never told
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert not any(each.barred for each in keys_of(tmp_path))


def test_always_means_always(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, MORE.replace("run.sh}", "run.sh, refresh: always}"))
    assert [bool(each.barred) for each in keys] == [False] * 5 + [True] * 2
    assert keys_of(tmp_path, MORE.replace("run.sh}", "run.sh, refresh: 2h}"))[5].keep == 7200


def test_a_step_is_named_by_its_number(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    assert [step_number(keys, name) for name in ("1", "5", "upgrade", "6", "0", "boot", "")] == [2, 6, 1] + [None] * 4


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
    facts = layers.facts_of(who or identity(), machine="m" * 36, seed_size=67584, lists_at=5.0, reached=reached)
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
    assert start.index == 5 and start.layer and start.layer.lists_at == 5.0
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


# -- one build


def layering_of(
    root: Path, policy: Policy | None = None, *, saves: bool = False, meanwhile: Callable[[], object] = lambda: None
) -> Layering:
    """The layers of a build, by default of machines that cannot be saved; *meanwhile* runs between plan and start."""
    plan = make_plan(str(write(root, HEAD + MORE, FILES)))
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
        layering.came_to(index, cast(Any, None), identity(), 0, 0.0)


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
    facts = layers.facts_of(identity(), machine="m" * 36, seed_size=1, lists_at=0.0, reached={})
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
        facts = layers.facts_of(identity(), machine="m" * 36, seed_size=1, lists_at=0.0, reached={})
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
