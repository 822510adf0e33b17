"""Sources of packages that the steps of a recipe add and change, with a real apt in a guest: they count at once."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory import mirror
from factory.console import Console
from factory.customise import _customise
from factory.errors import StepFailed
from factory.layers.keys import layer_keys
from factory.recipe import load_recipe
from tests.apt_archive import Archive, Package, archive
from tests.ssh_guest import SshGuest, ssh_guest
from tests.test_packaging_in_guest import Points, debian, guest, own, recipe_of, session_of

__all__ = ["debian", "guest", "own"]

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="apt and dpkg are root of the guest with accounts of their own"),
]


def customised(guest: SshGuest, file: Path, base_kind: str = "file", *, done: int = -1, **known: Any) -> Points:
    """Run the recipe *file* after its point *done*; *known* is of the layer that the build goes on from."""
    recipe = load_recipe(str(file))
    points = Points(done)
    points.keys = layer_keys(recipe, {})
    uses = tuple(SimpleNamespace(name=each.name, why="") for each in points.keys)
    points.start = SimpleNamespace(index=done, uses=uses)
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


@pytest.mark.parametrize("warm", [False, True])
def test_commands_of_a_step_have_apts_settings_without_any_packages_step(
    debian: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    """Mirror, answers and all: also when the build goes on from a layer, of another mirror even."""
    monkeypatch.setattr(mirror, "guest_uri", str)  # this guest has the loopback address of the host
    steps = ["shell: apt-get update", "shell: apt-get -y install hello; echo $DEBIAN_FRONTEND >/var/asks"]
    with archive(tmp_path / "one") as one, archive(tmp_path / "two") as two:
        for number, ours in enumerate((one, two)):
            debian.path(f"/etc/apt/trusted.gpg.d/{number}.asc").write_text(ours.key)
            ours.publish("bookworm", Package("hello", f"{number}.0"))
            for suite in ("bookworm-updates", "bookworm-security"):
                ours.publish(suite)
        monkeypatch.setenv("FACTORY_MIRROR", f"{one.uri} {one.uri}")
        known: dict[str, Any] = {}
        if warm:
            at, sources = customised(debian, written(tmp_path / "first", steps[0]), "scratch").lists[1]
            known = {"done": 1, "lists_at": at, "sources": sources}
            monkeypatch.setenv("FACTORY_MIRROR", f"{two.uri} {two.uri}")
        customised(debian, written(tmp_path / "all", *steps), "scratch", **known)
    assert debian.path("/opt/hello/version").read_text() == ("1.0\n" if warm else "0.0\n")
    assert debian.path("/var/asks").read_text() == "noninteractive\n"


EDITS = {
    "suite": "echo 'deb https://deb.debian.org/debian/ bookworm-backports main' >>/etc/apt/sources.list",
    "own": "echo 'deb $own bookworm-backports main' >/etc/apt/sources.list",
    "gone": "rm /etc/apt/sources.list",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("last", ["packages: [more]", "shell: apt-get update && apt-get -y install more"])
def test_the_guests_own_sources_count_as_a_step_has_changed_them(
    debian: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: str, last: str
) -> None:
    """Their addresses become those of the mirror, which is in no file of the image."""
    monkeypatch.setattr(mirror, "guest_uri", str)  # this guest has the loopback address of the host
    with archive(tmp_path / "one") as ours:
        debian.path("/etc/apt/trusted.gpg.d/ours.asc").write_text(ours.key)
        ours.publish("bookworm", Package("hello", "1.0"))
        ours.publish("bookworm-updates", *[Package("more", "0.1")] * (edit == "gone"))
        ours.publish("bookworm-security", Package("hello", "2.0"))
        ours.publish("bookworm-backports", Package("more", "1.0"))
        monkeypatch.setenv("FACTORY_MIRROR", f"{ours.uri} {ours.uri}")
        steps = ["packages: [hello]", f"shell: {EDITS[edit].replace('$own', ours.uri)}", last]
        if edit in ("suite", "own"):
            customised(debian, written(tmp_path, *steps), "scratch")
            assert debian.path("/opt/more/version").read_text() == "1.0\n"
        else:
            with pytest.raises(StepFailed) as caught:
                customised(debian, written(tmp_path, *steps), "scratch")
            assert "Unable to locate package more" in caught.value.output
    assert debian.path("/opt/hello/version").read_text() == "2.0\n"
    if edit != "own":
        files = [path for path in debian.path("/etc").rglob("*") if path.is_file()]
        assert not [path for path in files if ours.uri.encode() in path.read_bytes()]


def test_commands_run_where_the_package_system_is_not_known(tmp_path: Path) -> None:
    with ssh_guest(tmp_path / "guest", {"etc/os-release": "ID=plan9\n"}) as other:
        customised(other, written(tmp_path, "shell: touch /var/ran", "shell: touch /var/more"))
        customised(other, written(tmp_path, "shell: ':'", "shell: touch /var/late"), done=1, lists_at=0.0, sources="")
        assert {"ran", "more", "late"} <= {path.name for path in other.path("/var").iterdir()}


def test_what_a_step_made_of_a_repository_stays_when_a_build_goes_on_behind_it(
    guest: SshGuest, own: Archive, tmp_path: Path
) -> None:
    file = recipe_of(tmp_path, own, "hello").file
    text = file.read_text().replace("provision:", "upgrade: none\nprovision:\n  - shell: echo '# mine' >>$source")
    file.write_text(text.replace("$source", "/etc/apt/sources.list.d/case-1.sources"))
    at, sources = customised(guest, file).lists[2]
    edited = guest.path("/etc/apt/sources.list.d/case-1.sources").read_text()
    assert edited.endswith("# mine\n")
    customised(guest, file, done=2, lists_at=at, sources=sources)
    assert guest.path("/etc/apt/sources.list.d/case-1.sources").read_text() == edited
    assert guest.path("/opt/hello/version").read_text() == "1.0\n"


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
