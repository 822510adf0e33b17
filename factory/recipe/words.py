"""The words a recipe may hold: names, paths, packages, addresses, and the mistakes people make in them.

Each is a :class:`~factory.recipe.kinds.Kind` to put in a field's annotation. What is allowed is narrow on purpose:
these words end up in shell commands, apt sources and file names, and none may be taken for an option there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from pydantic.json_schema import JsonSchemaValue

from factory.quoting import quote
from factory.recipe.kinds import Kind, Match, wrong

BASE_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
_PIN = r"(?:@sha256:[0-9A-Fa-f]{64})?"
_PACKAGE = r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](?::[a-z0-9-]+)?(?:=[0-9A-Za-z][0-9A-Za-z.+~:-]*\*?)?"
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,30}\$?|[0-9]{1,9}"
_URI = r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~!$&()*+,;=:@%/-]*)?"
_VARIABLE = r"(?!(?:http|https|ftp|all|no)_proxy$)[a-z][a-z0-9_]{0,62}"


def _name_advice(text: str) -> str:
    if "/" in text:
        return "it is a name, not a path"
    lowered = text.lower()
    return f"write {quote(lowered)}" if lowered != text and re.fullmatch(BASE_NAME, lowered) else ""


def _package_advice(text: str) -> str:
    if text.startswith("-"):
        return "options are not packages"
    if len(text.split()) > 1:
        return "one package an item: write each in a line of its own"
    if text.endswith("-"):
        return "a name that ends with - would tell apt to remove the package"
    lowered = text.lower()
    return f"write {quote(lowered)}" if lowered != text and re.fullmatch(_PACKAGE, lowered) else ""


def _account_advice(text: str) -> str:
    return "owner and group are two fields" if ":" in text else ""


def _variable_advice(text: str) -> str:
    if text.endswith("_proxy"):
        return "that name belongs to the proxy settings"
    lowered = text.lower().replace("-", "_")
    return f"write {quote(lowered)}" if re.fullmatch(_VARIABLE, lowered) else ""


def _fingerprint_advice(text: str) -> str:
    digits = len(re.sub(r"[\s:]", "", text).removeprefix("0x"))
    return f"it has {digits}; 'gpg --show-keys FILE' prints the whole of it" if digits != 40 else "leave only digits"


NAME = Match(BASE_NAME, "lower-case letters, digits, '.', '_' and '-' (at most 63, no '-' first)", _name_advice)
VERSION = Match(
    r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", "letters, digits, '.', '_', '+' and '-' (at most 64)", numeric=True
)
BASE = Match(
    rf"(?:{BASE_NAME}|[^\x00-\x1f@]*(?:/[^\x00-\x1f@]*|\.(?:qcow2|img|raw))){_PIN}",
    "a base image's name such as debian-12 (with @sha256: and 64 hex digits to pin it), or a path to one",
)
VARIABLE = Match(_VARIABLE, "lower-case letters, digits and '_', starting with a letter", _variable_advice)
ENVIRONMENT = Match(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "letters, digits and '_', not starting with a digit")
PACKAGE = Match(_PACKAGE, "a Debian package such as nginx, libc6:amd64 or nginx=1.22*", _package_advice)
UNIT = Match(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,254}", "the name of a systemd unit, such as nginx")
ACCOUNT = Match(_ACCOUNT, "the name or number of an account", _account_advice, numeric=True)
SUITE = Match(
    r"(?!.*\.\.)(?:[A-Za-z0-9][A-Za-z0-9._~+/-]{0,127}|\.?/)", "a suite such as bookworm, or a path that ends with /"
)
COMPONENT = Match(r"[A-Za-z0-9][A-Za-z0-9._~+/-]{0,63}", "a component such as main")
RULE = Match(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "the id of a rule, such as GEN-G28")
PROPERTY = Match(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", "letters, digits, '.', '_', ':', '/' and '-' (at most 128)")


@dataclass(frozen=True)
class Uri(Kind):
    """The address of a package repository."""

    word: ClassVar[str] = "an http:// or https:// address"

    def check(self, value: str) -> None:
        if re.match(r"[a-z]*://[^/]*@", value):
            # Not shown: it is a password.
            raise wrong("holds credentials", "a recipe holds none: take user and password out")
        if len(value) > 1024 or not re.fullmatch(_URI, value):
            raise wrong(f"must be an http:// or https:// address without query or blanks, not {quote(value)}")

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{_URI}$"}


@dataclass(frozen=True)
class Fingerprint(Kind):
    """The 40 hexadecimal digits of an OpenPGP key; blanks between them are left out."""

    def read(self, text: str) -> str:
        return re.sub(r"\s", "", text).upper()

    def check(self, value: str) -> None:
        if not re.fullmatch("[0-9A-F]{40}", value):
            raise wrong(f"must be 40 hexadecimal digits, not {quote(value)}", _fingerprint_advice(value))

    def schema(self) -> JsonSchemaValue:
        return {"type": ["string", "integer"], "pattern": "^( *[0-9A-Fa-f] *){40}$"}


@dataclass(frozen=True)
class OwnFile(Kind):
    """A path inside the recipe's own folder. That it exists is a rule, not part of its form."""

    word: ClassVar[str] = "a path in the recipe's folder"

    def check(self, value: str) -> None:
        if not value.strip():
            raise wrong("has no value", "give the path of a file in the recipe's folder")
        if value.startswith(("/", "~")):
            raise wrong(f"must be a path inside the recipe's folder, not {quote(value)}", "put the file there")
        if ".." in value.split("/"):
            raise wrong(f"must not leave the recipe's folder: {quote(value)}", "put the file there")
        if not value.isprintable() or len(value) > 1024:
            raise wrong("must be a path of at most 1024 characters, none of them a control character")

    def schema(self) -> JsonSchemaValue:
        return {"type": ["string", "number"], "pattern": r"^(?![/~])(?!(.*/)?\.\.(/|$)).+$"}


@dataclass(frozen=True)
class GuestPath(Kind):
    """An absolute path in the guest, with neither ``.`` nor ``..`` in it."""

    word: ClassVar[str] = "an absolute path in the guest"

    def check(self, value: str) -> None:
        if not value.startswith("/"):
            raise wrong(f"must be an absolute path in the guest, not {quote(value)}", self._advice(value))
        if {".", ".."} & set(value.split("/")) or "//" in value:
            raise wrong(f"must be a plain path, without '.', '..' or '//': {quote(value)}")
        if not value.isprintable() or len(value) > 1024:
            raise wrong("must be a path of at most 1024 characters, none of them a control character")

    @staticmethod
    def _advice(value: str) -> str:
        user, _, rest = value.removeprefix("~").partition("/")
        if value.startswith("~"):
            home = f"/home/{user}" if user not in ("", "root") else "/root"
            return f"write {quote(f'{home}/{rest}' if rest else home)}"
        return f"write {quote('/' + value)}"

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^/(?!/)(?!.*//)(?!(.*/)?\.\.?(/|$)).*$"}


@dataclass(frozen=True)
class WebPath(Kind):
    """The path and query of a URL: starts with ``/``, no blanks."""

    word: ClassVar[str] = "a path such as /status"

    def check(self, value: str) -> None:
        if not re.fullmatch(r"/[!-~]{0,1023}", value):
            raise wrong(f"must be a path that starts with '/', without blanks, not {quote(value)}")

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "pattern": "^/[!-~]*$"}
