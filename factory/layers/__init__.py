"""Layers: a build's guest as it was after a step, memory and disk, kept so that a later build can go on from there.

A layer is two entries of the cache under one key: ``layer``, the disk as a difference to the base, with what must be
known of the guest in its facts (its keys too: entries are 0600 below a 0700 folder), and ``memory``. Both are copied
at their use, so nothing ever runs on the cache's own files, and an entry may be removed at any time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from factory import bases, cache, copying, disk
from factory.cache_entry import AHEAD
from factory.console import Console
from factory.errors import FactoryError, HostError
from factory.files import write_whole
from factory.layers.keys import LayerKey, changed
from factory.seed import KeyPair

ROOM = 2 << 30  # bytes that stay free on the disk of the cache
LOCK_SECONDS = 300.0  # for another build to write its layer; after that, this one goes without


@dataclass(frozen=True)
class Identity:
    """What a guest of a build is known by, and what must not be in the image. *pairs* are keys of earlier builds.

    Every build that goes on from a layer gives the guest new keys; those before it stay in this list for the search.
    """

    uuid: str  # in the tables that the firmware made: a resumed machine shows another one to libvirt only
    mac: str
    hostname: str
    instance_id: str
    login: KeyPair
    host_key: KeyPair
    pairs: tuple[KeyPair, ...] = ()

    def renewed(self, login: KeyPair, host_key: KeyPair) -> Identity:
        """The same guest with new keys."""
        return replace(self, login=login, host_key=host_key, pairs=(*self.pairs, self.login, self.host_key))

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Identity:
        """What :func:`dataclasses.asdict` made. Raises KeyError or TypeError."""
        keys = {name: KeyPair(**data[name]) for name in ("login", "host_key")}
        return cls(**{**data, **keys, "pairs": tuple(KeyPair(**pair) for pair in data["pairs"])})


@dataclass(frozen=True)
class Layer:
    """A layer in the cache. *lists_at* is when the guest's package lists were fetched (seconds since 1970; 0: never),
    and *sources* the digest of where from; *reached* says when a build came to each point of its way, by key; for how
    long that counts, the recipe says."""

    disk: cache.Entry
    memory: cache.Entry
    identity: Identity
    machine: str  # the UUID by which libvirt knew it when it was saved
    seed_size: int
    lists_at: float
    reached: Mapping[str, float]
    sources: str = ""

    @property
    def size(self) -> int:
        """Bytes in the cache."""
        return self.disk.size + self.memory.size

    @property
    def age(self) -> str:
        """How old it is, for people."""
        return bases.age(self.disk.age)

    def expired(self, way: Sequence[LayerKey]) -> bool:
        """Whether what was fetched on *way*, the points up to its own, is too old or dated in the future."""
        limits = {each.key: each.keep for each in way if each.keep is not None}
        if limits and self.disk.ahead:
            return True
        ages = {key: time.time() - self.reached.get(key, 0.0) for key in limits}
        return any(age > limits[key] or age < -AHEAD.total_seconds() for key, age in ages.items())

    def copy(self, store: cache.Cache, base: Path, overlay: Path, memory: Path) -> None:
        """Put its disk, on top of *base*, at *overlay* and its memory at *memory*. Raises HostError when it is gone."""
        try:
            with store.hold(self.disk), store.hold(self.memory):
                for entry, copied in ((self.disk, overlay), (self.memory, memory)):
                    copying.clone_file(entry.path, copied)
                    copied.chmod(0o600)
        except OSError as error:
            raise HostError(
                "a layer cannot be copied out of the cache", cause=error.strerror or str(error), code="host.cache"
            ) from error
        disk.relocate(overlay, base)


def find(store: cache.Cache, key: str) -> Layer | None:
    """The layer *key*, both of its files sound; None when it is not there or not whole."""
    entry, memory = store.get("layer", key), store.get("memory", key)
    if entry is None or memory is None or entry.facts.get("memory") != memory.sha256:
        return None
    facts = entry.facts
    try:
        identity = Identity.parse(facts["identity"])
        machine = str(facts["machine"])
        reached = {str(point): float(moment) for point, moment in facts["reached"].items()}
        lists_at, sources = float(facts["lists_at"]), str(facts["sources"])
        return Layer(entry, memory, identity, machine, int(facts["seed_size"]), lists_at, reached, sources)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def keep(
    store: cache.Cache, key: str, frozen: Path, memory: Path, base: Path, facts: Mapping[str, Any], work: Path
) -> tuple[cache.Entry, cache.Entry]:
    """Take a layer into *store*: the disk *frozen*, flattened to its difference from *base*, and *memory*.

    *memory* is removed in any case. Raises FactoryError; half a layer is then at most a memory without a disk, which
    is never used.
    """
    flat = work / f"{memory.name}.layer"
    try:
        disk.require_space(store.root, memory.stat().st_size + frozen.stat().st_size + ROOM, "a layer")
        lock = store.folder("locks") / "layers.lock"
        disk.flatten(frozen, base, flat)
        # Two builds that keep the same point at once would each take the other's half for an old one.
        with cache.lock(lock, what="the layers of the cache", console=Console.quiet(), timeout=LOCK_SECONDS):
            saved = store.put("memory", key, memory, {})
            entry = store.put("layer", key, flat, {**facts, "memory": saved.sha256})
            for old in store.entries("layer") + store.entries("memory"):
                if old.key == key and old.folder not in (entry.folder, saved.folder):
                    with suppress(OSError):
                        store.remove(old)
    finally:
        flat.unlink(missing_ok=True)
        memory.unlink(missing_ok=True)
    return entry, saved


def drop(store: cache.Cache, layer: Layer) -> None:
    """Remove a layer that turned out to be of no use, if the disk lets us."""
    for entry in (layer.disk, layer.memory):
        with suppress(OSError):
            store.remove(entry)


def forget(store: cache.Cache, keys: Sequence[str]) -> None:
    """Remove the layers of *keys*, as far as they are there and the disk lets us."""
    for entry in store.entries("layer") + store.entries("memory"):
        if entry.key in keys:
            with suppress(OSError):
                store.remove(entry)


def facts_of(
    identity: Identity, *, machine: str, seed_size: int, lists_at: float, sources: str, reached: Mapping[str, float]
) -> dict[str, Any]:
    """What is written down of a layer."""
    return {
        "identity": asdict(identity),
        "machine": machine,
        "seed_size": seed_size,
        "lists_at": lists_at,
        "sources": sources,
        "reached": dict(reached),
    }


@dataclass(frozen=True)
class Policy:
    """Which layers a build may start from: all of them, none (*cold*), the booted base only (*no_cache*), or those
    before the point *from_step* (an index; expired ones too)."""

    cold: bool = False
    no_cache: bool = False
    from_step: int | None = None


@dataclass(frozen=True)
class Use:
    """What a build makes of one point: *hit* when it starts there or later, and *why*, for people.

    *expires* is when what was fetched there is too old (seconds since 1970; None: never, or not yet known).
    """

    name: str
    key: str
    cache: Literal["hit", "miss"]
    why: str
    size: int = 0  # bytes that a layer takes in the cache; 0 when there is none
    expires: float | None = None


@dataclass(frozen=True)
class Start:
    """Where a build starts: after the point *index*, from *layer*; (-1, None) means a cold boot."""

    index: int = -1
    layer: Layer | None = None
    uses: tuple[Use, ...] = field(default=())


def choose(store: cache.Cache, keys: Sequence[LayerKey], policy: Policy, history: Sequence[Mapping[str, Any]]) -> Start:
    """The latest point from which a build can go on, and of every point what becomes of it.

    *history* is what :func:`read_history` gave: the points of the last build of this recipe.
    """
    last = _last(keys, policy)
    found: dict[int, Layer] = {}
    old: set[int] = set()  # of those the ones that fetched too long ago
    start = -1
    for index in range(len(keys) - 1, -1, -1):
        layer = None if keys[index].barred else find(store, keys[index].key)
        if layer is None:
            continue
        found[index] = layer
        if layer.expired(keys[: index + 1]):
            old.add(index)
        if start < 0 and index <= last and (index not in old or policy.from_step is not None):
            start = index
    uses = tuple(
        Use(
            each.name,
            each.key,
            "hit" if index <= start else "miss",
            _hit(found.get(index), found[start])
            if index <= start
            else _miss(keys, index, start, last, policy, found, old, history),
            found[index].size if index in found else 0,
        )
        for index, each in enumerate(keys)
    )
    return Start(start, found[start] if start >= 0 else None, uses)


def refused(keys: Sequence[LayerKey], policy: Policy) -> list[str]:
    """The keys of the points whose layers *policy* does not allow to use."""
    return [each.key for each in keys[_last(keys, policy) + 1 :]]


def _last(keys: Sequence[LayerKey], policy: Policy) -> int:
    """The index of the last point that *policy* lets a build start from; -1 when it must boot."""
    if policy.cold:
        return -1
    if policy.no_cache:
        return 0
    return len(keys) - 1 if policy.from_step is None else policy.from_step - 1


def _hit(own: Layer | None, used: Layer) -> str:
    return f"kept {(own or used).age} ago" if own else f"within the layer kept {used.age} ago"


def _miss(
    keys: Sequence[LayerKey],
    index: int,
    start: int,
    last: int,
    policy: Policy,
    found: Mapping[int, Layer],
    old: Collection[int],
    history: Sequence[Mapping[str, Any]],
) -> str:
    if index > last:
        return "--cold" if policy.cold else "--no-cache" if policy.no_cache else "--from"
    if keys[index].barred:
        return keys[index].barred
    if index in old:
        return f"what it fetched {found[index].age} ago is too old"
    before = history[index] if index < len(history) else None
    if before is None:
        return "the first time" if index == start + 1 or not history else "not built before"
    if before.get("key") == keys[index].key:
        return str(before.get("without") or "its layer is not in the cache any more")
    parts = (
        changed(keys[index], before.get("parts", {})) if before.get("kind") == keys[index].name.split(" ")[-1] else []
    )
    if parts:
        return f"{', '.join(parts[:3])} changed" if len(parts) > 1 or "gone" not in parts[0] else f"without {parts[0]}"
    if before.get("kind") != keys[index].name.split(" ")[-1]:
        return "another step stood here"
    return "what comes before it changed"


def history_path(store: cache.Cache, recipe: Path) -> Path:
    """Where the points of the last build of the recipe file *recipe* are written down."""
    import hashlib

    return store.folder("history") / f"{hashlib.sha256(os.fsencode(recipe)).hexdigest()[:32]}.json"


def read_history(path: Path) -> list[dict[str, Any]]:
    """The points of the last build; none when there was none."""
    with suppress(OSError, ValueError):
        data = json.loads(path.read_text("utf-8"))
        if isinstance(data, list) and all(isinstance(each, dict) for each in data):
            return data
    return []


def write_history(path: Path, keys: Sequence[LayerKey], without: Mapping[str, str]) -> None:
    """Write down the points that a build came to; *without* says of a key why it has no layer."""
    data = [
        {
            "kind": each.name.split(" ")[-1],
            "key": each.key,
            "parts": dict(each.parts),
            "without": without.get(each.key, ""),
        }
        for each in keys
    ]
    with suppress(FactoryError):  # it only explains
        write_whole(path, json.dumps(data).encode(), mode=0o600)


__all__ = [
    "Identity",
    "Layer",
    "Policy",
    "Start",
    "Use",
    "choose",
    "drop",
    "facts_of",
    "find",
    "forget",
    "history_path",
    "keep",
    "read_history",
    "refused",
    "write_history",
]
