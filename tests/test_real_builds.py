"""Every recipe of the checkout, and the other releases of Debian, built and boot-tested whole: ``make test-all``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documents import TOP

pytestmark = [pytest.mark.real, pytest.mark.slow]

LIMIT = 40 * 60  # seconds for one build on 2 cores under emulation, with its base
RELEASE = """schema: 1
name: release
version: 1.0.0
base: {base}
disk: 3GiB
upgrade: security
provision:
  - packages: [nginx-light]
  - shell: systemctl enable nginx
test:
  - service: nginx
  - http: {{port: 80, path: /, status: 200}}
  - command: {{run: cat /etc/debian_version, contains: "{number}"}}
"""


def build(recipe: str | Path, folder: Path, *options: str) -> dict[str, Any]:
    """What ``factory build --json`` says of *recipe*, which must end well; the manifest is at ``manifest``."""
    state = folder / "state"
    argv = [sys.executable, "-m", "factory", "build", str(recipe), "--json", "--output", str(folder / "out"), *options]
    done = subprocess.run(
        argv,
        cwd=TOP,
        env=os.environ | {"FACTORY_STATE": str(state), "CI": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    (built,) = json.loads(done.stdout)["builds"]
    built["manifest"] = json.loads((Path(built["directory"]) / "manifest.json").read_text())
    assert [path for name in ("builds", "ledger") for path in (state / name).iterdir()] == []
    return dict(built)


def assert_whole(built: dict[str, Any]) -> None:
    assert built["findings"]["fail"] == 0
    assert built["findings"]["pass"] > 40
    boots = {boot["name"]: boot for boot in built["manifest"]["boots"]}
    assert {name: boot["state"] for name, boot in boots.items()} == {"bios": "ok", "uefi": "ok"}
    assert [boot["reboot_seconds"] for boot in boots.values() if boot["reboot_seconds"]]


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (TOP / "recipes").glob("*.yaml")))
def test_each_recipe_builds_and_boots(recipe: str, tmp_path: Path) -> None:
    built = build(recipe, tmp_path)
    assert_whole(built)
    assert built["size"] < 400e6


@pytest.mark.parametrize(("base", "number"), [("debian-11", "11."), ("debian-13", "13.")])
def test_each_release_builds_and_boots(base: str, number: str, tmp_path: Path) -> None:
    recipe = tmp_path / "release.yaml"
    recipe.write_text(RELEASE.format(base=base, number=number))
    built = build(recipe, tmp_path)
    assert_whole(built)
    assert built["manifest"]["base"]["name"] == base
