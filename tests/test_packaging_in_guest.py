"""A real apt in a guest, with a signed archive of our own: installing, upgrading, and what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trustme

from factory import mirror
from factory.console import Console
from factory.customise import _customise
from factory.errors import StepFailed
from factory.layers.keys import LayerKey
from factory.packaging import apt
from factory.provision import run_steps
from factory.provision.packages import system_of
from factory.provision.session import FOLDER, Session
from factory.recipe import Recipe, load_recipe
from tests.apt_archive import Archive, Package, archive, guest_files
from tests.ssh_guest import FILES, SshGuest, ssh_guest

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="apt and dpkg are root of the guest with accounts of their own"),
]
PASSWD = {"etc/passwd": FILES["etc/passwd"] + "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with archive(tmp_path_factory.mktemp("apt") / "archive") as made:
        made.publish(
            "stable", Package("hello", "1.0"), Package("other", "1.0"), Package("broken", "1", "echo dying; exit 9")
        )
        yield made


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[SshGuest]:
    with ssh_guest(tmp_path / "guest", guest_files() | PASSWD) as running:
        yield running


@pytest.fixture
def debian(guest: SshGuest) -> SshGuest:
    """A guest with the sources of a base that is built here."""
    lines = mirror.source_lines("bookworm", mirror.ARCHIVE, mirror.SECURITY)
    guest.path("/etc/apt/sources.list").write_text("\n".join(lines) + "\n")
    return guest


def recipe_of(
    folder: Path, own: Archive, packages: str, *, uri: str = "", key: str = "", suite: str = "stable"
) -> Recipe:
    file = folder / "recipes/case.yaml"
    (file.parent / "case").mkdir(parents=True)
    chosen = key or own.key
    (file.parent / "case/k.asc").write_text(chosen)
    fingerprint = own.fingerprint
    if key:
        from factory.openpgp import fingerprints

        (fingerprint,) = fingerprints(key.encode())
    file.write_text(
        "schema: 1\nname: case\nversion: 1.0.0\nbase: debian-12\nrepositories:\n"
        f"  - {{uri: {uri or own.uri}, suite: {suite}, components: [main], key: k.asc, fingerprint: {fingerprint}}}\n"
        f"provision:\n  - packages: [{packages}]\n"
    )
    return load_recipe(str(file))


@contextmanager
def session_of(guest: SshGuest, recipe: Recipe, base_kind: str = "file") -> Iterator[Session]:
    with guest.connect() as connected:
        connected.run(f"install -d -m 0700 {FOLDER}")
        yield Session(connected, recipe, Console.quiet(), base_kind, lambda: True)


def build(guest: SshGuest, recipe: Recipe) -> Session:
    with session_of(guest, recipe) as session:
        run_steps(session, Console.quiet())
        return session


def test_a_package_of_a_signed_repository(guest: SshGuest, own: Archive, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, own, "hello, other=1.0")
    with session_of(guest, recipe) as session:
        run_steps(session, Console.quiet())
        names = {package["name"]: package for package in system_of(session).installed()}
        assert names["hello"] == {"name": "hello", "version": "1.0", "architecture": "all"}
        assert set(names) == {"hello", "other"}
    assert guest.path("/opt/hello/version").read_text() == "1.0\n"
    assert guest.path("/etc/apt/sources.list.d/case-1.sources").read_text() == (
        f"Types: deb\nURIs: {own.uri}\nSuites: stable\nComponents: main\nSigned-By: /etc/apt/keyrings/case-1.asc\n"
    )
    assert guest.path("/etc/apt/keyrings/case-1.asc").read_text() == own.key
    assert guest.path("/etc/apt/keyrings/case-1.asc").stat().st_mode & 0o777 == 0o644
    # What only the build needs lies in the guest's memory.
    assert not list(guest.path("/etc/apt/apt.conf.d").glob("*factory*"))
    assert guest.path("/etc/apt/sources.list").read_text() == ""


def test_an_archive_that_an_authority_of_our_own_vouches_for(
    guest: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with archive(tmp_path / "archive", authority) as ours:
        ours.publish("stable", Package("hello", "1.0"))
        with pytest.raises(StepFailed) as caught:
            build(guest, recipe_of(tmp_path / "a", ours, "hello"))
        assert "certificate" in caught.value.output.lower()
        monkeypatch.setenv("FACTORY_CA_BUNDLE", str(tmp_path / "ca.pem"))
        build(guest, recipe_of(tmp_path / "b", ours, "hello"))
    assert guest.path("/opt/hello/version").read_text() == "1.0\n"
    known = authority.cert_pem.bytes().split(b"\n")[1]
    assert not [path for path in guest.path("/etc").rglob("*") if path.is_file() and known in path.read_bytes()]


def test_a_host_that_needs_no_proxy(
    guest: SshGuest, own: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "RETRIES", 0)
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    monkeypatch.setattr(mirror, "guest_uri", lambda uri: uri.replace("192.0.2.1", "127.0.0.1"))
    with pytest.raises(StepFailed) as caught:
        build(guest, recipe_of(tmp_path / "a", own, "hello"))
    assert caught.value.code == "step.archive-unreachable"
    monkeypatch.setenv("no_proxy", "example.org,127.0.0.1")
    build(guest, recipe_of(tmp_path / "b", own, "hello"))
    assert guest.path("/opt/hello/version").read_text() == "1.0\n"


def test_a_package_that_does_not_exist(guest: SshGuest, own: Archive, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        build(guest, recipe_of(tmp_path, own, "hello, helo"))
    assert (caught.value.code, caught.value.status) == ("step.package-unknown", 4)
    assert "helo" in caught.value.cause
    assert "step 1 (packages, case.yaml line 8)" in caught.value.message
    assert not guest.path("/opt/hello").exists()


def test_a_version_that_does_not_exist(guest: SshGuest, own: Archive, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        build(guest, recipe_of(tmp_path, own, "hello=9.9"))
    assert caught.value.code == "step.package-unknown"
    assert "9.9" in caught.value.cause


def test_a_package_whose_script_fails(guest: SshGuest, own: Archive, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        build(guest, recipe_of(tmp_path, own, "broken"))
    assert caught.value.code == "step.failed"
    assert "dying" in caught.value.output


def test_a_key_that_did_not_sign_the_repository(guest: SshGuest, own: Archive, tmp_path: Path) -> None:
    stranger, _ = own.new_key("stranger")
    with pytest.raises(StepFailed) as caught:
        build(guest, recipe_of(tmp_path, own, "hello", key=stranger))
    assert caught.value.code == "step.repository-signature"
    assert not guest.path("/opt/hello").exists()


def test_an_archive_that_does_not_answer_is_told_as_such(
    guest: SshGuest, own: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt-get update calls it a warning; the build would go on with the lists that it has, or with none."""
    monkeypatch.setattr(apt, "RETRIES", 0)
    with pytest.raises(StepFailed) as caught:
        build(guest, recipe_of(tmp_path, own, "hello", uri="http://127.0.0.1:9"))
    assert caught.value.code == "step.archive-unreachable"
    assert "127.0.0.1:9" in caught.value.cause


