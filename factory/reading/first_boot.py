"""What asks questions on the console when a machine starts for the first time, or leaves a root shell open there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import named
from factory.reading import accounts, systemd

if TYPE_CHECKING:
    from factory.inspection import Image

_WIZARDS = ("jeos-firstboot.service", "YaST2-Firstboot.service", "initial-setup.service", "initial-setup-text.service",
            "initial-setup-graphical.service", "initial-setup-reconfiguration.service")  # fmt: skip
_FIRSTBOOT = "systemd-firstboot.service"
_SHELL = "debug-shell.service"
_LOCALES = "/usr/lib/locale"
# What is asked for -> the files of which one answers it, and those of which one must be there for a choice.
_QUESTIONS = {
    "keymap": (("/etc/vconsole.conf", "/etc/default/keyboard"),
               ("/usr/share/keymaps", "/usr/share/kbd/keymaps", "/usr/lib/kbd/keymaps")),
    "timezone": (("/etc/localtime",), ("/usr/share/zoneinfo",)),
    "hostname": (("/etc/hostname",), ()),
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """*unit* is started by *path* and waits on the console, or for whoever sits there; *why* is for people."""

    unit: str
    path: str
    why: str


def read(image: Image) -> Iterator[Question]:
    """Every unit that the next boot starts and that asks. Raises Unreadable."""
    units = systemd.read(image)
    for name in _WIZARDS:
        if path := units.started(name):
            yield Question(name, path, "it asks questions on the console, which nobody answers")
    if path := units.started(_SHELL):
        yield Question(_SHELL, path, "whoever opens the console has a shell of root without a password")
    if path := units.started(_FIRSTBOOT):
        unit = units.unit(_FIRSTBOOT)
        words = [word for line in (unit.get("Service", "ExecStart") if unit else ()) for word in line.value.split()]
        asked = [each for each in _prompts(words) if _unanswered(image, each)]
        if asked:
            yield Question(_FIRSTBOOT, path, f"it asks on the console for what nothing sets: {', '.join(asked)}")


def _prompts(words: list[str]) -> list[str]:
    every = ("locale", *_QUESTIONS, "root-password")
    found = [word.removeprefix("--prompt-") for word in words if word.startswith("--prompt-")]
    return [each for each in every if each in found or "--prompt" in words]


def _unanswered(image: Image, what: str) -> bool:
    """Whether systemd-firstboot asks for *what*: nothing says it, and there is something to choose from."""
    if what == "locale":
        if image.exists("/etc/locale.conf") or image.exists("/etc/default/locale"):
            return False
        # It takes the only one without a word.
        return image.exists(f"{_LOCALES}/locale-archive") or any(
            found.kind == "dir" and not re.search(r"(?i)/C\.utf-?8$", path)
            for path, found in named(image, _LOCALES, ["*"])
        )
    if what == "root-password":
        root = accounts.read(image).named("root")
        return not image.exists(accounts.SHADOW) or (root is not None and root.password == accounts.UNPROVISIONED)
    answers, choices = _QUESTIONS[what]
    return not any(image.stat(path) for path in answers) and (not choices or any(map(image.exists, choices)))
