"""Guests that go on from saved memory: two from one layer at once, and a layer that is no good."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from factory import bases, disk, inspection, layers, settings
from factory.cache import Cache
from tests.documents import TOP

pytestmark = [pytest.mark.real, pytest.mark.slow]

LIMIT = 40 * 60
RECIPE = """schema: 1
name: {name}
version: 1.0.0
base: debian-12
disk: 3GiB
upgrade: none
provision:
  - shell: |
      {{
        od -An -N16 -tx1 /dev/urandom | tr -d ' \\n'; echo
        cat /proc/sys/kernel/random/uuid
        date +%s
        ssh-keygen -q -t ed25519 -N '' -C key -f /run/key && ssh-keygen -lf /run/key.pub
        pgrep -c dhclient || true
        grep -c . /root/.ssh/authorized_keys
        systemctl list-timers --no-legend | grep -c . || true
      }} > /opt/told
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache of its own, into which the base is copied."""
    folder = tmp_path_factory.mktemp("warm")
    definition = bases.resolve("debian-12")
    base = bases.cached(definition)
    if base is None:
        pytest.skip("the base debian-12 is not in the cache")
    copied = folder / "cache/base" / base.entry.key / base.sha256
    copied.parent.mkdir(parents=True)
    (folder / "cache").chmod(0o700)
    shutil.copytree(base.entry.folder, copied)
    known = settings.cache_dir() / "libvirt"
    if known.is_dir():
        shutil.copytree(known, folder / "cache/libvirt")
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(RECIPE.format(name=name))
    return folder


def build(place: Path, *words: str) -> tuple[list[dict[str, Any]], str]:
    """What ``factory build`` answers, and what it says."""
    argv = [sys.executable, "-m", "factory", "build", *words, "--json", "--boot-test", "none", "--accept-stale"]
    done = subprocess.run(
        [*argv, "--output", str(place / "out")],
        cwd=TOP,
        env=os.environ | {"FACTORY_STATE": str(place / "state"), "FACTORY_CACHE": str(place / "cache"), "CI": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    builds: list[dict[str, Any]] = json.loads(done.stdout)["builds"]
    for each in builds:
        each["manifest"] = json.loads((Path(each["directory"]) / "manifest.json").read_text())
    return builds, done.stderr


def told(built: dict[str, Any], work: Path) -> list[str]:
    """What the guest of a build wrote down."""
    raw = work / "told.raw"
    disk.convert(Path(built["image"]), "qcow2", raw, "raw")
    try:
        with inspection.open_image(raw, format="raw") as image:
            return image.read("/opt/told").decode().splitlines()
    finally:
        raw.unlink()


def cache_of(built: dict[str, Any], name: str) -> str:
    return next(str(stage["cache"]) for stage in built["manifest"]["stages"] if stage["name"] == name)


def test_two_guests_from_one_layer_are_two(place: Path) -> None:
    (first,), _ = build(place, str(place / "one.yaml"))
    assert cache_of(first, "boot") == "miss"
    start = time.time()
    both, _ = build(place, str(place / "one.yaml"), str(place / "two.yaml"), "--no-cache", "--jobs", "2")
    end = time.time()
    assert [cache_of(each, "boot") for each in both] == ["hit", "hit"]
    lines = [told(each, place) for each in (first, *both)]
    for number in (0, 1, 3):  # random bytes, a UUID of the kernel, a key
        assert len({words[number] for words in lines}) == 3
    for words in lines[1:]:
        assert start - 5 < int(words[2]) < end + 5
        assert words[4:] == ["0", "1", "0"]  # no DHCP client, one key that opens the guest, no timer
    for built in both:  # the keys of both builds and of the one that saved the guest were looked for
        findings = json.loads((Path(built["directory"]) / "findings.json").read_text())["findings"]
        (canaries,) = (finding for finding in findings if finding["rule"] == "SCRUB-CANARIES")
        assert canaries["status"] == "pass" and "none of 13" in canaries["evidence"]


def test_a_layer_that_is_no_good_is_dropped_and_the_build_boots_cold(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_CACHE", str(place / "cache"))
    store = Cache()
    manifest = json.loads((place / "out/one/latest/manifest.json").read_text())
    (key,) = (stage["key"] for stage in manifest["stages"] if stage["name"] == "boot")
    (boot,) = (entry for entry in store.entries("layer") if entry.key == key)
    (memory,) = (entry for entry in store.entries("memory") if entry.key == boot.key)
    cut = place / "cut"
    cut.write_bytes(memory.path.read_bytes()[: memory.size // 2])
    saved = store.put("memory", boot.key, cut, {})
    flat = place / "flat"
    shutil.copyfile(boot.path, flat)
    store.remove(boot)
    store.remove(memory)
    store.put("layer", boot.key, flat, {**boot.facts, "memory": saved.sha256})
    damaged = layers.find(store, boot.key)
    assert damaged is not None
    (built,), said = build(place, str(place / "two.yaml"), "--no-cache")
    assert said.count("booting cold") == 1
    assert cache_of(built, "boot") == "miss"
    healed = layers.find(store, boot.key)
    assert healed is not None and healed.memory.sha256 != damaged.memory.sha256