def test_a_suite_that_the_archive_does_not_have(guest: SshGuest, own: Archive, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        build(guest, recipe_of(tmp_path, own, "hello", suite="stabel"))
    assert "stabel" in caught.value.output


@pytest.mark.parametrize(("which", "versions"), [("all", ["2.0", "2.0"]), ("security", ["2.0", "1.0"])])
def test_upgrades(guest: SshGuest, tmp_path: Path, which: str, versions: list[str]) -> None:
    with archive(tmp_path / "archive") as ours:
        ours.publish("stable", Package("hello", "1.0"), Package("other", "1.0"))
        recipe = recipe_of(tmp_path, ours, "hello, other")
        ours.publish("stable-security", Package("hello", "1.0"), origin="Debian-Security")
        build(guest, recipe)
        ours.publish("stable", Package("hello", "1.0"), Package("other", "2.0"))
        ours.publish("stable-security", Package("hello", "2.0"), origin="Debian-Security")
        security = guest.path("/etc/apt/sources.list.d/case-1.sources")
        extra = guest.path("/etc/apt/sources.list.d/security.sources")
        extra.write_text(security.read_text().replace("Suites: stable", "Suites: stable-security"))
        with session_of(guest, recipe) as session:
            system_of(session).upgrade(which)
    assert [guest.path(f"/opt/{name}/version").read_text().strip() for name in ("hello", "other")] == versions


def test_a_version_that_the_mirror_lacks_is_passed_over(
    debian: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive(tmp_path / "archive") as ours:
        monkeypatch.setenv("FACTORY_MIRROR", f"{ours.uri} {ours.uri}")
        monkeypatch.setattr(mirror, "guest_uri", str)  # this guest has the loopback address of the host
        debian.path("/etc/apt/trusted.gpg.d/ours.asc").write_text(ours.key)
        ours.publish("bookworm", Package("hello", "1.0"), Package("other", "1.0"))
        ours.publish("bookworm-updates")
        ours.publish("bookworm-security", Package("hello", "2.0~rc1"), origin="Debian-Security")
        (ours.folder / "pool/hello_2.0~rc1_all.deb").unlink()
        (tmp_path / "case.yaml").write_text(
            "schema: 1\nname: case\nversion: 1.0.0\nbase: debian-12\nprovision:\n  - packages: [hello, other]\n"
        )
        with session_of(debian, load_recipe(str(tmp_path / "case.yaml")), "scratch") as session:
            run_steps(session, Console.quiet())
            pins = session.guest.run(f"cat {apt.PINS}").stdout
    assert debian.path("/opt/hello/version").read_text() == "1.0\n"
    assert "Pin: version *2.0~rc1\n" in pins
    assert not [path for path in debian.path("/etc/apt").rglob("*") if path.is_file() and b"2.0" in path.read_bytes()]


class Points:
    """The points of a build of two steps, and what a layer of each would know of the guest's package lists."""

    def __init__(self, done: int) -> None:
        uses = tuple(SimpleNamespace(name=name, why="") for name in ("boot", "1/2 packages", "2/2 packages"))
        self.start = SimpleNamespace(index=done, uses=uses)
        self.keys: tuple[LayerKey, ...] = ()
        self.lists: dict[int, tuple[float, str]] = {}

    def came_to(
        self, index: int, _machine: object, _identity: object, _size: int, *lists: Any, why_shut: Callable[[], str]
    ) -> None:
        self.lists[index] = lists
        assert why_shut() == "", "a guest without sshd cannot be asked"


@pytest.mark.parametrize(
    ("moved", "step"),
    [(True, "packages: [other]"), (True, "shell: apt-get -y install other"), (False, "packages: [other]")],
)
def test_a_mirror_that_was_changed_since_the_layer_is_asked_for_its_lists(
    debian: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool, step: str
) -> None:
    monkeypatch.setattr(mirror, "guest_uri", str)  # this guest has the loopback address of the host
    text = "schema: 1\nname: case\nversion: 1.0.0\nbase: debian-12\nupgrade: none\nprovision:\n  - packages: [hello]\n"

    def goes_on(ours: Archive, **known: Any) -> Points:
        """A build of one step; of a second one, with what is *known* of the layer of the first."""
        (tmp_path / "case.yaml").write_text(text + (f"  - {step}\n" if known else ""))
        recipe = load_recipe(str(tmp_path / "case.yaml"))
        monkeypatch.setenv("FACTORY_MIRROR", f"{ours.uri} {ours.uri}")
        points = Points(1 if known else -1)
        begun = SimpleNamespace(machine=None, identity=None, seed_size=1, **known)
        with session_of(debian, recipe, "scratch") as session:
            _customise(session, cast(Any, begun), cast(Any, points), Console.quiet())
        return points

    with archive(tmp_path / "one") as one, archive(tmp_path / "two") as two:
        for number, ours in enumerate((one, two)):
            debian.path(f"/etc/apt/trusted.gpg.d/{number}.asc").write_text(ours.key)
            ours.publish("bookworm", Package("hello", "1.0"), Package("other", "1.0"))
            for suite in ("bookworm-updates", "bookworm-security"):
                ours.publish(suite)
        at, sources = goes_on(one).lists[1]
        again = goes_on(two if moved else one, lists_at=at, sources=sources)
    assert debian.path("/opt/other/version").read_text() == "1.0\n"
    assert (again.lists[2] != (at, sources)) == moved, "lists that are young and of this mirror are not fetched again"


def test_what_only_the_build_needs(
    debian: SshGuest, own: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_MIRROR", "http://localhost:3142/debian http://mirror.example/debian-security")
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:3128")
    with session_of(debian, recipe_of(tmp_path, own, "hello"), "scratch") as session:
        system_of(session)
        config = session.guest.run(f"cat {apt.CONFIG}").stdout
        assert 'Acquire::http::Proxy "http://user:secret@10.0.2.2:3128";' in config
        assert f'Dir::Etc::SourceList "{apt.SOURCES}";' in config
        assert session.guest.run(f"cat {apt.SOURCES}").stdout.splitlines() == [
            "deb http://10.0.2.2:3142/debian bookworm main",
            "deb http://10.0.2.2:3142/debian bookworm-updates main",
            "deb http://mirror.example/debian-security bookworm-security main",
        ]
        assert session.guest.run(f"stat -c %a {FOLDER}").stdout == "700\n"  # the proxy's password is below it
        assert session.environment["APT_CONFIG"] == apt.CONFIG
    everything = [path for path in debian.path("/etc").rglob("*") if path.is_file()]
    assert not [path for path in everything if "10.0.2.2" in path.read_text(errors="replace")]
