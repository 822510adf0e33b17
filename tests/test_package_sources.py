"""Sources of packages that the steps of a recipe add and change, with a real apt in a guest: they count at once."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory.console import Console
from factory.customise import _customise
from factory.recipe import load_recipe
from tests.apt_archive import Archive, Package
from tests.ssh_guest import SshGuest
from tests.test_packaging_in_guest import Points, guest, own, session_of

__all__ = ["guest", "own"]

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="apt and dpkg are root of the guest with accounts of their own"),
]


def customised(guest: SshGuest, file: Path, base_kind: str = "file", *, done: int = -1, **known: Any) -> Points:
    """Run the steps of the recipe *file* after the first *done*; *known* is of the layer that the build goes on from.

    It has neither upgrade nor repositories, so a point is a step.
    """
    recipe = load_recipe(str(file))
    points = Points(done)
    names = ["boot", *(f"{number}/{len(recipe.provision)}" for number in range(1, len(recipe.provision) + 1))]
    points.start = SimpleNamespace(index=done, uses=tuple(SimpleNamespace(name=name, why="") for name in names))
    begun = SimpleNamespace(machine=None, identity=None, seed_size=1, **known)
    with session_of(guest, recipe, base_kind) as session:
        _customise(session, cast(Any, begun), cast(Any, points), Console.quiet())
    return points


def written(folder: Path, *steps: str) -> Path:
    """A recipe of these steps."""
    head = "schema: 1\nname: case\nversion: 1.0.0\nbase: debian-12\nupgrade: none\nprovision:\n"
    folder.mkdir(exist_ok=True)
    (folder / "case.yaml").write_text(head + "".join(f"  - {step}\n" for step in steps))
    return folder / "case.yaml"


def source(own: Archive, suite: str, words: str = "signed-by=/etc/apt/own.asc") -> str:
    """A line of a sources.list."""
    return f"deb [{words}] {own.uri} {suite} main"


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("change", "fetched"),
    [
        ('echo "{line}" >/etc/apt/sources.list.d/more.list', True),
        ('echo "{line}" >/etc/apt/sources.list', True),
        ("dpkg --add-architecture i386", True),
        ("rm -r /var/lib/apt/lists/*", True),
        ("touch /etc/apt/sources.list.d/first.list", False),
    ],
)
def test_the_lists_are_fetched_again_when_a_step_has_changed_the_sources(
    guest: SshGuest, own: Archive, tmp_path: Path, change: str, fetched: bool, warm: bool
) -> None:
    """Also by a build that goes on from a layer behind that step."""
    own.publish("extra", Package("more", "1.0"))
    guest.path("/etc/apt/own.asc").write_text(own.key)
    guest.path("/etc/apt/sources.list.d/first.list").write_text(source(own, "stable") + "\n")
    wanted = "more" if "line" in change else "other"
    steps = ["packages: [hello]", f"shell: '{change.format(line=source(own, 'extra'))}'", f"packages: [{wanted}]"]
    if warm:
        first = customised(guest, written(tmp_path / "first", *steps[:2]))
        at, sources = first.lists[2]
        points = customised(guest, written(tmp_path / "all", *steps), done=2, lists_at=at, sources=sources)
    else:
        points = customised(guest, written(tmp_path / "all", *steps))
        at, sources = points.lists[1]
    assert guest.path(f"/opt/{wanted}/version").read_text() == "1.0\n"
    assert (points.lists[3][0] != at) == fetched


def test_a_version_of_a_source_that_a_step_adds_is_the_one_that_is_installed(
    guest: SshGuest, own: Archive, tmp_path: Path
) -> None:
    own.publish("newer", Package("other", "2.0"))
    guest.path("/etc/apt/own.asc").write_text(own.key)
    guest.path("/etc/apt/sources.list").write_text(source(own, "stable") + "\n")
    (tmp_path / "case").mkdir()
    (tmp_path / "case/newer.list").write_text(source(own, "newer") + "\n")
    copied = "copy: {source: newer.list, destination: /etc/apt/sources.list.d/newer.list}"
    customised(guest, written(tmp_path, "packages: [hello]", copied, "packages: [other]"))
    assert guest.path("/opt/other/version").read_text() == "2.0\n"
