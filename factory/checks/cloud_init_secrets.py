"""cloud-init's settings give no instance what was meant for the builder: passwords, keys, tokens, commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import cloud_init
from factory.reading.cloud_init import Part

# Keys whose value is a secret, wherever they stand below the settings.
SECRET = ("password", "passwd", "hashed_passwd", "plain_text_passwd", "token", "private_key", "validation_key",
          "registration_key", "auth_key", "authkey", "activation-key", "activation_key")  # fmt: skip
# Modules that act on every instance with the builder's words; the first are about secrets and reports, the others may
# be what the image is for.
ACTS = ("chpasswd", "phone_home", "puppet", "chef", "salt_minion", "landscape", "ubuntu_advantage", "ubuntu_pro",
        "rh_subscription", "mcollective", "ssh_import_id")  # fmt: skip
RUNS = ("runcmd", "bootcmd", "write_files", "power_state", "swap", "mounts")
_NOTHING = ("", "*", "!", "!!", "true", "false", "yes", "no", "null", "~", "expire")
_DEPTH = 30


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    settings = looked.know(cloud_init.read)
    for part in settings.parts:
        for name, value in (part.settings or {}).items():
            if name in (*ACTS, *RUNS) and not (_empty(value) or (name == "chpasswd" and _only_expires(value))):
                yield _problem(part, f"{part.path}:{part.line(name)}: {name}", warn=name in RUNS)
            yield from _below(part, name, value, 0) if name not in ACTS else ()
        if "PRIVATE KEY-----" in part.text:
            line = part.text[: part.text.index("PRIVATE KEY-----")].count("\n") + 1
            yield _problem(part, f"{part.path}:{line}: a private key")
    yield Note(f"{len(settings.parts)} files hold no secret")


def _below(part: Part, name: str, value: Any, depth: int) -> Iterator[Problem]:
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _below(part, str(key), inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _below(part, name, inner, depth + 1)
    elif name.lower() in SECRET and isinstance(value, str) and value.lower() not in _NOTHING:
        yield _problem(part, f"{part.path}:{part.line(name)}: {name} ({len(value)} characters)")


def _empty(value: Any) -> bool:
    return value in ("", [], {}, "null", "~")


def _only_expires(value: Any) -> bool:
    """Whether chpasswd is told how long passwords last, and none."""
    return isinstance(value, dict) and all(key == "expire" or _empty(inner) for key, inner in value.items())


def _problem(part: Part, told: str, *, warn: bool = False) -> Problem:
    """The distribution's own file has to stay; any other goes by the rule's fix."""
    return Problem(part.path, told, warn, f"Take it out of {part.path}" if part.path == cloud_init.BASE else None)
