"""``factory build --publish`` as a whole, with a machine, a store and a strict cloud: ``make test-all``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from factory.http import SYSTEM_STORES
from tests.documents import TOP
from tests.magalu_cloud import KEY, Cloud
from tests.object_store import SECRET, ObjectStore, running

pytestmark = [pytest.mark.real, pytest.mark.slow]
LIMIT = 40 * 60  # seconds for one build on 2 cores under emulation, with its base
RECIPE = """schema: 1
name: {name}
version: 1.0.0
description: Published while it is tested
base: debian-12
disk: 3GiB
upgrade: none
provision:
  - shell: echo {name} > /etc/published
test:
  - command: {{run: cat /etc/published, contains: "{expected}"}}
targets: [mgc]
"""


@dataclass
class Site:
    store: ObjectStore
    cloud: Cloud
    folder: Path

    def build(self, name: str, expected: str, *options: str) -> subprocess.CompletedProcess[str]:
        recipe = self.folder / f"{name}.yaml"
        recipe.write_text(RECIPE.format(name=name, expected=expected))
        bundle = self.folder / "trusted.pem"
        stores = [Path(path).read_text() for path in SYSTEM_STORES if Path(path).exists()]
        bundle.write_text("\n".join([*stores[:1], self.cloud.ca_bundle.read_text()]))
        argv = [
            sys.executable,
            "-m",
            "factory",
            "build",
            str(recipe),
            "--publish",
            "--output",
            str(self.folder / "out"),
        ]
        own = {"FACTORY_STATE": str(self.folder / "state"), "FACTORY_CA_BUNDLE": str(bundle), "MGC_API_KEY": KEY}
        own |= {"FACTORY_MGC_API_URL": self.cloud.url, "CI": "true"}
        return subprocess.run(
            [*argv, *options],
            cwd=TOP,
            env={**os.environ, **self.store.settings(), **own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path / "store") as store:
        cloud = Cloud(tmp_path, trust=store.ca_bundle)
        yield Site(store, cloud, tmp_path)
        cloud.shutdown()
        cloud.server_close()


def no_secret(site: Site, done: subprocess.CompletedProcess[str]) -> None:
    files = [
        path.read_text(errors="replace")
        for path in (site.folder / "out").rglob("*.*")
        if path.suffix in (".log", ".json")
    ]
    for text in (done.stdout, done.stderr, *files):
        for secret in ("X-Amz-Signature", KEY, SECRET):
            assert secret not in text


def test_a_green_build_is_imported_and_its_bytes_are_those_that_were_tested(site: Site) -> None:
    done = site.build("green", "green", "--json")
    assert done.returncode == 0, done.stderr[-6000:]
    (built,) = json.loads(done.stdout)["builds"]
    (image,) = site.cloud.images.values()
    assert image.sha256 == built["sha256"]
    assert site.cloud.broken == []
    assert site.store.pending() == []
    manifest = json.loads((Path(built["directory"]) / "manifest.json").read_text())
    assert manifest["publication"]["status"] == "active"
    stages = {stage["path"].partition("/")[2]: stage for stage in manifest["stages"]}
    assert stages["upload"]["start"] < stages["boot test"]["end"], "the upload waited for the test"
    no_secret(site, done)
    again = site.build("green", "green", "--if-exists", "skip")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "nothing to do" in again.stderr
    assert len(site.cloud.images) == 1


def test_a_red_build_leaves_the_bucket_empty(site: Site) -> None:
    done = site.build("red", "something else", "--boot-test", "quick")
    assert done.returncode == 5, done.stderr[-6000:]
    assert "upload" in done.stderr
    assert (site.store.keys(), site.store.pending()) == ([], [])
    assert not site.cloud.images
    no_secret(site, done)
