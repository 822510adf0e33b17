"""Which Debian mirror is chosen, over the sources that real hosts have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory import mirror
from factory.apt_sources import parse_lines, parse_stanzas
from factory.canaries import search_stream
from factory.cli.root import console_for
from factory.console import Console
from factory.customise import _canaries
from factory.errors import HostError, UsageError
from factory.layers import Identity
from factory.seed import new_keypair

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEFAULT = (mirror.ARCHIVE, mirror.SECURITY, "default")


Host = Callable[..., Path]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A function that writes files below a root folder with Debian's keyring; no settings, no proxies."""
    for name in ("FACTORY_MIRROR", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def write(**files: str) -> Path:
        for name, text in {"usr/share/keyrings/debian-archive-keyring.gpg": "", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def chosen(root: Path, suite: str = "bookworm") -> tuple[str, str, str]:
    found = mirror.debian_mirror(suite, root=root)
    return found.uri, found.security_uri, found.source


def test_a_host_without_sources_leaves_the_default(host: Host) -> None:
    assert chosen(host()) == DEFAULT


def test_stanzas_of_a_container_image(host: Host) -> None:
    text = f"""Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}
"""
    root = host(**{"etc/apt/sources.list.d/debian.sources": text})
    expected = "http://mirror.example/debian", "http://mirror.example/debian-security", "host"
    assert chosen(root) == expected
    assert chosen(root, "trixie") == expected  # a mirror has the other releases too


def test_lines_of_a_classic_installation(host: Host) -> None:
    root = host(
        **{
            "etc/apt/sources.list": """
# deb cdrom:[Debian GNU/Linux 12.5.0 _Bookworm_ - Official amd64 NETINST]/ bookworm main
deb http://ftp.de.debian.org/debian/ bookworm main non-free-firmware  # the nearest
deb-src http://ftp.de.debian.org/debian/ bookworm main non-free-firmware
deb http://security.debian.org/debian-security bookworm-security main
deb http://ftp.de.debian.org/debian/ bookworm-updates main
"""
        }
    )
    assert chosen(root) == ("http://ftp.de.debian.org/debian", "http://security.debian.org/debian-security", "host")


def test_the_suite_itself_beats_another_release(host: Host) -> None:
    root = host(
        **{
            "etc/apt/sources.list": "deb http://ftp.a.debian.org/debian bullseye main\n"
            "deb http://ftp.b.debian.org/debian bookworm main\n"
        }
    )
    assert chosen(root, "bookworm")[0] == "http://ftp.b.debian.org/debian"
    assert chosen(root, "bullseye")[0] == "http://ftp.a.debian.org/debian"
    assert chosen(root, "trixie")[0] == "http://ftp.a.debian.org/debian"


def test_the_security_archive_of_a_host_that_has_none_is_the_default(host: Host) -> None:
    root = host(**{"etc/apt/sources.list": "deb http://ftp.de.debian.org/debian bookworm main\n"})
    assert chosen(root) == ("http://ftp.de.debian.org/debian", mirror.SECURITY, "host")


def test_old_address_of_the_security_archive(host: Host) -> None:
    root = host(
        **{
            "etc/apt/sources.list": "deb http://ftp.de.debian.org/debian bookworm main\n"
            "deb http://security.debian.org/ bookworm-security main\n"
        }
    )
    assert chosen(root)[1] == "http://security.debian.org"


def test_mirror_list_of_debians_cloud_images(host: Host) -> None:
    text = """Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: trixie trixie-updates trixie-backports
Components: main

Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian-security.list
Suites: trixie-security
Components: main
"""
    root = host(
        **{
            "etc/apt/sources.list.d/debian.sources": text,
            "etc/apt/mirrors/debian.list": "# written by cloud-init\nhttps://deb.debian.org/debian\n",
            "etc/apt/mirrors/debian-security.list": "https://deb.debian.org/debian-security\n",
        }
    )
    assert chosen(root) == ("https://deb.debian.org/debian", "https://deb.debian.org/debian-security", "host")


def test_a_mirror_of_another_layout_counts_when_debian_signs_it(host: Host) -> None:
    root = host(
        **{
            "etc/apt/sources.list": f"deb [signed-by={KEYRING}] http://mirror.example/debian/packages bookworm main\n"
            f"deb [signed-by={KEYRING}] http://mirror.example/debian/security bookworm-security main\n"
        }
    )
    assert chosen(root) == ("http://mirror.example/debian/packages", "http://mirror.example/debian/security", "host")


RELEASE = "Origin: {origin}\nLabel: {label}\nSuite: stable\nCodename: bookworm\n"


@pytest.mark.parametrize(
    ("origin", "label", "taken"),
    [("Debian", "Debian", True), ("Tailscale", "Tailscale", False), ("Debian", "Debian Backports", False)],
)
def test_an_unknown_host_counts_when_apt_knows_it_as_debian(host: Host, origin: str, label: str, taken: bool) -> None:
    root = host(
        **{
            "etc/apt/sources.list": "deb http://mirror.example/debian bookworm main\n",
            "var/lib/apt/lists/mirror.example_debian_dists_bookworm_InRelease": RELEASE.format(
                origin=origin, label=label
            ),
        }
    )
    assert (chosen(root)[2] == "host") is taken


@pytest.mark.parametrize(
    "line",
    [
        "deb https://packages.example/debian bookworm main",  # nobody says that it is Debian
        "deb [signed-by=/usr/share/keyrings/tailscale.gpg] https://pkgs.tailscale.com/stable/debian bookworm main",
        "deb https://download.docker.com/linux/debian bookworm stable",
        "deb [trusted=yes] http://ftp.de.debian.org/debian bookworm main",
        "deb [ allow-insecure=1 arch=amd64 ] http://ftp.de.debian.org/debian bookworm main",
        "deb [arch=arm64] http://ftp.de.debian.org/debian bookworm main",
        "deb http://user:secret@ftp.de.debian.org/debian bookworm main",
        "deb http://ftp.de.debian.org/debian bookworm contrib",
        "deb http://ftp.de.debian.org/debian bookworm-backports main",
        "deb-src http://ftp.de.debian.org/debian bookworm main",
        "deb http://deb.debian.org/debian-ports sid main",
        "deb http://deb.debian.org/debian-debug bookworm-debug main",
        "deb cdrom:[Debian]/ bookworm main",
        "deb file:/srv/debian bookworm main",
        "deb http://archive.ubuntu.com/ubuntu noble main universe",
        "deb http://debian.org.example.com/debian bookworm main",
        "deb http://ftp.de.debian.org:port/debian bookworm main",
        "deb http://ftp.de.debian.org/debian ./",
        "deb http://ftp.de.debian.org/debian",
        "deb",
        "deb [",
        "debian is nice",
    ],
)
def test_sources_that_are_not_taken(host: Host, line: str) -> None:
    assert chosen(host(**{"etc/apt/sources.list": line + "\n"})) == DEFAULT


@pytest.mark.parametrize(
    "change",
    [
        {"Enabled": "no"},
        {"Trusted": "yes"},
        {"Types": "deb-src"},
        {"Components": "contrib"},
        {"Suites": "noble"},
        {"Architectures": "arm64"},
        {"Signed-By": "/usr/share/keyrings/other.gpg"},
        {"Signed-By": f"{KEYRING} /usr/share/keyrings/other.gpg"},
        {"Signed-By": "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEZ\n -----END PGP PUBLIC KEY BLOCK-----"},
        {"Signed-By": "../keyrings/debian-archive-keyring.gpg"},
        {"URIs": "https://u:p@mirror.example/debian"},
        {"URIs": "tor+http://mirror.example/debian"},
        {"URIs": "mirror+file:/etc/apt/absent.list"},
    ],
)
def test_stanzas_that_are_not_taken(host: Host, change: dict[str, str]) -> None:
    fields = {
        "Types": "deb",
        "URIs": "http://mirror.example/debian",
        "Suites": "bookworm",
        "Components": "main",
        "Signed-By": KEYRING,
    }
    root = host(**{"etc/apt/sources.list.d/x.sources": stanza(fields)})
    assert chosen(root)[0] == "http://mirror.example/debian"
    host(**{"etc/apt/sources.list.d/x.sources": stanza(fields | change)})
    assert chosen(root) == DEFAULT


def stanza(fields: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def test_files_that_apt_would_not_read_are_left_out(host: Host) -> None:
    line = "deb http://ftp.de.debian.org/debian bookworm main\n"
    root = host(**{"etc/apt/sources.list.d/x.list.save": line, "etc/apt/sources.list.d/x.list.disabled": line})
    assert chosen(root) == DEFAULT


def test_a_broken_file_does_not_hide_the_next(host: Host) -> None:
    root = host(**{"etc/apt/sources.list.d/b.list": "deb http://ftp.de.debian.org/debian bookworm main\n"})
    (root / "etc/apt/sources.list.d/a.sources").write_bytes(b"\xff\xfe\x00 :\n\n:::\n \x00")
    assert chosen(root)[2] == "host"


def test_options_of_a_line() -> None:
    (source,) = parse_lines(
        "deb [ arch=amd64,i386 signed-by=/a.gpg,/b.gpg lang=none ] http://m/debian/ sid main contrib"
    )
    assert source.uri == "http://m/debian"
    assert source.architectures == ("amd64", "i386")
    assert source.signed_by == ("/a.gpg", "/b.gpg")
    assert source.components == ("main", "contrib")


def test_stanza_with_several_addresses_and_windows_line_ends() -> None:
    text = "Types: deb deb-src\r\nURIs: http://a/debian\r\n http://b/debian\r\nSuites: sid\r\nComponents: main\r\n"
    assert [source.uri for source in parse_stanzas(text)] == ["http://a/debian", "http://b/debian"]


@pytest.mark.parametrize(
    ("value", "uri", "security"),
    [
        ("http://m.example/debian", "http://m.example/debian", "http://m.example/debian-security"),
        ("https://m.example/x/debian/", "https://m.example/x/debian", "https://m.example/x/debian-security"),
        (
            "http://s.example/archive/debian/20250520T000000Z",
            "http://s.example/archive/debian/20250520T000000Z",
            "http://s.example/archive/debian-security/20250520T000000Z",
        ),
        ("http://m.example/deb", "http://m.example/deb", mirror.SECURITY),
        ("http://m.example/deb http://m.example/sec/", "http://m.example/deb", "http://m.example/sec"),
        ("http://localhost:3142/deb.debian.org/debian", "http://localhost:3142/deb.debian.org/debian", None),
    ],
)
def test_factory_mirror(
    host: Host, monkeypatch: pytest.MonkeyPatch, value: str, uri: str, security: str | None
) -> None:
    monkeypatch.setenv("FACTORY_MIRROR", value)
    root = host(**{"etc/apt/sources.list": "deb http://ftp.de.debian.org/debian bookworm main\n"})
    expected = security or "http://localhost:3142/deb.debian.org/debian-security"
    assert chosen(root) == (uri, expected, "FACTORY_MIRROR")


@pytest.mark.parametrize(
    "value",
    [
        "mirror.example/debian",
        "file:///srv/debian",
        "ftp://m.example/debian",
        "http://u:p@m.example/debian",
        "http://m.example/debian?x=1",
        "http:///debian",
        "http://m.example:x/debian",
        "http://[::1/debian",
        "http://a.example/debian http://b.example/debian http://c.example/debian",
    ],
)
def test_factory_mirror_that_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FACTORY_MIRROR", value)
    with pytest.raises(UsageError, match="FACTORY_MIRROR") as caught:
        mirror.debian_mirror("bookworm", root=host(), console=Console.quiet())
    assert caught.value.hint
    assert "u:p@" not in str(caught.value)


def test_a_host_without_debians_keys(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="debian-archive-keyring") as caught:
        mirror.debian_mirror("bookworm", root=tmp_path)
    assert caught.value.status == 3


def test_this_host() -> None:
    """Whatever this host has, the answer is usable, and no password is in it."""
    if not mirror.KEYRING.is_file():
        pytest.skip("this host has no debian-archive-keyring")
    found = mirror.debian_mirror("bookworm")
    assert found.uri.startswith("http")
    assert "@" not in found.uri + found.security_uri


@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        ("http://localhost:3142/debian", "http://10.0.2.2:3142/debian"),
        ("http://127.0.0.1/debian", "http://10.0.2.2/debian"),
        ("http://127.9.8.7:80/", "http://10.0.2.2:80/"),
        ("http://[::1]:8080/x", "http://10.0.2.2:8080/x"),
        ("http://user:pass@localhost:8080", "http://user:pass@10.0.2.2:8080"),
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://192.0.2.7/", "http://192.0.2.7/"),
        ("https://deb.debian.org/debian", "https://deb.debian.org/debian"),
    ],
)
def test_addresses_as_a_guest_reaches_them(uri: str, seen: str) -> None:
    assert mirror.guest_uri(uri) == seen


def test_proxies_for_the_guest(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mirror.proxies_for_guest() == {}
    monkeypatch.setenv("no_proxy", "localhost,.example")
    assert mirror.proxies_for_guest() == {}  # it says nothing without a proxy
    monkeypatch.setenv("http_proxy", "http://localhost:3128/")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:8080")
    assert mirror.proxies_for_guest() == {
        "http_proxy": "http://10.0.2.2:3128/",
        "https_proxy": "http://proxy.example:8080",
        "no_proxy": "localhost,.example,10.0.2.2",
    }


@pytest.mark.parametrize(
    ("address", "login", "secrets"),
    [
        ("http://proxy.example:3128", "", ()),
        ("proxy.example:3128/a@b", "", ()),
        ("http://me:hunter2@proxy.example:3128", "me:hunter2", ("me:hunter2",)),  # alone it may be any word
        ("me:hunter2@proxy.example:3128", "me:hunter2", ("me:hunter2",)),
        ("http://me:correct-horse@localhost:1/", "me:correct-horse", ("correct-horse", "me:correct-horse")),
        ("http://me:hunter2%40@p.example", "me:hunter2%40", ("me:hunter2%40", "me:hunter2@")),
        ("http://a-long-token-of-mine@p.example", "a-long-token-of-mine", ("a-long-token-of-mine",)),
        ("http://me@p.example", "me", ()),
    ],
)
def test_what_of_a_proxy_is_secret(
    host: Host, monkeypatch: pytest.MonkeyPatch, address: str, login: str, secrets: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert mirror.proxy_logins() == ((login,) if login else ())
    assert mirror.proxy_secrets() == secrets


def test_no_output_shows_the_login_of_a_proxy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:hunter2@proxy.example:3128")
    console = console_for(cast(Any, SimpleNamespace(obj="text")))
    assert console.safe('Acquire::http::Proxy "http://me:hunter2@10.0.2.2";') == (
        'Acquire::http::Proxy "http://***@10.0.2.2";'
    )


def test_a_login_of_a_proxy_that_is_left_in_the_image_is_found(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:hunter2@proxy.example:3128")
    pair = new_keypair("build")
    identity = Identity("0" * 32, "52:54:00:ab:cd:ef", "factory-0123456789", "0" * 32, pair, pair)
    recipe = SimpleNamespace(values={}, secret_names=frozenset())
    searched = _canaries(identity, ["0" * 32], cast(Any, recipe))
    left = b'Acquire::http::Proxy "http://me:hunter2@10.0.2.2";'
    assert [hit.canary.kind for hit in search_stream(searched, [left], "/etc/apt/apt.conf")] == ["secret"]
