"""What GRUB would do with its configuration: run it for one platform and collect the menu.

Variables, conditions, ``search``, ``source``, ``configfile``, ``load_env`` and submenus are followed; drawing and
loading modules is not. A menu entry is run as if it were chosen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.inspection import Absent, Unreadable
from factory.reading.grub_disks import GrubDisks
from factory.reading.grub_menu import Entry, Menu, Missing, Place, environment_block, shown
from factory.reading.grub_script import Command, Conditional, Loop, ScriptError, Statement, Word, options_of, parse

if TYPE_CHECKING:
    from factory.inspection import Image

STEPS = 50_000  # commands of one configuration
CALLS = 20  # functions in functions
FILES = 32  # configurations that include one another
LIMIT = 1 << 20  # bytes of one

_FAILS = frozenset(("hwmatch", "keystatus", "cpuid", "false", "loadbios", "password", "authenticate"))
_LINUX = ("linux", "linux16", "linuxefi", "multiboot", "multiboot2", "xen_hypervisor")
_INITRD = ("initrd", "initrd16", "initrdefi")


def run(image: Image, start: Place, platform: str) -> Menu:
    """The menu of the configuration at *start*; *platform* is ``pc`` or ``efi``. Raises Unreadable."""
    grub = _Grub(image, platform)
    folder = start.path.rpartition("/")[0]
    device = "" if start.partition is None else f"partition:{start.partition}"
    grub.variables |= {
        "root": device,
        "prefix": f"({device}){folder}",
        "config_directory": f"({device}){folder}",
        "cmdpath": f"({device}){folder}",
    }
    grub.file(start)
    grub.choose()
    return grub.menu


@dataclass
class _Choice:
    command: Command
    words: list[str]
    number: str
    path: str
    kind: str


class _Return(Exception):
    """``return``, ``exit``, ``break``, ``configfile`` when it replaced the menu."""


class _Grub:
    def __init__(self, image: Image, platform: str) -> None:
        self._image = image
        self._steps = self._depth = 0
        self._functions: dict[str, tuple[Statement, ...]] = {}
        self._choices: list[_Choice] = []
        self._entry: Entry | None = None
        self._path = ""
        self._disks = GrubDisks(image)
        self.menu = Menu(platform)
        self.variables: dict[str, str] = {
            "grub_platform": platform,
            "grub_cpu": "x86_64" if platform == "efi" else "i386",
            "feature_menuentry_id": "y",
            "feature_timeout_style": "y",
            "feature_platform_search_hint": "y",
            "feature_all_video_module": "y",
            "feature_default_font_path": "y",
            "feature_nativedisk_cmd": "y",
            "feature_200_final": "y",
            "feature_ntldr": "y",
            "feature_chainloader_bpb": "y",
        }

    def file(self, place: Place) -> bool:
        """Run a configuration file; whether it is there."""
        path = shown(self._image, place)
        try:
            text = os.fsdecode(self._image.read(place.path, partition=place.partition, limit=LIMIT))
        except Absent:
            return False
        if len(self.menu.files) >= FILES:
            raise Unreadable(f"{path} is part of more than {FILES} configurations of GRUB that include one another")
        self.menu.files.append(path)
        try:
            statements = parse(text)
        except ScriptError as error:
            raise Unreadable(f"{path} cannot be understood as GRUB would", cause=str(error)) from None
        outer, self._path = self._path, path
        try:
            self.run(statements)
        finally:
            self._path = outer
        return True

    def choose(self) -> None:
        """Run every entry of the menu as if it were chosen, and open every submenu."""
        self.menu.variables = dict(self.variables)
        left = self._choices
        while left:
            choice = left.pop(0)
            self.variables = dict(self.menu.variables)
            self._path, self._choices = choice.path, []
            options, arguments = options_of(choice.words[1:])
            if choice.kind == "submenu":
                self._guarded(choice.command.body or ())
                for index, below in enumerate(self._choices):
                    below.number = f"{choice.number}>{index}"
                left = self._choices + left
                continue
            self.variables["chosen"] = options.get("id") or (arguments[0] if arguments else "")
            protected = bool(self.variables.get("superusers")) and "unrestricted" not in options
            title = arguments[0] if arguments else ""
            line, number = choice.command.line, choice.number
            entry = Entry(choice.path, line, title, options.get("id", ""), number, protected=protected)
            self._entry = entry
            self._guarded(choice.command.body or ())
            self._entry = None
            if entry.kernel:
                self.menu.entries.append(entry)

    def run(self, statements: Sequence[Statement]) -> bool:
        """Whether the last command succeeded, as GRUB counts it."""
        good = True
        for statement in statements:
            self._steps += 1
            if self._steps > STEPS:
                raise Unreadable(f"{self._path} takes more than {STEPS} commands of GRUB")
            if isinstance(statement, Conditional):
                for condition, body in statement.branches:
                    if not condition or self.run(condition):
                        good = self.run(body)
                        break
            elif isinstance(statement, Loop):
                for value in self._expand(statement.words) if statement.variable else ():
                    self.variables[statement.variable] = value
                    good = self.run(statement.body)
            else:
                good = self._command(statement)
        return good

    def _guarded(self, statements: Sequence[Statement]) -> None:
        try:
            self.run(statements)
        except _Return:
            return

    def _command(self, command: Command) -> bool:
        words = self._expand(command.words)
        if not words:
            return True
        name, arguments = words[0], words[1:]
        assigned = re.fullmatch(r"(\w+)=(.*)", name, re.DOTALL)
        if assigned and not arguments:
            self.variables[assigned[1]] = assigned[2]
            return True
        if name == "function" and command.body is not None and arguments:
            self._functions[arguments[0]] = command.body
            return True
        if name in ("menuentry", "submenu"):
            if command.body is not None and len(self._choices) < STEPS:
                self._choices.append(_Choice(command, words, str(len(self._choices)), self._path, name))
            return True
        if name in self._functions:
            if self._depth > CALLS:
                raise Unreadable(f"{self._path} has a function of GRUB that calls itself")
            for index, value in enumerate(arguments, 1):
                self.variables[str(index)] = value
            self._depth += 1
            try:
                return self.run(self._functions[name])
            except _Return:
                return True
            finally:
                self._depth -= 1
        if name == "!":
            return not self._command(Command(command.line, command.words[1:]))
        if name in ("[", "test"):
            return self._disks.test(arguments[:-1] if name == "[" else arguments, self.variables.get("root", ""))
        if name in _FAILS:
            return False
        return self._known(name, arguments, command.line)

    def _known(self, name: str, arguments: list[str], line: int) -> bool:
        if name == "set":
            for argument in arguments:
                variable, separator, value = argument.partition("=")
                if separator:
                    self.variables[variable] = value
        elif name == "unset":
            for argument in arguments:
                self.variables.pop(argument, None)
        elif name.partition(".")[0] == "search":
            return self._search(name, arguments, line)
        elif name == "load_env":
            return self._load_env(arguments)
        elif name in ("source", ".", "configfile") and arguments:
            found = self.file(self.place(arguments[0]))
            if not found:
                self.menu.missing.append(Missing(self._path, line, f"{name} {arguments[0]}"))
            return found
        elif name == "blscfg":
            self._blscfg(arguments)
        elif name in ("return", "exit", "break", "continue"):
            raise _Return
        elif self._entry is not None:
            self._boot(self._entry, name, arguments, line)
        return True

    def _boot(self, entry: Entry, name: str, arguments: list[str], line: int) -> None:
        arguments = [each for each in arguments if each != "--quirk-edid" and not each.startswith("--nounzip")]
        if name in _LINUX and arguments:
            entry.kernel, entry.arguments = self.place(arguments[0]), tuple(arguments[1:])
            entry.initrds, entry.path, entry.line = (), self._path, line
        elif name in _INITRD:
            entry.initrds = tuple(self.place(each.rpartition(":")[2]) for each in arguments if each[:1] != "-")
        elif name in ("module", "module2", "xen_module") and arguments and entry.kernel:
            # Under Xen the first module is Linux, the others are its initramfs.
            if "xen" in entry.kernel.path.rpartition("/")[2]:
                entry.kernel, entry.arguments = self.place(arguments[0]), tuple(arguments[1:])
            else:
                entry.initrds = (*entry.initrds, self.place(arguments[0]))

    def place(self, written: str) -> Place:
        """Which file *written* is, where ``root`` is what it is now."""
        return self._disks.place(written, self.variables.get("root", ""))

    def _search(self, name: str, arguments: list[str], line: int) -> bool:
        options, words = options_of(
            arguments, values=("hint", "hint-bios", "hint-efi", "hint-baremetal", "hint-ieee1275")
        )
        kind = {"fs_uuid": "fs-uuid", "file": "file", "fs_label": "label"}.get(name.partition(".")[2], "")
        variable = options.get("set", "root") if "set" in options or "s" in options else ""
        if kind and len(words) > 1:
            variable = words[1]
        kind = kind or next((each for each in ("fs-uuid", "label", "file", "u", "l", "f") if each in options), "file")
        variable = variable or "root"
        wanted = words[0] if words else ""
        found = self._disks.search(kind, wanted)
        if found is None:
            if wanted and self._image.partitions():
                self.menu.missing.append(Missing(self._path, line, f"{name} {' '.join(arguments)}"))
            return False
        self.variables[variable] = f"partition:{found}"
        return True

    def _load_env(self, arguments: list[str]) -> bool:
        options, words = options_of(arguments, values=("f", "file"))
        named = options.get("f") or options.get("file") or f"{self.variables.get('prefix', '')}/grubenv"
        place = self.place(named)
        try:
            loaded = environment_block(self._image.read(place.path, partition=place.partition, limit=LIMIT))
        except Absent:
            return False
        self.variables |= {name: value for name, value in loaded.items() if not words or name in words}
        return True

    def _blscfg(self, arguments: list[str]) -> None:
        device = self.variables.get("boot") or self.variables.get("root", "")
        path = arguments[0] if arguments else self.variables.get("blsdir", "")
        if path:
            self.menu.bls.append(self.place(path if path.startswith("(") else f"({device}){path}"))
            return
        # Without a partition of its own, /boot is a folder of the one that GRUB calls boot.
        self.menu.bls += [self.place(f"({device}){folder}") for folder in ("/loader/entries", "/boot/loader/entries")]

    def _expand(self, words: Sequence[Word]) -> list[str]:
        expanded: list[str] = []
        for word in words:
            fields = [""]
            there = any(part.quoted for part in word.parts)
            for part in word.parts:
                value = self.variables.get(part.text, "") if part.variable else part.text
                if not part.variable or part.quoted:
                    fields[-1] += value
                    there = there or bool(value)
                    continue
                pieces = value.split()
                if not pieces:
                    continue
                there = True
                if value[:1].isspace() and fields[-1]:
                    fields.append("")
                fields[-1] += pieces[0]
                fields += pieces[1:]
            if there:
                expanded += fields
        return expanded
