"""What a build of a recipe is refused for before anything is made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from factory import bases, disk, preflight
from factory.console import Console
from factory.errors import HostError, UsageError
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
