"""A place to publish from, for tests: the command line, a real object store, a strict cloud, and a build."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from factory.manifest import Manifest, text
from factory.publish import mgc_api, mgc_images
from tests import command_line, rule_images
from tests.command_line import Done
from tests.magalu_cloud import KEY, Cloud
from tests.object_store import ObjectStore, lead_to
from tests.test_manifest import facts

CONTENT = b"QFI\xfb" + os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """The command line, the store and the cloud that it leads to, and a build."""

    factory: Callable[..., Done]
    store: ObjectStore
    cloud: Cloud
    build: Path

    def image(self) -> dict[str, Any]:
        (only,) = self.cloud.images.values()
        return {"id": only.id, "sha256": only.sha256, **only.request}

    def stored(self) -> list[str]:
        """The keys of all that is in the bucket."""
        return self.store.keys()

    def untouched(self) -> bool:
        return not self.store.keys() and not self.store.pending() and not self.cloud.requests


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A qcow2 image that keeps every rule of Magalu Cloud."""
    return rule_images.make(tmp_path_factory.mktemp("image") / "my.image-1.2.qcow2", "debian")


@pytest.fixture
def site(
    seaweed: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    with open_site(seaweed, tmp_path, capsys, monkeypatch) as opened:
        yield opened


@contextlib.contextmanager
def open_site(
    seaweed: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site with an empty store, a cloud of its own, and no long pauses."""
    command_line.own_places(tmp_path, monkeypatch)
    seaweed.empty()
    lead_to(seaweed, monkeypatch)
    for name, value in (("PAUSE", 0.01), ("LONGEST_PAUSE", 0.05)):
        monkeypatch.setattr(mgc_api, name, value)
    for name, value in (("POLL", 0.01), ("LONGEST_POLL", 0.05)):
        monkeypatch.setattr(mgc_images, name, value)
    cloud = Cloud(tmp_path, trust=seaweed.ca_bundle)
    monkeypatch.setenv("FACTORY_MGC_API_URL", cloud.url)
    monkeypatch.setenv("FACTORY_CA_BUNDLE", str(cloud.ca_bundle))
    monkeypatch.setenv("MGC_API_KEY", KEY)
    yield Site(command_line.inside(capsys, monkeypatch), seaweed, cloud, a_build(tmp_path / "out" / "nginx"))
    cloud.shutdown()
    cloud.server_close()


def a_build(recipe: Path, /, **changes: Any) -> Path:
    """The folder of a build that ended well."""
    folder = recipe / "20260501T120000Z-0123abcd"
    folder.mkdir(parents=True)
    (folder / "nginx-1.10.qcow2").write_bytes(CONTENT)
    entry = facts()["image"] | {"size": len(CONTENT), "sha256": SHA256, "virtual_size": 4 << 30}
    told = facts()["recipe"] | {"description": "Debian 12 with nginx"}
    needs = {"vcpus": 2, "memory": 1 << 30, "disk": (10 << 30) + 1}
    document = Manifest.model_validate(facts(image=entry, recipe=told, requirements=needs) | changes)
    (folder / "manifest.json").write_text(text(document))
    (folder / "findings.json").write_text("{}")
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
    )
    (folder / "SHA256SUMS").write_text(sums)
    return folder


def no_secret(done: Done) -> None:
    for shown in (done.stdout, done.stderr):
        assert "X-Amz-Signature" not in shown
        assert KEY not in shown


def interrupted_while_waiting(site: Site) -> tuple[int, str, str]:
    """The status of a run that was interrupted while its import ran, what it said, and the id of the import."""
    site.cloud.statuses = ["importing"] * 10_000
    process = subprocess.Popen(
        command_line.program("publish", site.build), cwd=command_line.TOP, stdout=-1, stderr=-1, text=True
    )
    end = time.monotonic() + 60
    while not site.cloud.count("GET") and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(2)
    _, said = process.communicate(timeout=30)
    (image,) = site.cloud.images.values()
    return process.returncode, said, image.id
