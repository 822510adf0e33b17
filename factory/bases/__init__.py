"""Base images: what a recipe starts from, and how to have one at hand.

A :class:`Definition` says what a base is: an entry of ``catalogue.yaml``, or a disk image of this host.
:func:`obtain` turns it into a :class:`Base`, a read-only qcow2 in the cache, made by the module of this folder that
its *kind* names. Such a module has

    build(definition, destination, *, work, console, **options) -> dict   makes the qcow2; returns facts (plain data)
    FORMAT: int                                                           part of the cache key
    unchanged(definition, base, *, work) -> bool                          optional: an old base is still the newest
    identity(definition) -> list                                          optional: more for the cache key
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import cache, debian_bootstrap
from factory.base_definition import Definition, age, catalogue, kind_module, kinds, names, resolve
from factory.errors import BaseError, FactoryError, HostError, UsageError
from factory.files import touching

if TYPE_CHECKING:
    from factory.console import Console

KEY = re.compile(r"[A-Za-z0-9._-]+-[0-9a-f]{16}")

__all__ = [
    "Base",
    "Definition",
    "age",
    "cached",
    "catalogue",
    "current",
    "fresh",
    "kinds",
    "names",
    "obtain",
    "reap",
    "resolve",
]


@dataclass(frozen=True)
class Base:
    """A base image at hand: *path* is a read-only qcow2 with the digest *sha256*; *why* says how it came to hand."""

    name: str
    kind: str
    path: Path
    sha256: str
    size: int
    created: datetime
    facts: Mapping[str, Any]
    entry: cache.Entry = field(repr=False)
    cached: bool = True
    why: str = ""

    @property
    def reference(self) -> str:
        """What a recipe writes to have exactly this image again."""
        return f"{self.name}@sha256:{self.sha256}"


def cached(definition: Definition, store: cache.Cache | None = None) -> Base | None:
    """The base as it lies in the cache, however old, without checking its content; for ``factory bases list``."""
    store = store or cache.Cache()
    entries = [entry for entry in store.entries("base") if entry.key == definition.key]
    return _base(definition, entries[0], why=f"made {age(entries[0].age)} ago") if entries else None


def fresh(definition: Definition, entry: cache.Entry) -> bool:
    """Whether *entry* is young enough for *definition*; how old one is that is dated in the future nobody knows."""
    return definition.max_age is None or (entry.age <= definition.max_age and not entry.ahead)


def current(definition: Definition, console: Console) -> Base | None:
    """The base in the cache, if a build would use it: it is young enough, or its source, asked now, has none newer.

    Nothing is made. Raises BaseError when the source cannot be asked, HostError and UsageError.
    """
    store = cache.Cache(warn=console.warn)
    base = cached(definition, store)
    module = kind_module(definition.kind)
    if base is None or definition.pin or fresh(definition, base.entry):
        return base
    if not hasattr(module, "unchanged"):
        return None
    with cache.lock(
        store.folder("locks") / f"base-{definition.key}.lock", what=f"the base {definition.name}", console=console
    ):
        work = store.folder("work") / definition.key
        debian_bootstrap.remove(work)
        with touching(work, "Making a folder of the cache"):
            work.mkdir(mode=0o700)
        try:
            if not module.unchanged(definition, base, work=work):
                return None
            return replace(base, entry=store.renew(base.entry), why="still the newest that is published")
        finally:
            debian_bootstrap.remove(work)


def obtain(
    definition: Definition,
    *,
    offline: bool = False,
    accept_stale: bool = False,
    update: bool = False,
    console: Console,
    **options: Any,
) -> Base:
    """*definition*'s base, from the cache or made now; *options* go to the kind's ``build``.

    A base older than its max_age is made again, unless *accept_stale*; *update* makes it again in any case; *offline*
    takes what the cache has, with a warning when it is old. A pinned base never grows old. Only one process makes a
    base at a time. Raises BaseError, HostError or UsageError.
    """
    if offline and update:
        raise UsageError(
            "--offline and an update of bases exclude each other", hint="Leave one out", code="usage.conflict"
        )
    store = cache.Cache(warn=console.warn)
    request = _Request(definition, definition.key, offline=offline, accept_stale=accept_stale, update=update)
    started = time.time()
    if found := _in_cache(request, store, console):
        return found
    lock = store.folder("locks") / f"base-{request.key}.lock"
    with cache.lock(lock, what=f"the base {definition.name}", console=console):
        if update and _made_since(request, store, started):  # by the process that we waited for
            request = replace(request, update=False)
        return _in_cache(request, store, console) or _make(request, store, console, options)


def reap(console: Console, *, dry_run: bool = False) -> list[Path]:
    """Remove the unfinished work of processes that were killed while they made a base; says which folders it was.

    With *dry_run* only the latter. The cache may be a folder that has another ``work`` in it, such as somebody's home:
    ours bear the key of a base, and are made under a lock, whose file stays.
    """
    store = cache.Cache()
    removed = []
    for work in sorted(store.folder("work").iterdir()):
        lock = store.folder("locks") / f"base-{work.name}.lock"
        if not KEY.fullmatch(work.name) or not lock.is_file():
            continue
        # A lock that is held means that the process lives.
        with suppress(HostError), cache.lock(lock, what=f"the base {work.name}", console=console.quiet(), timeout=0):
            if not dry_run:
                debian_bootstrap.remove(work)
            removed.append(work)
    return removed


@dataclass(frozen=True)
class _Request:
    """What was asked of :func:`obtain`. The *key* is taken once: a file's changes when the file does."""

    definition: Definition
    key: str
    offline: bool
    accept_stale: bool
    update: bool


