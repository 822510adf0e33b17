"""``--keep always``: what stays of a build that is good. The build is a real one but for its machine."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from factory import build, disk, kept, ledger, preflight
from factory.console import Console
from factory.errors import UsageError
from factory.hypervisor import accelerator
from factory.plan import make_plan
from factory.site import Site
from tests.command_line import own_places
from tests.recipe_files import HEAD, write

pytestmark = pytest.mark.real
Build = Callable[[Literal["never", "on-failure", "always"]], tuple[build.Built, str]]


@pytest.fixture
def building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A function that builds with a ``--keep``, and returns what was built and said."""
    own_places(tmp_path, monkeypatch)
    base = tmp_path / "base.qcow2"
    disk.create(base, "qcow2", 1 << 20)
    recipe = write(tmp_path, HEAD.replace("debian-12", str(base)))
    chosen = accelerator.Accelerator("tcg", "a test")

    def customise(site: Site, _: object) -> Any:
        overlay = site.workspace.work / "disk.qcow2"
        disk.create_overlay(site.base.path, "qcow2", overlay)
        return SimpleNamespace(disk=overlay, packages=(), uses=(), canaries=(), identity=frozenset())

    machines = SimpleNamespace(connection=SimpleNamespace(versions=dict), accelerator=chosen)
    monkeypatch.setattr(build, "reap_before_a_build", lambda: None)
    monkeypatch.setattr(preflight, "_require_space", lambda *_: None)
    monkeypatch.setattr(accelerator, "choose", lambda _: chosen)
    monkeypatch.setattr(build, "_hypervisor", lambda *_: contextlib.nullcontext(machines))
    monkeypatch.setattr(build, "customise", customise)
    monkeypatch.setattr(build, "finish", lambda overlay, image, *_: shutil.copy(overlay, image))
    monkeypatch.setattr(build, "verify", lambda *_: [])

    def call(keep: Literal["never", "on-failure", "always"]) -> tuple[build.Built, str]:
        said = io.StringIO()
        options = build.Options(
            boot_test="none", output=tmp_path / "out", keep=keep, again=("build", str(recipe), "--keep", keep)
        )
        return build.build(make_plan(str(recipe)), options, Console.create(stream=said)), said.getvalue()

    return call


def test_a_good_build_leaves_its_disk_until_gc(building: Build, tmp_path: Path) -> None:
    built, said = building("always")
    assert built.folder.name == built.build_id and built.image.is_file()
    (entry,) = ledger.entries(tmp_path / "state")
    assert (entry.build_id, entry.kept, entry.kept_machine) == (built.build_id, "--keep always", None)
    work = Path(entry.work)
    assert disk.info(work / "disk.qcow2", "qcow2").virtual_size == 1 << 20
    assert f"kept in {work}; 'factory gc' removes them" in said
    assert kept.find("web") == entry
    with pytest.raises(UsageError) as caught:
        kept.machine_of(entry)
    assert str(built.folder) in caught.value.hint and ".failed" not in caught.value.hint

    assert ledger.drop(tmp_path / "state", entry) == []  # its owner, this process, lives
    dead = ledger.Owner(ledger.Process(entry.owner.process.pid, 1), *list(vars(entry.owner).values())[1:])
    gone = ledger.rewrite(tmp_path / "state", entry, owner=dead)
    assert not ledger.expired(gone)  # the next build leaves it alone
    assert ledger.drop(tmp_path / "state", gone) == [f"removed {work}"]
    assert not work.exists() and ledger.entries(tmp_path / "state") == [] and built.image.is_file()


@pytest.mark.parametrize("keep", ["never", "on-failure"])
def test_a_good_build_leaves_nothing_else(
    building: Build, keep: Literal["never", "on-failure"], tmp_path: Path
) -> None:
    built, said = building(keep)
    assert built.image.is_file() and "kept" not in said
    assert ledger.entries(tmp_path / "state") == [] and list((tmp_path / "state/builds").iterdir()) == []
