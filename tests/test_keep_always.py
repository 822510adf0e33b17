"""What stays of a build, good or not, by ``--keep``. The build is a real one but for its machine."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import pytest

from factory import boot_test, build, disk, kept, ledger, manifest, preflight
from factory.console import Console
from factory.errors import BuildError, FactoryError, HostError, MachineError, UsageError
from factory.hypervisor import accelerator
from factory.plan import make_plan
from factory.site import Site
from tests.command_line import own_places
from tests.recipe_files import HEAD, write

pytestmark = pytest.mark.real
Keep = Literal["never", "on-failure", "always"]


class Build(Protocol):
    def __call__(self, keep: Keep, boots: Literal["full", "none"] = "none") -> tuple[build.Built, str]: ...


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

    def call(keep: Keep, boots: Literal["full", "none"] = "none") -> tuple[build.Built, str]:
        said = io.StringIO()
        options = build.Options(
            boot_test=boots, output=tmp_path / "out", keep=keep, again=("build", str(recipe), "--keep", keep)
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
def test_a_good_build_leaves_nothing_else(building: Build, keep: Keep, tmp_path: Path) -> None:
    built, said = building(keep)
    assert built.image.is_file() and "kept" not in said
    assert ledger.entries(tmp_path / "state") == [] and list((tmp_path / "state/builds").iterdir()) == []


# -- of a build that is not


def failed(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "out/web").glob("*.failed")
    return folder


def test_an_image_that_passed_is_kept_when_only_latest_cannot_lead_to_it(
    building: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(*_: object) -> list[Any]:  # somebody puts a folder where the link goes, while the build runs
        (tmp_path / "out/web/latest/mine").mkdir(parents=True)
        return []

    monkeypatch.setattr(build, "verify", verify)
    with pytest.raises(HostError) as caught:
        building("never")
    folder = failed(tmp_path)
    image = folder / manifest.read_manifest(folder).image.file
    assert disk.sha256(image) == manifest.read_manifest(folder).image.sha256
    assert (folder / "SHA256SUMS").read_text().count(image.name) == 1
    assert f"whole and passed, and is kept as {image}; latest does not lead to it" in caught.value.hint
    assert (caught.value.status, caught.value.folder) == (3, folder)
    assert [path.name for path in (tmp_path / "out/web/latest").iterdir()] == ["mine"]
    assert ledger.entries(tmp_path / "state") == [] and list((tmp_path / "state/builds").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (HostError("the disk is full", code="host.disk-full"), True),
        (MachineError("the guest panicked"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_a_finished_image_stays_when_this_host_is_why_its_boots_ended(
    building: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, stays: bool
) -> None:
    def boots(*_: object) -> None:
        raise error

    monkeypatch.setattr(boot_test, "run", boots)
    with pytest.raises(type(error)):
        building("never", "full")
    folder = failed(tmp_path)
    images = list(folder.glob("*.qcow2"))
    assert bool(images) is stays and not (folder / "manifest.json").exists()
    assert not (tmp_path / "out/web/latest").exists()
    if isinstance(error, FactoryError):
        assert (f"but has not passed, and is kept as {folder}/web-" in error.hint) is stays
    assert ledger.entries(tmp_path / "state") == []


@pytest.mark.parametrize(("stage", "there"), [("finish", True), ("verify", False)])
def test_the_disk_of_a_failed_build_is_told_only_while_it_is_there(
    building: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, there: bool
) -> None:
    def fails(*_: object) -> None:
        raise BuildError("it failed")

    monkeypatch.setattr(build, stage, fails)
    with pytest.raises(BuildError) as caught:
        building("on-failure")
    (entry,) = ledger.entries(tmp_path / "state")
    assert bool(list(Path(entry.work).glob("*.qcow2"))) is there
    assert (f"the disk is kept in {entry.work}" in caught.value.hint) is there
    assert f"'factory retry {entry.build_id}' goes on" in caught.value.hint
