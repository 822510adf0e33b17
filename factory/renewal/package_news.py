"""What the archive would bring to an image today: asked of the package index, without building anything.

apt on this host looks at the index of the image's own suite, in folders of its own and with the keys of its
distribution only, and is told that what the image's manifest lists is what is installed. So its own rules about
versions and archives decide, and nothing of this host's package system is read or changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from factory import cache, http, mirror
from factory.errors import HostError
from factory.files import touching, write_whole
from factory.packaging.apt import security_upgrades
from factory.run import run

if TYPE_CHECKING:
    from factory.console import Console
    from factory.manifest import PackageEntry
    from factory.recipe import Recipe

SAFE = re.compile(r"[A-Za-z0-9.+:~-]+")
INSTALL = re.compile(r"^Inst (\S+) (?:\[([^]]*)\] )?\((\S+) .*$", re.MULTILINE)


def news(
    recipe: Recipe, suite: str, packages: Iterable[PackageEntry], of_base: Collection[str], console: Console
) -> list[str]:
    """The packages that a build of *recipe* would install in another version than *packages*.

    *suite* is Debian's; *of_base* names the packages that only the recipe's ``upgrade`` changes. Raises HostError when
    it cannot be told here, CommandFailed when the archive does not answer.
    """
    if recipe.repositories:
        raise HostError("the repositories of a recipe are not asked", code="host.cannot-tell")
    folder = cache.Cache().folder("indexes") / suite
    with touching(folder, "Making a folder for package indexes"):
        for name in ("lists/partial", "archives/partial", "etc"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    source = mirror.debian_mirror(suite, console=console)
    lines = mirror.source_lines(suite, source.uri, source.security_uri)
    environment = {"APT_CONFIG": str(folder / "apt.conf")}
    reason = "to look what the archive would bring"
    with cache.lock(folder / "lock", what=f"the index of {suite}", console=console):
        # Within the lock: another build's list of packages, written now, would be taken for this one's.
        write_whole(folder / "sources.list", ("\n".join(lines) + "\n").encode(), mode=0o600)
        write_whole(folder / "status", status(packages).encode(), mode=0o600)
        write_whole(folder / "apt.conf", _configuration(folder, source.keyring, http.ca_file()).encode(), mode=0o600)
        run(["apt-get", "-q", "update"], reason=reason, package="apt", env=environment, timeout=300)
        words = ["apt-get", "-s", "-o", "Debug::NoLocking=1", "dist-upgrade"]
        listed = run(words, reason=reason, package="apt", env=environment, timeout=120).stdout
    return changed(listed, recipe.upgrade, of_base)


def changed(listed: str, upgrade: str, of_base: Collection[str]) -> list[str]:
    """Of what ``apt-get -s dist-upgrade`` *listed*, the packages that a build with this *upgrade* would bring."""
    # apt also lists the same version again, since our status file does not say what a package needs.
    newer = [found for found in INSTALL.finditer(listed) if found[2] and found[2] != found[3]]
    every = [found[1].split(":")[0] for found in newer]
    if upgrade == "all":
        return every
    lines = "\n".join(found[0] for found in newer)
    security = {name.split(":")[0] for name in security_upgrades(lines)} if upgrade == "security" else set()
    return [name for name in every if name in security or name not in of_base]


def status(packages: Iterable[PackageEntry]) -> str:
    """A dpkg status file that says of *packages* that they are installed, and nothing of what they need."""
    stanzas = []
    for package in packages:
        values = (package.name, package.version, package.architecture or "amd64")
        if all(SAFE.fullmatch(value) for value in values):
            stanzas.append(
                f"Package: {values[0]}\nStatus: install ok installed\nMaintainer: nobody\n"
                f"Architecture: {values[2]}\nVersion: {values[1]}\nDescription: in the image\n"
            )
    return "\n".join(stanzas)


def _configuration(folder: Path, keyring: Path, authorities: Path | None) -> str:
    settings: dict[str, Path | str] = {
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Etc": folder / "etc",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::Trusted": keyring,
        "Dir::Etc::TrustedParts": "/dev/null",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    if authorities is not None:
        settings["Acquire::https::CAInfo"] = authorities.absolute()
    return "".join(f'{name} "{value}";\n' for name, value in settings.items())
