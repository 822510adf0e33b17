"""``packages``: install packages with the guest's own package system."""

from __future__ import annotations

from factory import packaging
from factory.errors import StepFailed
from factory.provision.session import Session
from factory.recipe import PackagesStep


def apply(step: PackagesStep, session: Session, where: str) -> None:
    """Install the packages of *step*."""
    system_of(session).install(list(step.packages), where)


def system_of(session: Session) -> packaging.PackageSystem:
    """The session's package system, found and prepared at its first use."""
    if session.packages is None:
        system = packaging.of_guest(session)
        system.prepare()
        if not session.has_repositories:
            system.add_repositories()
        session.packages = system
    return session.packages


def prepared(session: Session) -> packaging.PackageSystem | None:
    """The same for what may do without: None in a guest whose package system is not known."""
    try:
        return system_of(session)
    except StepFailed as error:
        if error.code != "step.no-package-system":
            raise
        return None
