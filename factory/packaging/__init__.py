"""Package systems of guests: one file a system, chosen by what the guest's os-release says it is.

A member has ``FAMILIES`` (ids of os-release that it serves) and a class ``System`` with the methods of
:class:`PackageSystem`.
"""

from __future__ import annotations

import importlib
import pkgutil
import shlex
from typing import Any, Protocol

from factory.errors import StepFailed
from factory.provision.session import Session


class PackageSystem(Protocol):
    """What a package system does in a guest. Each method streams its output and raises StepFailed."""

    def prepare(self) -> None:
        """Set up what only the build needs (mirror, proxy), where it cannot reach the image."""

    def follow_sources(self) -> None:
        """Take over what a step has changed in the guest's own sources, as far as the build has a copy of them."""

    def add_repositories(self) -> None:
        """Write the recipe's repositories and their keys; they stay in the image."""

    def update(self) -> None:
        """Fetch the lists of packages, unless those that the guest has are young, and of the sources that it has."""

    def upgrade(self, which: str) -> None:
        """Upgrade ``all`` packages or those with ``security`` fixes."""

    def install(self, packages: list[str], where: str) -> None:
        """Install *packages*; *where* names the step in an error."""

    def has_lists(self) -> bool:
        """Whether the guest has lists of packages, whoever fetched them."""

    def installed(self) -> list[dict[str, str]]:
        """Name, version and architecture of every installed package."""


def families() -> list[str]:
    """The ids of os-release that some member serves, sorted."""
    return sorted(name for member in _members() for name in member.FAMILIES)


def _members() -> list[Any]:
    return [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]


def of_guest(session: Session) -> PackageSystem:
    """The package system of the guest. Raises StepFailed for a distribution that no member serves."""
    release = os_release(session.guest.read("cat /etc/os-release /usr/lib/os-release 2>/dev/null"))
    ids = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    for member in _members():
        if set(ids) & set(member.FAMILIES):
            system: PackageSystem = member.System(session, release)
            return system
    raise StepFailed(
        f"packages cannot be installed on {release.get('PRETTY_NAME') or release.get('ID') or 'this guest'}",
        cause=f"The package provisioner knows {', '.join(families())} and what is like them",
        hint="Use a base of these; or write 'upgrade: none' and install with shell steps of your own",
        code="step.no-package-system",
    )


def os_release(text: str) -> dict[str, str]:
    """The fields of an os-release file; the first of a repeated field counts."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and name.isidentifier():
            try:
                words = shlex.split(value)
            except ValueError:
                words = [value]
            fields.setdefault(name, " ".join(words))
    return fields
