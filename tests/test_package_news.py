"""What the archive would bring: told from apt's simulation, and from a real index."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import bases, cache, mirror
from factory.console import Console
from factory.errors import BuildError, HostError
from factory.manifest import PackageEntry
from factory.renewal import package_news, unchanged
from factory.renewal.package_news import changed, status
from factory.run import run
from tests.apt_archive import Archive, Package, archive
from tests.recipe_files import HEAD, write
from tests.test_unchanged import built, place, plan_of, stage

__all__ = ["place"]

LISTED = """Reading package lists...
Inst libssl3 [3.0.1] (3.0.2 Debian-Security:12/stable-security [amd64])
Inst tzdata [2025b] (2026a Debian:12.9/stable [all])
Inst nginx [1.22] (1.23 Debian:12.9/stable [amd64])
Inst bash [5.2] (5.2 Debian:12.9/stable [amd64])
Inst newcomer (1.0 Debian:12.9/stable [amd64])
Conf libssl3 (3.0.2 Debian-Security:12/stable-security [amd64])
"""


@pytest.mark.parametrize(
    ("upgrade", "found"),
    [("all", ["libssl3", "tzdata", "nginx"]), ("security", ["libssl3", "nginx"]), ("none", ["nginx"])],
)
def test_what_counts_is_what_the_recipe_would_bring(upgrade: str, found: list[str]) -> None:
    assert changed(LISTED, upgrade, {"libssl3", "tzdata", "bash"}) == found


def test_of_an_old_base_everything_counts() -> None:
    assert changed(LISTED, "none", set()) == ["libssl3", "tzdata", "nginx"]


def test_a_status_file_has_no_room_for_tricks(tmp_path: Path) -> None:
    packages = [
        PackageEntry(name="good", version="1:2.0~rc1-3+deb12u1", architecture="amd64"),
        PackageEntry(name="bad\nStatus: x", version="1", architecture="amd64"),
        PackageEntry(name="odd", version="1 2", architecture="amd64"),
    ]
    file = tmp_path / "status"
    file.write_text(status(packages))
    assert "bad" not in file.read_text() and "odd" not in file.read_text()
    listed = subprocess.run(
        ["dpkg-query", "--admindir", tmp_path, "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:  # where dpkg is
        assert listed.stdout == "good 1:2.0~rc1-3+deb12u1 installed\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], ""),
        (["nginx"], "there are other versions of nginx"),
        (list("abcdefg"), "other versions of a, b, c, d, e and 2 more"),
        (HostError("the repositories of a recipe are not asked"), "it cannot be told"),
        (BuildError("apt-get ended with status 100"), "it cannot be told"),
    ],
)
def test_an_old_build_counts_when_there_is_no_news(
    place: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, why: str
) -> None:
    def news(*words: object) -> list[str]:
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    monkeypatch.setattr(package_news, "news", news)
    write(place, HEAD)
    plan = plan_of(place)
    folder = built(place, plan, age=80 * 3600)
    assert unchanged.find(plan, place / "out", "full").image is None
    found = unchanged.look(plan, place / "out", "full", Console.quiet())
    assert why in found.why
    assert (found.image.folder if found.image else None) == (None if why else folder)


def test_a_step_that_fetches_is_not_asked_about(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_news, "news", lambda *_: [])
    write(place, HEAD + "provision:\n  - shell: {run: date, refresh: 1h}\n")
    plan = plan_of(place)
    built(place, plan, age=2 * 3600)
    assert "a step that fetches ran 2 hours ago" in unchanged.look(plan, place / "out", "full", Console.quiet()).why


def test_a_step_that_fetched_before_the_last_build_is_not_asked_about(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_news, "news", lambda *_: [])
    write(place, HEAD + "provision:\n  - shell: {run: date, refresh: 1h}\n  - shell: date\n")
    plan = plan_of(place)
    built(place, plan, age=1800, stages=[stage("1/2 shell", -60), stage("upgrade", 3600)])
    told = unchanged.look(plan, place / "out", "full", Console.quiet())
    assert told.image is None and "what 1/2 shell fetched in the last build, or before it" in told.why


def test_packages_of_before_the_last_build_are_asked_about(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_news, "news", lambda *_: [])
    write(place, HEAD)
    plan = plan_of(place)
    folder = built(place, plan, age=1800, stages=[stage("upgrade", -60)])
    assert unchanged.find(plan, place / "out", "full").image is None
    found = unchanged.look(plan, place / "out", "full", Console.quiet())
    assert found.image and found.image.folder == folder


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("{runcmd: ['curl -O https://example.org']}", "what cloud-init fetched is 1 day old"),
        ("{packages: [nginx]}", "no package has another version"),
    ],
)
def test_what_cloud_init_fetches_is_asked_about_when_it_is_packages(
    place: Path, monkeypatch: pytest.MonkeyPatch, more: str, told: str
) -> None:
    monkeypatch.setattr(package_news, "news", lambda *_: [])
    write(place, HEAD + f"upgrade: none\ncloud_init: {more}\n")
    plan = plan_of(place)
    built(place, plan, age=25 * 3600)
    assert told in unchanged.look(plan, place / "out", "full", Console.quiet()).why


@pytest.mark.real
def test_the_real_index_knows_what_is_old(place: Path) -> None:
    from factory.errors import CommandFailed
    from factory.recipe import load_recipe

    recipe = load_recipe(str(write(place, HEAD)))
    mine = [
        PackageEntry(name=name, version="0.1", architecture="amd64") for name in ("htop", "manpages", "no-such-package")
    ]
    try:
        assert package_news.news(recipe, "bookworm", mine, {"manpages"}, Console.quiet()) == ["htop"]
    except CommandFailed as error:
        pytest.skip(f"no archive within reach: {error.cause}")
    start = time.monotonic()
    assert package_news.news(recipe, "bookworm", mine[2:], set(), Console.quiet()) == []
    assert time.monotonic() - start < 60


def test_a_base_that_was_made_anew_brings_its_packages(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_news, "news", lambda *words: changed(LISTED, "none", words[3]))
    write(place, HEAD + "upgrade: none\nprovision:\n  - packages: [nginx]\n")
    plan = plan_of(place)
    described = [{"name": name, "version": "1"} for name in ("libssl3", "tzdata", "nginx", "bash")]

    def new_base(content: bytes) -> None:
        (place / "base").write_bytes(content)
        cache.Cache().put("base", plan.base.key, place / "base", {"packages": described})

    new_base(b"the base of the image")
    folder = built(place, plan, age=80 * 3600)
    found = unchanged.look(plan, place / "out", "full", Console.quiet())
    assert found.image and found.image.folder == folder, "what only upgrade changes does not count"
    new_base(b"a newer base, which another recipe of this night had made")
    assert bases.cached(plan.base)
    found = unchanged.look(plan, place / "out", "full", Console.quiet())
    assert found.image is None and "there are other versions of libssl3, tzdata, nginx" in found.why


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """An archive of our own in the place of Debian's."""
    with archive(tmp_path / "archive") as made:
        for suite in ("bookworm", "bookworm-updates", "bookworm-security"):
            made.publish(suite, *([Package("hello", "2.0")] if suite == "bookworm" else []))
        key = tmp_path / "key.asc"
        key.write_text(made.key)
        chosen = mirror.Mirror(made.uri, made.uri, "FACTORY_MIRROR", key)
        monkeypatch.setattr(mirror, "debian_mirror", lambda *_, **__: chosen)
        yield made


@pytest.mark.real
def test_two_builds_that_ask_at_once_are_told_of_their_own_packages(
    place: Path, own: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.recipe import load_recipe

    recipe = load_recipe(str(write(place, HEAD + "upgrade: all\n")))
    told: dict[str, list[str]] = {}
    updated, waits = threading.Event(), threading.Event()

    def slow(argv: list[str], **words: Any) -> Any:
        """Between the first one's update and its question, the other one comes along."""
        done = run(argv, **words)
        if "update" in argv and not updated.is_set():
            updated.set()
            waits.wait(10)
        return done

    class Hears(Console):
        def say(self, text: str) -> None:
            if text.startswith("Waiting for the index of bookworm"):
                waits.set()

    def ask(version: str) -> None:
        mine = [PackageEntry(name="hello", version=version, architecture="all")]
        told[version] = package_news.news(recipe, "bookworm", mine, set(), Hears.quiet())

    monkeypatch.setattr(package_news, "run", slow)
    first, second = (threading.Thread(target=ask, args=(version,)) for version in ("1.0", "2.0"))
    first.start()
    assert updated.wait(60)
    second.start()
    for each in (first, second):
        each.join(60)
    assert waits.is_set() and told == {"1.0": ["hello"], "2.0": []}
