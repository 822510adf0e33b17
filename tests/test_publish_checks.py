"""A build that goes to another target keeps its rules too, but for what the recipe lets the checks pass."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import disk
from factory.manifest import read_manifest
from tests import rule_images
from tests.command_line import Done, inside, own_places
from tests.publishing_site import a_build
from tests.rule_images import append, replace
from tests.test_manifest import facts

pytestmark = [pytest.mark.real, pytest.mark.beside]


@pytest.fixture
def factory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    own_places(tmp_path, monkeypatch)
    return inside(capsys, monkeypatch)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with an account of a person (SH07) and a root without a password (GEN-G31)."""
    return rule_images.make(
        tmp_path_factory.mktemp("image") / "nginx-1.10.qcow2",
        "debian",
        append("/etc/passwd", "app:x:1001:1001::/home/app:/bin/sh\n"),
        append("/etc/shadow", "app:*:19700:0:99999:7:::\n"),
        replace("/etc/shadow", "root:*:", "root::"),
    )


ALLOWED = {"ignore": {"GEN-G31": "the console is locked away"}, "allow_users": ["app"]}


@pytest.mark.parametrize(
    ("checks", "refusing"),
    [
        (ALLOWED, []),
        (ALLOWED | {"ignore": {}}, ["GEN-G31"]),
        (ALLOWED | {"allow_users": []}, ["SH07"]),
        (ALLOWED | {"required_disk": 1 << 20}, ["MGC-F04"]),
        (None, ["GEN-G31", "SH07"]),  # as an older factory wrote it
    ],
)
def test_what_the_recipe_lets_pass_passes_for_another_target_too(
    accepted: Path, checks: dict[str, Any] | None, refusing: list[str], tmp_path: Path, factory: Callable[..., Done]
) -> None:
    content = accepted.read_bytes()
    size = disk.info(accepted, "qcow2").virtual_size
    sha256 = hashlib.sha256(content).hexdigest()
    entry = facts()["image"] | {"size": len(content), "sha256": sha256, "virtual_size": size}
    folder = a_build(tmp_path / "out" / "nginx", image=entry, targets=["generic"], checks=checks)
    (folder / accepted.name).write_bytes(content)
    done = factory("publish", folder, "--target", "mgc", "--dry-run")
    assert done.returncode == (5 if refusing else 0), done.stderr
    told = re.search(r"findings refuse it: ([A-Z0-9, -]+)", done.stderr)
    assert sorted(told[1].split(", ") if told else []) == refusing


def test_the_path_of_a_builds_image_means_the_build(tmp_path: Path, factory: Callable[..., Done]) -> None:
    folder = a_build(tmp_path / "out" / "nginx", targets=["generic"])
    (image,) = folder.glob("*.qcow2")
    by_path = json.loads(factory("publish", image, "--target", "generic", "--dry-run", "--json").stdout)
    assert by_path == json.loads(factory("publish", folder, "--target", "generic", "--dry-run", "--json").stdout)
    alone = tmp_path / image.name
    alone.write_bytes(image.read_bytes())
    assert factory("publish", alone, "--target", "generic", "--dry-run").returncode == 5, "which nobody looked at"
    image.write_bytes(b"something else")
    changed = factory("publish", image, "--target", "generic", "--dry-run")
    assert (changed.returncode, "[publish.image-changed]" in changed.stderr) == (6, True)


def test_a_build_without_a_target_was_checked_by_the_rules_of_generic(
    tmp_path: Path, factory: Callable[..., Done]
) -> None:
    folder = a_build(tmp_path / "out" / "nginx", targets=[])  # bytes that no rule would pass
    done = factory("publish", folder, "--target", "generic", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert factory("publish", folder, "--target", "mgc", "--dry-run").returncode == 5
    assert read_manifest(folder).targets == ()
