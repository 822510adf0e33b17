"""What a build of a recipe is refused for before anything is made."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from factory import bases, disk, preflight, run
from factory.cache import Cache
from factory.console import Console
from factory.errors import FactoryError, HostError, UsageError
from factory.plan import make_plan
from tests.command_line import own_places
from tests.recipe_files import HEAD, write

pytestmark = pytest.mark.real
GIB = 1024**3


def test_a_disk_that_is_smaller_than_the_base_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places(tmp_path, monkeypatch)
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    image = tmp_path / "large.qcow2"
    disk.create(image, "qcow2", 5 * GIB)
    recipe = write(tmp_path, HEAD.replace("debian-12", str(image)))
    plan = make_plan(str(recipe))
    preflight.check(plan, tmp_path / "out", "none")  # how large the base is nobody has looked at yet
    bases.obtain(plan.base, console=Console.quiet())
    with pytest.raises(UsageError, match=r"large\.qcow2 has 5\.0 GiB") as caught:
        preflight.check(plan, tmp_path / "out", "none")
    assert caught.value.code == "recipe.disk-too-small" and "disk: 5GiB" in caught.value.hint
    recipe.write_text(f"{recipe.read_text()}disk: 5GiB\n")
    preflight.check(make_plan(str(recipe)), tmp_path / "out", "none")


@pytest.mark.parametrize("there", ["folder", "file", "link", "link to nothing"])
def test_only_a_link_may_be_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    own_places(tmp_path, monkeypatch)
    image = tmp_path / "base.qcow2"
    disk.create(image, "qcow2", 1 << 20)
    plan = make_plan(str(write(tmp_path, HEAD.replace("debian-12", str(image)))))
    latest = tmp_path / "out put" / plan.recipe.name / "latest"
    latest.parent.mkdir(parents=True)
    if there == "folder":  # what "rsync -L" makes of it
        latest.mkdir()
    elif there == "file":
        latest.write_text("")
    else:
        latest.symlink_to("." if there == "link" else "nowhere")
    if there.startswith("link"):
        preflight.check(plan, tmp_path / "out put", "none")
        return
    with pytest.raises(HostError) as caught:
        preflight.check(plan, tmp_path / "out put", "none")
    assert caught.value.code == "host.latest-no-link"
    subprocess.run(caught.value.hint.partition(": ")[2], shell=True, check=True)
    preflight.check(plan, tmp_path / "out put", "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_an_output_without_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places(tmp_path, monkeypatch)
    image, out = tmp_path / "base.qcow2", tmp_path / "out"
    disk.create(image, "qcow2", 1 << 20)
    plan = make_plan(str(write(tmp_path, HEAD.replace("debian-12", str(image)))))
    out.mkdir()
    preflight.check(plan, out, "none")
    assert list(out.iterdir()) == []
    monkeypatch.setattr(preflight, "_require_space", lambda *_: None)  # it has none
    subprocess.run(["mount", "-t", "mqueue", "mqueue", out], check=True)  # it takes files, and no links
    try:
        with pytest.raises(HostError) as caught:
            preflight.check(plan, out, "none")
    finally:
        subprocess.run(["umount", "--lazy", out], check=True)
    assert caught.value.code == "host.no-links" and str(out) in str(caught.value)


@pytest.mark.parametrize(
    ("days", "pinned", "old_base", "makes"),
    [
        (None, False, False, True),
        (1, False, False, False),
        (8, False, False, True),
        (8, True, False, False),
        (8, False, True, False),
    ],
)
def test_what_the_making_of_a_base_takes_is_there_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float | None, pinned: bool, old_base: bool, makes: bool
) -> None:
    """A base that has grown too old is made anew."""
    own_places(tmp_path, monkeypatch)
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    plan = make_plan(str(write(tmp_path, HEAD)))
    if days:
        (tmp_path / "image").write_bytes(b"QFI")
        entry = Cache().put("base", plan.base.key, tmp_path / "image", {"virtual_size": GIB, "boot": ["bios"]})
        record = entry.path.with_name("entry.json")
        then = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        record.write_text(json.dumps(json.loads(record.read_text()) | {"created": then}))
        if pinned:
            plan = replace(plan, base=replace(plan.base, pin=entry.sha256))
    asked: list[Path] = []
    monkeypatch.setattr(preflight, "_require_space", lambda needs, _: asked.extend(needs))
    preflight.check(plan, tmp_path / "out", "none", old_base=old_base)
    assert (tmp_path / "cache" in asked) is makes
    find = run.find
    monkeypatch.setattr(run, "find", lambda name, **words: find("not-here" if name == "sgdisk" else name, **words))
    with pytest.raises(HostError, match="lacks what a build needs: sgdisk") if makes else nullcontext() as caught:
        preflight.check(plan, tmp_path / "out", "none", old_base=old_base)
    hint = caught.value.hint if caught else ""
    assert ("--accept-stale takes the base made 8 days ago" in hint) is (makes and days == 8)


def test_a_file_where_a_folder_belongs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places(tmp_path, monkeypatch)
    image, out = tmp_path / "base.qcow2", tmp_path / "out"
    disk.create(image, "qcow2", 1 << 20)
    out.write_text("#!/bin/sh\n")
    out.chmod(0o755)
    with pytest.raises(FactoryError) as caught:
        preflight.check(make_plan(str(write(tmp_path, HEAD.replace("debian-12", str(image))))), out, "none")
    told = f"{caught.value.message} {caught.value.cause}"
    assert str(out) in told and "permission" not in told.lower(), told


def test_a_machine_larger_than_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places(tmp_path, monkeypatch)
    image = tmp_path / "base.qcow2"
    disk.create(image, "qcow2", 1 << 20)
    head = HEAD.replace("debian-12", str(image))
    monkeypatch.setattr(preflight, "most_memory", lambda: 8 * GIB)
    for text, boot_tests, field in (
        ("machine: {memory: 8GiB}\n", "full", ""),
        ("requirements: {memory: 8GiB}\n", "full", ""),  # two at once: each alone is what the kernel looks at
        ("machine: {memory: 9GiB}\n", "none", "machine"),
        ("requirements: {memory: 9GiB}\n", "quick", "requirements"),
        ("requirements: {memory: 9GiB}\n", "none", ""),
    ):
        plan = make_plan(str(write(tmp_path, head + text)))
        with pytest.raises(HostError) if field else nullcontext() as caught:
            preflight.check(plan, tmp_path / "out", boot_tests)  # type: ignore[arg-type]
        assert caught is None or (caught.value.code, f"'{field}'" in caught.value.hint) == ("host.memory", True)
    monkeypatch.setattr(preflight, "most_memory", lambda: None)
    preflight.check(make_plan(str(write(tmp_path, head + "machine: {memory: 1TiB}\n"))), tmp_path / "out", "none")


def test_swap_is_memory_too_and_where_the_kernel_looks_at_nothing_so_do_we(tmp_path: Path) -> None:
    meminfo, overcommit = tmp_path / "meminfo", tmp_path / "overcommit"
    meminfo.write_text(
        "MemTotal:       4194304 kB\nMemFree:   1024 kB\nSwapTotal:      2097152 kB\nHugePages_Total: 0\n"
    )
    assert preflight.most_memory(meminfo, overcommit) is None
    for mode, most in (("0", 6 * GIB), ("1", None), ("2", 6 * GIB)):
        overcommit.write_text(f"{mode}\n")
        assert preflight.most_memory(meminfo, overcommit) == most
    meminfo.write_text("")
    assert preflight.most_memory(meminfo, overcommit) is None


def test_the_kernel_gives_what_we_allow_and_nothing_more() -> None:
    """As QEMU takes the memory of a guest, which is not touched."""
    most = preflight.most_memory()
    if most is None or Path("/proc/sys/vm/overcommit_memory").read_text().strip() != "0":
        pytest.skip("this kernel is set to judge otherwise")
    taken = partial(mmap.mmap, -1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    taken(most - (most >> 5)).close()
    with pytest.raises(OSError, match="Cannot allocate memory"):
        taken(most + (most >> 5))