def _in_cache(request: _Request, store: cache.Cache, console: Console) -> Base | None:
    definition = request.definition
    if definition.pin:
        if pinned := _pinned(request, store):
            return _base(definition, pinned, why="pinned")
    elif not request.update and (entry := store.get("base", request.key)):
        old = f"made {age(entry.age)} ago"
        if fresh(definition, entry):
            return _base(definition, entry, why=old)
        if request.accept_stale:
            return _base(definition, entry, why=f"{old}, accepted as it is")
        if request.offline:
            console.warn(f"The base {definition.name} was {old} and may lack updates: --offline takes it as it is")
            return _base(definition, entry, why=f"{old}, offline")
    if request.offline and definition.kind != "file":  # a file of this host needs no network
        error = BaseError(
            f"the base {definition.name} is not in the cache",
            cause=f"The recipe pins sha256:{definition.pin}" if definition.pin else "--offline allows nothing else",
            hint=f"Run 'factory bases build {definition.name}' once with a network",
            code="base.offline",
        )
        if definition.pin and definition.kind == "scratch":  # a network is no help
            error.hint = _pin_mismatch(definition, store.get("base", request.key)).hint
        raise error
    return None


def _make(request: _Request, store: cache.Cache, console: Console, options: Mapping[str, Any]) -> Base:
    """Make the base, or find that the one in the cache is still the newest. Called under the lock."""
    definition = request.definition
    module = kind_module(definition.kind)
    limit = cache.size_limit()
    old = store.get("base", request.key)
    if (
        definition.pin and definition.kind == "scratch"
    ):  # each build differs: minutes of work would end in the same error
        raise _pin_mismatch(definition, old)
    work = store.folder("work") / request.key
    debian_bootstrap.remove(work)  # of a process that was killed: the lock is ours now
    with touching(work, "Making a folder of the cache"):
        work.mkdir(mode=0o700)
    try:
        if old and hasattr(module, "unchanged") and module.unchanged(definition, _base(definition, old), work=work):
            base = _base(definition, store.renew(old), why="still the newest that is published")
        else:
            image = work / "image"
            facts = module.build(definition, image, work=work, console=console, **options)
            entry = store.put("base", request.key, image, _facts(definition, facts))
            store.trim(limit, keep=[entry])
            base = _base(definition, entry, cached=False, why=f"made now: {_lack(request, old)}")
    except UsageError:
        raise
    except FactoryError as error:
        if old and not definition.pin:
            error.hint = f"{error.hint.rstrip('.')}. --accept-stale uses the one made {age(old.age)} ago".lstrip(". ")
        raise
    finally:
        debian_bootstrap.remove(work)
    if definition.pin and not _matches(definition.pin, base.entry):
        raise _pin_mismatch(definition, base.entry)
    return base


def _lack(request: _Request, old: cache.Entry | None) -> str:
    """Why the cache had nothing of use for *request*."""
    if old is None:
        return "it was not in the cache"
    if request.definition.pin:
        return "the one in the cache is not the pinned one"
    if request.update:
        return "an update was asked for"
    if old.ahead:
        return "the one in the cache is dated in the future"
    return f"the one in the cache was made {age(old.age)} ago, older than its max_age"


def _pin_mismatch(definition: Definition, entry: cache.Entry | None) -> BaseError:
    if entry:
        now, hint = f"but is sha256:{entry.sha256} now", f"Write 'base: {definition.name}@sha256:{entry.sha256}', or"
    else:
        now, hint = "and is not in this cache", f"Write 'base: {definition.name}' without a pin, or"
    return BaseError(
        f"{definition.name} is pinned to sha256:{definition.pin}, {now}",
        cause="The pinned image cannot be made again: each build, and each image that is published, is another one",
        hint=f"{hint} get the pinned image from where it is and name it by its path",
        code="base.pin-mismatch",
    )


def _pinned(request: _Request, store: cache.Cache) -> cache.Entry | None:
    pin = request.definition.pin
    if entry := store.find("base", pin):
        return entry
    current = store.get("base", request.key)  # an image that was converted is also known by the digest it came with
    return current if current and _matches(pin, current) else None


def _matches(pin: str, entry: cache.Entry) -> bool:
    return pin == entry.sha256 or entry.facts.get("checksum") == f"sha256:{pin}"


def _made_since(request: _Request, store: cache.Cache, moment: float) -> bool:
    entry = store.get("base", request.key)
    return entry is not None and entry.created.timestamp() >= moment


def _facts(definition: Definition, built: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says about a base: the definition's word, and above it what its maker found."""
    of_definition = ("name", "kind", "architecture", "distribution", "release", "suite", "default_user", "boot")
    known = {name: getattr(definition, name) for name in of_definition if getattr(definition, name)}
    if definition.path:
        known["name"] = definition.path.name  # a path can name a person, and facts end up in the manifest
    return {**known, "boot": list(definition.boot), **built}


def _base(definition: Definition, entry: cache.Entry, *, cached: bool = True, why: str = "") -> Base:
    return Base(
        name=definition.name,
        kind=definition.kind,
        path=entry.path,
        sha256=entry.sha256,
        size=entry.size,
        created=entry.created,
        facts=entry.facts,
        entry=entry,
        cached=cached,
        why=why,
    )
