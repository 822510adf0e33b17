"""The user whom cloud-init makes on every machine and gives the cloud's key to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.reading import cloud_init
from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image


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
    system = settings.get("system_info")
    found = system.get("default_user") if isinstance(system, dict) else None
    named = settings.get("user")
    if isinstance(named, str) and named:
        found = {**(found if isinstance(found, dict) else {}), "name": named}
    elif isinstance(named, dict):
        found = {**(found if isinstance(found, dict) else {}), **named}
    if not isinstance(found, dict) or not found.get("name"):
        return DefaultUser("", why_not="system_info of cloud-init names no default_user")
    users = settings.get("users", ["default"])
    listed = users if isinstance(users, list) else str(users).split(",")
    if not any(each == "default" or (isinstance(each, dict) and each.get("name") == found["name"]) for each in listed):
        return DefaultUser("", why_not="users of cloud-init leaves out the default user")
    groups = found.get("groups", [])
    words = groups if isinstance(groups, list) else str(groups).replace(",", " ").split()
    return DefaultUser(str(found["name"]), tuple(map(str, words)), str(found.get("shell", "")))
