"""What a disk that nobody described says of its boots, for a base that is a file of this host and ``factory test``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory import bases, boot_any, boot_test, boot_ways, build, inspection
from factory.console import Console
from factory.errors import MachineError
from factory.hypervisor import accelerator
from factory.recipe import load_recipe
from tests import rule_images
from tests.command_line import own_places
from tests.recipe_files import HEAD
from tests.recipe_files import write as write_recipe
from tests.rule_images import esp, on_disk, remove, write

pytestmark = pytest.mark.real

UBUNTU = write("/etc/cloud/cloud.cfg", "users: [default]\nsystem_info: {default_user: {name: ubuntu}}\n")
LATER = write("/etc/cloud/cloud.cfg.d/50-user.cfg", "system_info: {default_user: {name: rocky}}\n")
HOSTILE = write("/etc/cloud/cloud.cfg", "users: [default]\nsystem_info: {default_user: {name: '-oProxyCommand=x'}}\n")


def no_boot_code(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.write(bytes(440))


BIOS, UEFI = esp({}), on_disk(no_boot_code)
DISKS = {
    "both": ([UBUNTU], {"bios", "uefi"}, "ubuntu"),
    "bios": ([UBUNTU, LATER, BIOS], {"bios"}, "rocky"),
    "uefi": ([UBUNTU, UEFI], {"uefi"}, "ubuntu"),
    "neither is seen": ([BIOS, UEFI], {"bios", "uefi"}, "debian"),  # its boots have to tell
    "a hostile name": ([HOSTILE], {"bios", "uefi"}, ""),
    "without cloud-init": ([remove("/etc/cloud")], {"bios", "uefi"}, ""),
}


@pytest.fixture(params=list(DISKS))
def described(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An image, the firmware that boots it, and its default user."""
    own_places(tmp_path, monkeypatch)
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    changes, firmware, user = DISKS[request.param]
    return rule_images.make(tmp_path / "web.qcow2", "debian", *changes), firmware, user


def ways_of(test: boot_test.BootTest) -> set[str]:
    return {name for name in ("bios", "uefi") if getattr(test, name)}


def test_a_base_of_this_host_boots_as_it_can_and_logs_in_as_its_own_user(described: Any, tmp_path: Path) -> None:
    image, firmware, user = described
    base = bases.obtain(bases.resolve(str(image)), console=Console.quiet())
    recipe = load_recipe(str(write_recipe(tmp_path, HEAD)))
    site: Any = SimpleNamespace(base=base, plan=SimpleNamespace(recipe=recipe))
    test = build._boot_test(site, SimpleNamespace(identity=frozenset()), image, build.Options())  # type: ignore[arg-type]
    assert (ways_of(test), test.default_user) == (firmware, user or "debian")


def test_an_image_to_which_its_recipe_gave_another_user_is_entered_as_that_one(tmp_path: Path) -> None:
    image = rule_images.make(tmp_path / "web.qcow2", "debian", UBUNTU, LATER)
    recipe = load_recipe(str(write_recipe(tmp_path, HEAD)))
    base = SimpleNamespace(facts={"boot": ["bios"], "default_user": "debian"})
    site: Any = SimpleNamespace(base=base, plan=SimpleNamespace(recipe=recipe))
    customised: Any = SimpleNamespace(identity=frozenset())
    assert build._boot_test(site, customised, image, build.Options()).default_user == "rocky"
    image.write_bytes(b"")
    assert build._boot_test(site, customised, image, build.Options()).default_user == "debian"


def test_any_image_is_booted_as_it_can_be(described: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, firmware, user = described
    seen: list[boot_test.BootTest] = []

    def run(test: boot_test.BootTest, *_: object) -> boot_test.Outcome:
        seen.append(test)
        return boot_test.Outcome((), ())

    chosen = accelerator.Accelerator("tcg", "a test")
    monkeypatch.setattr(boot_any, "reap", lambda _: [])  # it would end what other runs have left on this host
    monkeypatch.setattr(boot_test, "run", run)
    monkeypatch.setattr(boot_any, "Hypervisor", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(accelerator, "choose", lambda _: chosen)
    large = load_recipe(str(write_recipe(tmp_path, HEAD + "requirements: {memory: 3GiB}\n")))
    for asked, recipe in (("", None), ("admin", large)):
        boot_any.test_image(
            image, recipe=recipe, user=asked, mode="full", accelerator="tcg", connect="", logs=None,
            console=Console.quiet(),
        )  # fmt: skip
    assert [ways_of(test) for test in seen] == [firmware] * 2
    assert [test.default_user for test in seen] == [user or "cloud-user", "admin"]
    assert [test.memory for test in seen] == [1 << 30, 3 << 30], "what the recipe asks for, as in its build"


def test_the_logs_of_a_test_that_broke_off_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 20))
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path / "state"))

    def run(test: object, hypervisor: object, work: object, partial: Path, console: object) -> boot_test.Outcome:
        (partial / "console-bios.log").write_text("panic")
        raise MachineError("it broke off")

    monkeypatch.setattr(boot_any, "reap", lambda _: [])
    monkeypatch.setattr(boot_test, "run", run)
    monkeypatch.setattr(boot_any, "Hypervisor", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(accelerator, "choose", lambda _: accelerator.Accelerator("tcg", "a test"))
    with pytest.raises(MachineError):
        boot_any.test_image(
            disk, recipe=None, user="", mode="full", accelerator="tcg", connect="", logs=tmp_path / "logs",
            console=Console.quiet(),
        )  # fmt: skip
    assert (tmp_path / "logs" / "console-bios.log").read_text() == "panic"


def test_a_disk_that_cannot_be_read_has_to_be_tried(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 20))
    with inspection.open_image(disk, format="raw") as view:
        assert boot_ways.read(view) == boot_ways.BootWays(("bios", "uefi"), "")
