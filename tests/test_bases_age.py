"""When a base is made, when one from the cache does, and what several processes make of it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from factory import base_definition, bases
from factory.bases import Base, Definition, obtain, resolve
from factory.cache import Cache
from factory.console import Console
from factory.errors import BaseError, HostError, UsageError
from factory.plan import describe, make_plan
from tests.recipe_files import HEAD, write

real = pytest.mark.real
PIN = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def get(reference: str, **options: Any) -> Base:
    return obtain(resolve(reference), console=Console.quiet(), **options)


class Kind(ModuleType):
    """A kind of base that makes a new image each time, as ``scratch`` does, but in no time."""

    FORMAT = 1

    def __init__(self) -> None:
        super().__init__("kind")
        self.made: list[dict[str, Any]] = []
        self.fault: Exception | None = None
        self.on_build: Callable[[Path], None] = lambda work: None

    def build(self, definition: Definition, destination: Path, *, work: Path, console: Console, **options: Any) -> Any:
        self.made.append(options)
        self.on_build(work)
        if self.fault:
            raise self.fault
        destination.write_bytes(b"QFI\xfb" + os.urandom(60))
        return {"packages": [{"name": "bash"}], "number": len(self.made)}


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Kind:
    """The kind ``scratch``, replaced by a quick one: when it is made is what these tests are about."""
    made = Kind()
    monkeypatch.setattr(base_definition, "kind_module", lambda name: made)
    monkeypatch.setattr(bases, "kind_module", lambda name: made)
    return made


def grow_old(days: float) -> None:
    for path in Cache().root.glob("base/*/*/entry.json"):
        record = json.loads(path.read_text())
        record["created"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        path.write_text(json.dumps(record))


class Told(Console):
    """Remembers its warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_a_base_is_made_once(kind: Kind) -> None:
    first = get("debian-12", accelerator="tcg")
    second = get("debian-12", accelerator="tcg")
    assert kind.made == [{"accelerator": "tcg"}]
    assert (first.cached, second.cached) == (False, True)
    assert first.path == second.path
    assert first.facts["default_user"] == "debian"
    assert first.facts["packages"] == [{"name": "bash"}]
    assert first.facts["boot"] == ["bios", "uefi"]
    assert first.reference == f"debian-12@sha256:{first.sha256}"
    assert second.why == "made less than a minute ago"
    assert first.path.stat().st_mode & 0o222 == 0
    assert list(Cache().folder("work").iterdir()) == []


def test_another_definition_is_another_base(kind: Kind) -> None:
    get("debian-12")
    get("debian-13")
    obtain(replace(resolve("debian-12"), suite="sid"), console=Console.quiet())
    kind.FORMAT = 2
    get("debian-12")
    assert len(kind.made) == 4


def test_an_old_base_is_made_again(kind: Kind) -> None:
    first = get("debian-12")
    grow_old(6.9)
    assert get("debian-12").path == first.path
    grow_old(7.1)
    assert get("debian-12").path != first.path
    assert len(kind.made) == 2


def test_a_base_that_is_made_says_why(kind: Kind) -> None:
    assert get("debian-12").why == "made now: it was not in the cache"
    assert get("debian-12", update=True).why == "made now: an update was asked for"
    grow_old(9)
    assert get("debian-12").why == "made now: the one in the cache was made 9 days ago, older than its max_age"
    grow_old(-3)
    assert get("debian-12").why == "made now: the one in the cache is dated in the future"


def test_an_old_base_is_accepted_when_asked(kind: Kind) -> None:
    first = get("debian-12")
    grow_old(9)
    base = get("debian-12", accept_stale=True)
    assert base.path == first.path
    assert base.why == "made 9 days ago, accepted as it is"


def test_updating_makes_a_young_base_again(kind: Kind) -> None:
    get("debian-12")
    assert get("debian-12", update=True).facts["number"] == 2
    with pytest.raises(UsageError, match="exclude"):
        get("debian-12", update=True, offline=True)


def test_a_base_that_is_pinned_by_its_definition_never_grows_old(kind: Kind) -> None:
    first = get("fedora")
    grow_old(900)
    assert get("fedora").path == first.path


def test_offline_uses_what_is_there(kind: Kind) -> None:
    first = get("debian-12")
    assert get("debian-12", offline=True).path == first.path
    grow_old(30)
    console = Told()
    assert obtain(resolve("debian-12"), offline=True, console=console).path == first.path
    assert len(console.warnings) == 1
    assert "30 days" in console.warnings[0]
    assert len(kind.made) == 1


def test_offline_without_a_base(kind: Kind) -> None:
    with pytest.raises(BaseError, match="is not in the cache") as caught:
        get("debian-12", offline=True)
    assert caught.value.code == "base.offline"
    assert "factory bases build debian-12" in caught.value.hint
    assert kind.made == []


