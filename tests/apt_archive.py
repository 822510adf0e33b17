"""A small Debian archive of our own on loopback: real packages, signed, for a real apt in a guest."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

# What apt and dpkg need in a guest before its first package; the guest's own sources are none.
GUEST_FILES = {
    "etc/apt/sources.list": "",
    "var/lib/dpkg/status": "",
    **{
        f"{folder}/.keep": ""
        for folder in (
            *("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"),
            *("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/dpkg/parts"),
            *("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"),
        )
    },
}


DPKG_TABLES = Path("/usr/share/dpkg")  # dpkg knows no architecture without them


def guest_files() -> dict[str, str]:
    """The files of a guest in which apt and dpkg of this host work."""
    tables = {f"usr/share/dpkg/{file.name}": file.read_text() for file in DPKG_TABLES.glob("*table")}
    return GUEST_FILES | tables


@dataclass(frozen=True)
class Package:
    """A package that puts one file below /opt."""

    name: str
    version: str
    script: str = ""  # postinst


class Archive:
    """Suites below *folder*, served at *uri*, and the public *key* that signs them, with its *fingerprint*."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self._home = home
        self.key, self.fingerprint = self.new_key("archive")
        self.uri = ""

    def new_key(self, name: str) -> tuple[str, str]:
        """A fresh signing key: armoured public half, and fingerprint."""
        address = f"{name} <{name}@example.org>"
        self._gpg("--quick-generate-key", address, "ed25519", "sign", "never")
        listed = self._gpg("--with-colons", "--list-keys", address)
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        return self._gpg("--armor", "--export", fingerprint), fingerprint

    def publish(self, suite: str, *packages: Package, origin: str = "Test") -> None:
        """Write *suite*, with one component ``main``, anew."""
        binary = self.folder / "dists" / suite / "main" / "binary-amd64"
        binary.mkdir(parents=True, exist_ok=True)
        index = "\n".join(self._paragraph(package) for package in packages)
        (binary / "Packages").write_text(index)
        data = index.encode()
        release = (
            f"Origin: {origin}\nLabel: {origin}\nSuite: {suite}\nCodename: {suite}\nVersion: 12\n"
            "Date: Sun, 01 Nov 2026 00:00:00 UTC\nArchitectures: amd64\nComponents: main\n"
            f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages\n"
        )
        plain = binary.parents[1] / "Release"
        plain.write_text(release)
        signed = binary.parents[1] / "InRelease"
        signed.unlink(missing_ok=True)
        self._gpg("--local-user", self.fingerprint, "--clearsign", "--output", signed, plain)

    def _paragraph(self, package: Package) -> str:
        tree = self.folder / "build" / package.name
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "opt" / package.name).mkdir(parents=True)
        (tree / "opt" / package.name / "version").write_text(f"{package.version}\n")
        control = (
            f"Package: {package.name}\nVersion: {package.version}\nArchitecture: all\n"
            "Maintainer: Nobody <nobody@example.org>\nDescription: a package of the tests\n"
        )
        (tree / "DEBIAN/control").write_text(control)
        if package.script:
            (tree / "DEBIAN/postinst").write_text(f"#!/bin/sh\n{package.script}\n")
            (tree / "DEBIAN/postinst").chmod(0o755)
        name = f"pool/{package.name}_{package.version}_all.deb"
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        command: list[str | Path] = ["dpkg-deb", "--root-owner-group", "--build", tree, file]
        # Made again for another suite, it is the same file.
        subprocess.run(command, env=os.environ | {"SOURCE_DATE_EPOCH": "1"}, check=True, capture_output=True)
        data = file.read_bytes()
        return f"{control}Filename: {name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"

    def _gpg(self, *words: str | Path) -> str:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *map(str, words)]
        environment = os.environ | {"GNUPGHOME": str(self._home), "LC_ALL": "C"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        del self.headers["If-Modified-Since"]  # a suite may be published twice within one second
        super().do_GET()


@contextlib.contextmanager
def archive(folder: Path, authority: trustme.CA | None = None) -> Iterator[Archive]:
    """An archive below *folder*, by https when *authority* vouches for it; skips the test where a tool is missing."""
    for program in ("apt-get", "dpkg-deb", "gpg", "gpg-agent"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder.mkdir()
    with contextlib.ExitStack() as ending:
        folder_of_gpg = tempfile.TemporaryDirectory(prefix="gpg")  # a short path, for gpg-agent's socket is in it
        home = Path(ending.enter_context(folder_of_gpg))
        ending.callback(subprocess.run, ["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        made = Archive(folder, home)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        ending.callback(server.server_close)
        ending.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        made.uri = f"{'https' if authority else 'http'}://127.0.0.1:{server.server_port}"
        yield made
