"""cloud-init gives the instance its keys: new host keys, and the cloud's key for the default user."""

from __future__ import annotations

from collections.abc import Iterator

from factory import host_key_source
from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import cloud_init, default_user
from factory.reading.cloud_init import CloudInit

FALSE = ("false", "no", "0", "off", "n")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    settings = looked.know(cloud_init.read)
    if not settings.program:
        raise NotApplicable("cloud-init is not installed")
    if settings.word("allow_public_ssh_keys") in FALSE:
        yield Problem(settings.path("allow_public_ssh_keys"), settings.place("allow_public_ssh_keys"))
    if settings.word("ssh_deletekeys") in FALSE:  # an image has none to delete; an image of its instance would
        yield Problem(settings.path("ssh_deletekeys"), settings.place("ssh_deletekeys"), warn=True)
    if settings.word("disable_root") in FALSE:
        yield Problem(settings.path("disable_root"), settings.place("disable_root"), warn=True)
    types = settings.settings.get("ssh_genkeytypes")
    none = "ssh_genkeytypes" in settings.settings and not (isinstance(types, list) and types)
    if none and host_key_source.missing(looked.image):  # RHEL 7 leaves them to sshd's own units
        yield Problem(settings.path("ssh_genkeytypes"), f"{settings.place('ssh_genkeytypes')} (no host key is made)")
    for key in ("ssh_keys", "ssh_authorized_keys"):
        if settings.get(key):
            place = settings.place(key).rsplit(": ", 1)[0]
            yield Problem(settings.path(key), f"{place}: {key} gives every instance the same keys")
    yield from _users(settings)
    yield Note(f"the default user is {default_user.configured(settings.settings).get('name')}")


def _users(settings: CloudInit) -> Iterator[Problem]:
    if "default" not in default_user.names(settings.settings):
        told = "the list has no default" if "users" in settings.settings else "users is not set, so none is made"
        yield Problem(settings.path("users"), f"{settings.place('users')} ({told})")
    if not default_user.configured(settings.settings).get("name"):
        keys = ("system_info", "default_user", "name")
        yield Problem(settings.path(*keys), f"{settings.place(*keys)} (system_info.default_user.name is not set)")