def test_a_pinned_base_never_grows_old(kind: Kind) -> None:
    first = get("debian-12")
    newer = get("debian-12", update=True)
    grow_old(90)
    base = get(f"debian-12@sha256:{first.sha256}")
    assert base.path == first.path
    assert base.path != newer.path
    assert base.why == "pinned"
    assert get(f"debian-12@sha256:{first.sha256}", offline=True).path == first.path


def test_a_pinned_base_that_is_not_there(kind: Kind) -> None:
    with pytest.raises(BaseError, match="and is not in this cache") as caught:
        get(f"debian-12@sha256:{PIN}")
    assert caught.value.code == "base.pin-mismatch"
    assert kind.made == []  # minutes of building could not change it
    now = get("debian-12")
    with pytest.raises(BaseError, match="but is sha256:") as caught:
        get(f"debian-12@sha256:{PIN}")
    assert now.sha256 in caught.value.hint
    with pytest.raises(BaseError, match="not in the cache") as caught:
        get(f"debian-12@sha256:{PIN}", offline=True)
    assert now.sha256 in caught.value.hint and "bases build" not in caught.value.hint  # a network is no help


def test_the_plan_knows_that_a_pinned_base_cannot_be_made(kind: Kind, tmp_path: Path) -> None:
    made = make_plan(str(write(tmp_path, HEAD.replace("debian-12", f"debian-12@sha256:{PIN}"))))
    row = next(row for row in describe(made, "tcg", tmp_path / "out") if row.stage == "base")
    assert row.state == "cannot be made again: it is pinned, and not in the cache"


def test_a_failure_names_the_old_base(kind: Kind) -> None:
    get("debian-12")
    grow_old(9)
    kind.fault = BaseError("the archive did not answer", hint="Check the network", code="base.archive-unreachable")
    with pytest.raises(BaseError) as caught:
        get("debian-12")
    assert caught.value.hint == "Check the network. --accept-stale uses the one made 9 days ago"
    assert caught.value.code == "base.archive-unreachable"
    assert get("debian-12", accept_stale=True).cached
    assert list(Cache().folder("work").iterdir()) == []


def test_a_failure_without_an_old_base(kind: Kind) -> None:
    kind.fault = HostError("no mmdebstrap", hint="Install it")
    with pytest.raises(HostError) as caught:
        get("debian-12")
    assert caught.value.hint == "Install it"
    assert Cache().entries() == []


def test_what_a_killed_process_left_is_cleared(kind: Kind) -> None:
    left = Cache().folder("work") / resolve("debian-12").key
    left.mkdir()
    (left / "disk.raw").touch()
    seen: list[list[Path]] = []
    kind.on_build = lambda work: seen.append(list(work.iterdir()))
    get("debian-12")
    assert seen == [[]]


def test_a_damaged_base_is_made_again(kind: Kind) -> None:
    base = get("debian-12")
    base.path.chmod(0o644)
    base.path.write_bytes(b"damaged")
    console = Told()
    assert obtain(resolve("debian-12"), console=console).facts["number"] == 2
    assert "does not match its sha256" in console.warnings[0]


def test_builds_side_by_side_make_one_base(kind: Kind) -> None:
    kind.on_build = lambda work: time.sleep(0.5)
    found: list[Base] = []
    threads = [threading.Thread(target=lambda: found.append(get("debian-12"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(kind.made) == 1
    assert len({base.path for base in found}) == 1
    assert sum(not base.cached for base in found) == 1


def test_updates_side_by_side_make_one_base(kind: Kind) -> None:
    get("debian-12")
    kind.on_build = lambda work: time.sleep(0.5)
    threads = [threading.Thread(target=lambda: get("debian-12", update=True)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(kind.made) == 2


def test_the_limit_of_the_cache_is_kept(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get("debian-12")
    os.utime(first.path.parent, (0, 0))
    monkeypatch.setenv("FACTORY_CACHE_LIMIT", "100")
    second = get("debian-13")
    assert not first.path.exists()
    assert second.path.exists()


def test_what_the_cache_has(kind: Kind) -> None:
    assert bases.cached(resolve("debian-12")) is None
    made = get("debian-12")
    grow_old(9)
    found = bases.cached(resolve("debian-12"))
    assert found
    assert (found.path, found.sha256, found.size) == (made.path, made.sha256, 64)
    assert found.why == "made 9 days ago"
    assert not bases.fresh(resolve("debian-12"), found.entry)


def test_reaping_leaves_living_processes_alone(kind: Kind) -> None:
    seen: list[list[Path]] = []
    dead = Cache().folder("work") / "debian-9-0123456789abcdef"
    dead.mkdir()
    (Cache().folder("locks") / f"base-{dead.name}.lock").touch()
    kind.on_build = lambda work: seen.append(bases.reap(Console.quiet()))
    get("debian-12")
    assert seen == [[dead]]
    assert bases.reap(Console.quiet()) == []
