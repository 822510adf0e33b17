"""The firmware that a cloud is asked to boot an image by has to find a loader on it: else it never starts there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import rule_images
from tests.command_line import inside, own_places
from tests.rule_images import esp, on_disk

pytestmark = pytest.mark.real


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
