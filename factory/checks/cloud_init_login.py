"""cloud-init gives the instance its keys: new host keys, and the cloud's key for the default user."""

from __future__ import annotations

import time
from collections.abc import Iterator

from factory import host_key_source
from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import accounts, cloud_init, default_user, sudoers
from factory.reading.cloud_init import CloudInit

FALSE = ("false", "no", "0", "off", "n")
TRUE = ("true", "yes", "1", "on", "y")
# Of a user in the settings: who gets in with them is no concern of the cloud's key.
KEYS = ("ssh_authorized_keys", "ssh_import_id")
_NOTHING = ("", "~", "null", "none", *FALSE)


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
    yield from _keys(settings)
    yield from _strangers(looked, settings)
    yield from _default(looked, settings)
    yield Note(f"the default user is {default_user.configured(settings.settings).get('name')}")


def _users(settings: CloudInit) -> Iterator[Problem]:
    if "default" not in default_user.names(settings.settings):
        told = "the list has no default" if "users" in settings.settings else "users is not set, so none is made"
        yield Problem(settings.path("users"), f"{settings.place('users')} ({told})")
    if not default_user.configured(settings.settings).get("name"):
        keys = ("system_info", "default_user", "name")
        yield Problem(settings.path(*keys), f"{settings.place(*keys)} (system_info.default_user.name is not set)")


def _keys(settings: CloudInit) -> Iterator[Problem]:
    """Keys that are not the cloud's, in what the settings say of any user."""
    for top, name, user in default_user.entries(settings.settings):
        for key, value in user.items():
            if key.replace("-", "_") in KEYS and not _empty(value):
                path, where = _where(settings, top, key)
                yield Problem(path, f"{where}: {key} lets somebody in as {name} on every instance")


def _strangers(looked: Looked, settings: CloudInit) -> Iterator[Problem]:
    """Users beside the default one whom nobody allowed, as far as they have rights or a password that is not locked."""
    own = str(default_user.configured(settings.settings).get("name", ""))
    known = looked.know(accounts.read)
    for name, user in default_user.listed(settings.settings):
        # cloud-init leaves accounts that are there as they are; SH07 judges those.
        if name in ("", "default", "root", own, *looked.allow_users) or known.named(name):
            continue
        said = {key.replace("-", "_"): value for key, value in user.items()}
        if all(_empty(said.get(key)) for key in ("sudo", "doas")) and str(said.get("lock_passwd")).lower() not in FALSE:
            continue
        path = settings.path("users")
        told = f"{settings.place('users')}: cloud-init makes {name} on every instance, whom nobody allowed"
        yield Problem(path, told, fix=f"Take {name} out of users in {path}, or allow that user")


def _default(looked: Looked, settings: CloudInit) -> Iterator[Problem]:
    """What keeps the default user out, or without rights, although it gets the cloud's key."""
    user = default_user.configured(settings.settings)
    name = str(user.get("name") or "")
    if not name:
        return

    def problem(key: str, why: str, fix: str, *, warn: bool = False) -> Problem:
        top = next(
            (
                top
                for top, _, said in reversed(default_user.entries(settings.settings))
                if key in said and top != "users"
            ),
            "users",
        )
        path, where = _where(settings, top, key)
        return Problem(path, f"{where}: {key}: {user.get(key)} ({why})", warn, f"{fix} in {path}")

    if name == "root":
        # The key is written twice, the second time with a command that sends whoever comes away.
        if settings.word("disable_root") not in FALSE:
            fix = "Name another default_user, or set disable_root: false,"
            yield problem("name", "disable_root keeps root out, by default too", fix)
        return
    shell = str(user.get("shell") or "")
    if looked.know(accounts.read).named(name) is None and shell.startswith("/"):  # else the account's own counts
        if not looked.image.exists(shell):
            yield problem("shell", "is not there, so nobody gets in", "Name a shell that is there")
        elif shell.rpartition("/")[2] in ("nologin", "false", "true"):
            yield problem("shell", "lets nobody in", "Name a shell")
    if _past(str(user.get("expiredate") or "")):
        yield problem("expiredate", "has passed", "Take expiredate out of default_user")
    for key in ("ssh_redirect_user", "no_create_home"):
        if str(user.get(key, "")).lower() in TRUE:
            why = "is for users who do not log in themselves" if key == "ssh_redirect_user" else "keys need a home"
            yield problem(key, why, f"Take {key} out of default_user", warn=True)
    yield from _rights(looked, settings, name, user)


def _rights(looked: Looked, settings: CloudInit, name: str, user: dict[str, object]) -> Iterator[Problem]:
    """Whether the default user can become root: by cloud-init's rule of sudo, by one that is there, or by doas."""
    rules = user.get("sudo")
    given = [str(each) for each in (rules if isinstance(rules, list) else [rules]) if not _empty(each)]
    path, where = _where(settings, "system_info", "sudo" if given else "name")
    fix = f'Write sudo: ["ALL=(ALL) NOPASSWD:ALL"] below default_user in {path}'
    for each in given:
        if fault := sudoers.fault(f"{name} {each}"):
            yield Problem(path, f"{where}: sudo: {each} ({fault})", fix=fix)
    if given and any(looked.image.exists(path) for path in sudoers.PROGRAMS):
        return
    if not _empty(user.get("doas")) or any(looked.image.exists(path) for path in ("/etc/doas.conf", "/etc/doas.d")):
        return
    words = default_user.read(looked.image).groups
    who = {name, "ALL", *(f"%{group}" for group in words)}
    if given:
        told = f"{where}: sudo is not installed, so {name} cannot become root"
        yield Problem(path, told, True, "Install sudo")
    elif not any(grant.who in who and grant.no_password for grant in looked.know(sudoers.read).grants):
        yield Problem(path, f"{where}: {name} is given no sudo, so nobody can become root", True, fix)


def _where(settings: CloudInit, top: str, key: str) -> tuple[str, str]:
    """The last file that has *key* and something below *top*, and ``path:line`` of the key."""
    for part in reversed(settings.parts):
        if top in (part.settings or {}) and (number := part.line(key)):
            return part.path, f"{part.path}:{number}"
    return settings.path(top), settings.path(top)


def _past(day: str) -> bool:
    try:
        return time.mktime(time.strptime(day[:10], "%Y-%m-%d")) <= time.time()
    except (ValueError, OverflowError):
        return False


def _empty(value: object) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and value.strip().lower() in _NOTHING)
