"""Accounts as an image holds them: passwd and shadow with their lines, and groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from factory.leftovers import text
from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image

PASSWD, SHADOW, GROUP, GSHADOW = "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"
UNPROVISIONED = "!unprovisioned"
"""What systemd-sysusers writes for a root whom nobody gave a password."""
NOBODY = (65533, 65534, 65535, 4294967294)
_DYNAMIC = range(61184, 65520)  # systemd gives them to services while they run
_NO_SHELLS = ("nologin", "false", "sync", "shutdown", "halt", "null", "true", "git-shell")
_HASH = re.compile(r"\$[^$:]+\$.+|[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}")

Password = Literal["none", "usable", "kept", "locked"]


@dataclass(frozen=True)
class Account:
    """A line of passwd with its line of shadow. *password* is the field that counts, at *password_place*.

    *changed*, *longest* and *expires* are shadow's days since 1970 (*longest* a number of days); None where empty.
    """

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    place: str  # /etc/passwd:7
    password: str = field(repr=False)
    password_place: str
    changed: int | None = None
    longest: int | None = None
    expires: int | None = None

    @property
    def kind(self) -> Password:
        """What the password lets in: everybody, who knows it, nobody although its hash is kept, nobody."""
        return kind(self.password)

    @property
    def login_shell(self) -> bool:
        """Whether its shell is one; without any, /bin/sh is."""
        return self.shell.rpartition("/")[2] not in _NO_SHELLS


@dataclass(frozen=True)
class Group:
    """A line of group. *password* is the field that counts, of gshadow where group points there."""

    name: str
    gid: int
    members: tuple[str, ...]
    place: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Accounts:
    """Everybody. *first_human* is the first user id that the distribution gives to people."""

    all: tuple[Account, ...]
    groups: tuple[Group, ...]
    first_human: int = 1000

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all accounts."""
        return frozenset(account.name for account in self.all)

    def named(self, name: str) -> Account | None:
        """The account of that name; the first, as the system takes it."""
        return self._first.get(name)

    @cached_property
    def _first(self) -> dict[str, Account]:
        return {account.name: account for account in reversed(self.all)}

    def human(self, account: Account) -> bool:
        """Whether an account is of a person, by its number."""
        return account.uid >= self.first_human and account.uid not in (*NOBODY, *_DYNAMIC)


@once
def read(image: Image) -> Accounts:
    """The accounts of *image*. Raises Unreadable."""
    shadow: dict[str, tuple[str, list[str]]] = {}
    for place, fields in lines(image, SHADOW, 2):
        shadow.setdefault(fields[0], (place, fields))
    accounts = []
    for place, fields in lines(image, PASSWD, 7):
        name, password, uid, gid, _, home, shell = fields[:7]
        if not uid.isdigit() or not gid.isdigit():
            continue
        password_place = place
        rest: list[str] = []
        if password == "x":  # noqa: S105
            password_place, rest = shadow.get(name, (SHADOW, ["", "*"]))
            password = rest[1]
        days = [_number(rest, index) for index in (2, 4, 7)]
        accounts.append(Account(name, int(uid), int(gid), home, shell, place, password, password_place, *days))
    gshadow = {fields[0]: fields[1] for _, fields in lines(image, GSHADOW, 2)}
    groups = []
    for place, fields in lines(image, GROUP, 4):
        if fields[2].isdigit():
            password = gshadow.get(fields[0], "!") if fields[1] in ("x", "") else fields[1]
            members = tuple(filter(None, fields[3].split(",")))
            groups.append(Group(fields[0], int(fields[2]), members, place, password))
    return Accounts(tuple(accounts), tuple(groups), _first_human(image))


def kind(password: str) -> Password:
    """What a password field lets in; see :attr:`Account.kind`."""
    if not password:
        return "none"
    if password == UNPROVISIONED:  # without its mark it is as long as a hash of DES
        return "locked"
    if _HASH.fullmatch(password):
        return "usable"
    return "kept" if _HASH.fullmatch(password.lstrip("!*")) else "locked"


def lines(image: Image, path: str, fields: int) -> Iterator[tuple[str, list[str]]]:
    """The (path:line, fields) of every line of *path* with at least so many *fields*; NIS entries are left out."""
    for number, line in enumerate((text(image, path) or "").splitlines(), 1):
        parts = line.split(":")
        if len(parts) >= fields and parts[0] and parts[0][0] not in "#+-":
            yield f"{path}:{number}", [part.strip() for part in parts]


def _number(fields: list[str], index: int) -> int | None:
    return int(fields[index]) if len(fields) > index and fields[index].isdigit() else None


def _first_human(image: Image) -> int:
    for line in (text(image, "/etc/login.defs") or "").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "UID_MIN" and words[1].isdigit():
            return int(words[1])
    return 1000
