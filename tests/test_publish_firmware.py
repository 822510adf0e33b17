"""The firmware that a cloud is asked to boot an image by has to find a loader on it: else it never starts there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from factory import disk
from tests import rule_images
from tests.command_line import inside, own_places
from tests.publishing_site import a_build
from tests.rule_images import esp, on_disk
from tests.test_manifest import facts

pytestmark = [pytest.mark.real, pytest.mark.beside]


def no_boot_code(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.write(bytes(440))


LOADERS = {"bios": [esp({})], "uefi": [on_disk(no_boot_code)], "bios and uefi": []}


@pytest.mark.parametrize(
    ("loaders", "options", "taken"),
    [
        ("bios", [], True),
        ("bios", ["--uefi"], False),
        ("uefi", [], False),
        ("uefi", ["--uefi"], True),
        ("bios and uefi", [], True),
        ("bios and uefi", ["--uefi"], True),
    ],
)
def test_an_image_is_taken_for_the_firmware_that_finds_its_loader(
    loaders: str,
    options: list[str],
    taken: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_places(tmp_path, monkeypatch)
    image = rule_images.make(tmp_path / "web.qcow2", "debian", *LOADERS[loaders])
    done = inside(capsys, monkeypatch)("publish", image, "--target", "mgc", "--dry-run", *options)
    assert done.returncode == (0 if taken else 5), done.stderr
    assert ("MGC-F06" in done.stderr) is not taken
    assert ("--uefi" in done.stderr) is not taken


@pytest.mark.parametrize(
    ("loaders", "boots", "options", "taken"),
    [
        ("bios", ["bios"], ["--uefi"], False),
        ("bios and uefi", ["bios"], ["--uefi"], True),
        ("bios", ["bios"], [], True),
        ("uefi", [], [], False),  # nobody saw it boot
    ],
)
def test_a_build_is_looked_at_again_for_a_firmware_that_it_was_not_booted_by(
    loaders: str,
    boots: list[str],
    options: list[str],
    taken: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_places(tmp_path, monkeypatch)
    image = rule_images.make(tmp_path / "nginx-1.10.qcow2", "debian", *LOADERS[loaders])
    content, size = image.read_bytes(), disk.info(image, "qcow2").virtual_size
    entry = facts()["image"] | {
        "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "virtual_size": size
    }  # fmt: skip
    booted = [facts()["boots"][0] | {"firmware": firmware} for firmware in boots]
    folder = a_build(tmp_path / "out" / "nginx", image=entry, boots=booted, requirements={})
    (folder / image.name).write_bytes(content)
    done = inside(capsys, monkeypatch)("publish", folder, "--target", "mgc", "--dry-run", *options)
    assert done.returncode == (0 if taken else 5), done.stderr
    assert ("MGC-F06" in done.stderr) is not taken


@pytest.mark.parametrize(
    ("boots", "options", "told"),
    [
        (None, [], {}),
        (None, ["--uefi"], {"firmware": ["uefi"]}),
        ([], [], {"architecture": "x86_64"}),
        (["bios"], [], {"architecture": "x86_64", "firmware": ["bios"]}),
        (["uefi", "bios"], [], {"architecture": "x86_64", "firmware": ["bios", "uefi"]}),
        (["bios", "uefi"], ["--uefi"], {"architecture": "x86_64", "firmware": ["uefi"]}),
    ],
)
def test_a_person_is_told_of_firmware_and_architecture_that_are_known_only(
    boots: list[str] | None,
    options: list[str],
    told: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_places(tmp_path, monkeypatch)
    image = rule_images.make(tmp_path / "web.qcow2", "debian")
    if boots is not None:
        booted = [facts()["boots"][0] | {"firmware": firmware} for firmware in boots]
        image = a_build(tmp_path / "out" / "nginx", boots=booted, targets=["generic"])
    done = inside(capsys, monkeypatch)("publish", image, "--target", "generic", "--dry-run", *options)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert {name: data[name] for name in ("architecture", "firmware") if name in data} == told
