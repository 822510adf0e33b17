"""The cache: what goes in is whole, what comes out is verified, and processes do not get into each other's way."""

from __future__ import annotations

import fcntl
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory import cache, copying
from factory.cache import Cache, private_folder
from factory.errors import HostError, UsageError

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # sha256 of "hello"


@pytest.fixture
def store(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def put(store: Cache, text: str = "hello", key: str = "k", **facts: object) -> cache.Entry:
    file = store.folder("work") / "new"
    file.write_text(text)
    return store.put("base", key, file, facts)


def age(entry: cache.Entry, **delta: float) -> None:
    """Make the record of *entry* older, and its last use too."""
    path = entry.folder / "entry.json"
    record = json.loads(path.read_text())
    record["created"] = (datetime.now(UTC) - timedelta(**delta)).isoformat()
    path.write_text(json.dumps(record))
    then = time.time() - timedelta(**delta).total_seconds()
    os.utime(entry.folder, (then, then))


# -- entries ---------------------------------------------------------------------------------------------------------


def test_what_was_put_is_got(store: Cache) -> None:
    made = put(store, kernel="6.1")
    assert made.sha256 == HELLO
    assert made.path.read_text() == "hello"
    assert made.path.stat().st_mode & 0o777 == 0o444
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert store.get("base", "k") == made
    assert store.find("base", HELLO) == made
    assert made.facts == {"kernel": "6.1"}
    assert made.size == 5
    assert made.age < 60
    assert not (store.root / "work" / "new").exists()


def test_what_was_not_put_is_not_there(store: Cache) -> None:
    assert store.get("base", "k") is None
    assert store.find("base", HELLO) is None
    assert store.entries() == []


def test_the_newest_of_a_key_is_current_and_the_older_can_be_found(store: Cache) -> None:
    old = put(store, "old")
    new = put(store, "new")
    assert store.get("base", "k") == new
    assert store.find("base", old.sha256) == old
    assert [entry.path for entry in store.entries("base")] == [new.path, old.path]


def test_the_same_content_again_only_becomes_the_newest(store: Cache) -> None:
    first = put(store, "same", build=1)
    put(store, "other")
    again = put(store, "same", build=2)
    assert again.path == first.path
    current = store.get("base", "k")
    assert current
    assert current.facts == {"build": 2}
    assert len(store.entries()) == 2


def test_a_file_on_another_file_system_is_copied(store: Cache) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == store.root.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    file = shared / f"factory-test-{os.getpid()}"
    file.write_text("hello")
    assert store.put("base", "k", file, {}).sha256 == HELLO
    assert not file.exists()


def test_changed_content_is_dropped(tmp_path: Path) -> None:
    warnings: list[str] = []
    store = Cache(tmp_path / "cache", warn=warnings.append)
    older = put(store, "older")
    entry = put(store)
    before = entry.path.stat()
    entry.path.chmod(0o644)
    entry.path.write_text("jello")
    os.utime(entry.path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the ctime tells all the same
    assert store.get("base", "k") == older
    assert not entry.folder.exists()
    assert "does not match" in warnings[0]


def test_a_touched_file_is_read_again_and_stays(store: Cache) -> None:
    entry = put(store)
    os.utime(entry.path)
    assert store.get("base", "k") == entry
    seen = json.loads((entry.folder / "entry.json").read_text())["seen"]
    assert seen[3] == entry.path.stat().st_ctime_ns


def test_an_unchanged_file_is_not_read_again_for_a_week(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store)
    reads: list[Path] = []

    def counting(path: Path, algorithm: str = "sha256") -> str:
        reads.append(path)
        return copying.file_digest(path, algorithm)

    monkeypatch.setattr(cache, "file_digest", counting)
    assert store.get("base", "k")
    assert reads == []
    path = entry.folder / "entry.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"read": time.time() - cache.FULL_READ_SECONDS - 1}))
    assert store.get("base", "k")
    assert store.get("base", "k")
    assert reads == [entry.path]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sha256": 1', '{"sha256": "x", "size": 1, "created": "y"}'])
def test_a_damaged_record_counts_as_absent(store: Cache, text: str) -> None:
    entry = put(store)
    (entry.folder / "entry.json").write_text(text)
    assert store.get("base", "k") is None
    assert store.entries() == []
    assert put(store).path == entry.path  # and is replaced
    assert store.get("base", "k")


def test_damaged_content_is_replaced_by_the_same_content(store: Cache) -> None:
    entry = put(store)
    entry.path.chmod(0o644)
    entry.path.write_text("jello")
    put(store)
    assert entry.path.read_text() == "hello"


def test_renewing_an_entry_makes_it_young(store: Cache) -> None:
    entry = put(store)
    age(entry, days=9)
    old = store.get("base", "k")
    assert old
    assert old.age > 8 * 86400
    store.renew(old)
    renewed = store.get("base", "k")
    assert renewed
    assert renewed.age < 60


def test_a_key_is_no_path(store: Cache, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    for key in ("../x", "a/b", "", ".hidden", "x" * 200):
        with pytest.raises(ValueError, match="folder of the cache"):
            store.put("base", key, file, {})


def test_a_full_disk_leaves_no_half_entry(store: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "sync", full)
    with pytest.raises(HostError, match="cannot take a new entry") as caught:
        put(store)
    assert "No space left" in caught.value.cause
    assert store.entries() == []
    assert list((store.root / "base").glob(".new-*")) == []


# -- removing --------------------------------------------------------------------------------------------------------


def test_a_held_entry_is_not_removed(store: Cache) -> None:
    entry = put(store)
    with store.hold(entry):
        assert not store.remove(entry)
        assert entry.path.exists()
    assert store.remove(entry)
    assert not entry.folder.parent.exists()
    assert store.remove(entry)  # already gone is gone
    with pytest.raises(HostError, match="removed"), store.hold(entry):
        pass


@pytest.mark.parametrize("again", [False, True])
def test_what_is_removed_before_it_is_held(store: Cache, monkeypatch: pytest.MonkeyPatch, *, again: bool) -> None:
    entry = put(store)
    flock, other = fcntl.flock, Cache(store.root)

    def later(folder: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        assert other.remove(entry)  # between our look at the folder and our lock on it
        if again:
            put(other)
        flock(folder, how)

    monkeypatch.setattr(fcntl, "flock", later)
    if again:
        with store.hold(entry):
            assert entry.path.read_text() == "hello"
            assert not other.remove(entry)
    else:
        with pytest.raises(HostError, match="removed"), store.hold(entry):
            pass


def test_trimming_sees_what_was_used_since_it_looked(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, flock = put(store), fcntl.flock
    age(entry, days=1)

    def later(folder: int, how: int) -> None:
        flock(folder, how)
        monkeypatch.setattr(fcntl, "flock", flock)
        assert Cache(store.root).get("base", "k")

    monkeypatch.setattr(fcntl, "flock", later)
    assert store.trim(0) == []
    assert entry.path.exists()


def test_trimming_removes_the_least_recently_used_first(store: Cache) -> None:
    entries = [put(store, str(number) * 100, key=f"k{number}") for number in range(5)]
    for days, entry in enumerate(entries, start=1):
        age(entry, days=days)
    with store.hold(entries[4]):
        removed = store.trim(250, keep=[entries[3]])
    assert [entry.key for entry in removed] == ["k2", "k1", "k0"]
    assert {entry.key for entry in store.entries()} == {"k3", "k4"}


def test_what_was_used_within_the_hour_is_not_trimmed(store: Cache) -> None:
    entry = put(store)
    assert store.trim(0) == []
    age(entry, days=1)
    assert store.get("base", "k")  # this use counts
    assert store.trim(0) == []
    age(entry, days=1)
    assert store.trim(0)


def test_trimming_clears_what_killed_processes_left(store: Cache) -> None:
    put(store)
    old, young = store.root / "base" / ".new-1-2-3-old", store.root / "base" / ".new-1-2-3-young"
    for path in (old, young):
        path.mkdir()
    os.utime(old, (0, 0))
    part = store.folder("downloads") / "x-0123456789abcdef.part"
    part.touch()
    os.utime(part, (0, 0))
    store.trim(1 << 40)
    assert not old.exists()
    assert not part.exists()
    assert young.exists()


def test_what_a_wrong_clock_dated_is_neither_the_newest_nor_at_rest(store: Cache) -> None:
    future = put(store, "of 2030")
    age(future, days=-400)
    assert store.get("base", "k") is not None
    age(future, days=-400)  # its use was noted with the right clock
    now = put(store)
    assert store.get("base", "k") == now and store.entries("base")[0] == now
    assert [entry.sha256 for entry in store.trim(now.size)] == [future.sha256]


def test_an_entry_that_another_process_removes_meanwhile(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = put(store), put(store, "another", "l")
    listed = store.entries()
    assert store.remove(first)
    monkeypatch.setattr(store, "entries", lambda: listed)
    age(second, days=1)
    assert [entry.key for entry in store.trim(0)] == ["l"]


def test_two_that_remove_one_entry(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store)
    flock, other = fcntl.flock, Cache(store.root)

    def later(folder: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        assert other.remove(entry)  # between our look at the folder and our lock on it
        flock(folder, how)

    monkeypatch.setattr(fcntl, "flock", later)
    assert store.remove(entry)
    assert [path.name for path in (store.root / "base").iterdir()] == []


@pytest.mark.parametrize(("text", "size"), [("40GiB", 40 << 30), ("512 MiB", 512 << 20), ("1000", 1000)])
def test_size_limit(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("FACTORY_CACHE_LIMIT", text)
    assert cache.size_limit() == size


def test_a_size_limit_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_CACHE_LIMIT", "lots")
    with pytest.raises(UsageError, match="FACTORY_CACHE_LIMIT"):
        cache.size_limit()


# -- whose it is -----------------------------------------------------------------------------------------------------


def test_the_folder_is_made_private(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o722, 0o1777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(HostError, match="other accounts can write") as caught:
        Cache(folder)
    assert "chmod 700" in caught.value.hint
    assert caught.value.status == 3


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755])
def test_a_folder_that_others_can_only_read_is_taken(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    assert Cache(folder).root == folder


def test_a_folder_below_one_that_all_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(HostError, match="every account can write"):
        Cache(tmp_path / "cache")
    tmp_path.chmod(0o1777)  # as /tmp is: nobody else can rename what is ours
    Cache(tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_account_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(HostError, match="belongs to account 12345"):
        Cache(folder)
    os.chown(folder, 0, 0)
    (folder / "deep").mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(HostError, match="above it, belongs to account 12345"):
        Cache(folder / "deep")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(HostError, match="cannot be made"):
        Cache(tmp_path / "cache")


def test_a_link_to_a_folder_of_ones_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to(tmp_path / "big disk")
    assert Cache(tmp_path / "cache").root == tmp_path / "big disk"
