"""The user whom cloud-init makes on every machine and gives the cloud's key to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.reading import cloud_init
from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image

_NOTHING = ("", "~", "null")
_TRUE = ("true", "1", "on", "yes")


@dataclass(frozen=True)
class DefaultUser:
    """*name* is "" when cloud-init makes none, and *why_not* says why."""

    name: str
    groups: tuple[str, ...] = ()
    shell: str = ""
    why_not: str = ""


@once
def read(image: Image) -> DefaultUser:
    """The default user of *image*; the settings are merged as cloud-init does it."""
    settings, _ = cloud_init.merged(image)
    if not settings:
        return DefaultUser("", why_not="cloud-init has no settings")
    found = configured(settings)
    if not found.get("name"):
        return DefaultUser("", why_not="system_info of cloud-init names no default_user")
    users = names(settings)
    if not users:
        return DefaultUser("", why_not="cloud-init is told of no users")
    if "default" not in users and found["name"] not in users:
        return DefaultUser("", why_not="users of cloud-init leaves out the default user")
    groups = found.get("groups", [])
    words = groups if isinstance(groups, list) else str(groups).replace(",", " ").split()
    return DefaultUser(str(found["name"]), tuple(map(str, words)), str(found.get("shell", "")))


def configured(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What cloud-init knows of the default user: of the distribution, and of ``user``, which is laid over it.

    So is what the list of users says of ``default``.
    """
    own = [
        {key: value for key, value in user.items() if key != "name"}
        for name, user in listed(settings)
        if name == "default"
    ]
    found = _distribution(settings) | _old(settings)
    for user in own:
        found |= user
    return found


def listed(settings: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The (name, what is said of it) of every user in ``users``; nothing is said of one that is only named."""
    users = settings.get("users")
    if isinstance(users, dict):
        made = set(names({"users": users}))
        return [(name, value if isinstance(value, dict) else {}) for name, value in users.items() if name in made]
    found: list[tuple[str, dict[str, Any]]] = []
    for each in users if isinstance(users, list) else [users]:
        found += [(name, each if isinstance(each, dict) else {}) for name in _named(each)]
    return found


def entries(settings: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """The (key that it is below, name, what is said of it) of the default user and of every other one."""
    name = str(configured(settings).get("name") or "the default user")
    found = [("system_info", name, _distribution(settings)), ("user", name, _old(settings))]
    return found + [("users", name if each == "default" else each, user) for each, user in listed(settings)]


def _distribution(settings: Mapping[str, Any]) -> dict[str, Any]:
    system = settings.get("system_info")
    found = system.get("default_user") if isinstance(system, dict) else None
    return found if isinstance(found, dict) else {}


def names(settings: Mapping[str, Any]) -> list[str]:
    """The users that cloud-init makes, ``default`` for the default one; none when neither users nor user is set."""
    users = settings.get("users")
    if isinstance(users, dict):
        found = [name for name, value in users.items() if isinstance(value, dict) or str(value).lower() in _TRUE]
    elif isinstance(users, list):
        found = [name for each in users for name in _named(each)]
    else:
        found = _named(users)
    return [*found, *(["default"] if _old(settings) else [])]


def _named(user: object) -> list[str]:
    if isinstance(user, dict):
        return [str(user.get("name", ""))]
    text = str(user or "").strip()
    return [] if text.lower() in _NOTHING else [name.strip() for name in text.split(",")]


def _old(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The default user as it was told before there was a list."""
    user = settings.get("user")
    if isinstance(user, str) and user.lower() not in _NOTHING:
        return {"name": user}
    return user if isinstance(user, dict) else {}
