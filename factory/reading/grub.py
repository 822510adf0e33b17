"""What GRUB would do with its configuration: run it for one platform and collect the menu.

Variables, conditions, ``search``, ``source``, ``configfile``, ``load_env`` and submenus are followed; drawing and
loading modules is not. A menu entry is run as if it were chosen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factory.inspection import Absent, Unreadable
from factory.reading.grub_script import Command, Conditional, Loop, ScriptError, Statement, Word, parse

if TYPE_CHECKING:
    from factory.inspection import Image

STEPS = 50_000  # commands of one configuration
CALLS = 20  # functions in functions
FILES = 32  # configurations that include one another
LIMIT = 1 << 20  # bytes of one

_DEVICE = re.compile(r"\(?(?:partition:(\d+)|hd0,(?:gpt|msdos)?(\d+)|hd0)\)?")
_FAILS = frozenset(("hwmatch", "keystatus", "cpuid", "false", "loadbios", "password", "authenticate"))
_LINUX = ("linux", "linux16", "linuxefi", "multiboot", "multiboot2", "xen_hypervisor")
_INITRD = ("initrd", "initrd16", "initrdefi")
_INTEGERS = {"-eq": int.__eq__, "-ne": int.__ne__, "-lt": int.__lt__, "-le": int.__le__, "-gt": int.__gt__,
             "-ge": int.__ge__}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A file as a boot loader finds it: a *path* on a *partition*, whose number is None when it could not be told."""

    partition: int | None
    path: str


@dataclass
class Entry:
    """A menu entry after it was run: *number* is ``0`` or ``1>2``; *line* is that of its command line.

    *protected*: it asks for a password.
    """

    path: str
    line: int
    title: str
    id: str
    number: str
    kernel: Place | None = None
    arguments: tuple[str, ...] = ()
    initrds: tuple[Place, ...] = ()
    protected: bool = False


@dataclass(frozen=True)
class Missing:
    """Something that a configuration refers to and that is not on this disk."""

    path: str
    line: int
    what: str


@dataclass
class Menu:
    """What running a configuration gave. *variables* are as they are when the menu is shown."""

    platform: str
    entries: list[Entry] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    bls: list[Place] = field(default_factory=list)  # folders of entries that "blscfg" shows


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


def environment_block(content: bytes) -> dict[str, str]:
    """The variables in a grubenv file."""
    found = {}
    for line in content.decode("utf-8", "replace").splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found[name] = re.sub(r"\\(.)", r"\1", value)
    return found


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
        self._uuids = {p.filesystem.uuid.lower(): p.number for p in image.partitions() if p.filesystem}
        self._labels = {p.filesystem.label: p.number for p in image.partitions() if p.filesystem}
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
            options, arguments = _options(choice.words[1:])
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
            return self._test(arguments[:-1] if name == "[" else arguments)
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
        """Which file *written* is, such as ``/vmlinuz`` or ``(hd0,gpt2)/vmlinuz``."""
        device, path = self.variables.get("root", ""), written
        if written.startswith("("):
            device, _, path = written[1:].partition(")")
        match = _DEVICE.fullmatch(device)
        number = int(match[1] or match[2] or 0) if match else None
        if number is not None and number not in {part.number for part in self._image.partitions()}:
            number = None
        return Place(number, "/" + path.lstrip("/"))

    def _search(self, name: str, arguments: list[str], line: int) -> bool:
        options, words = _options(
            arguments, values=("hint", "hint-bios", "hint-efi", "hint-baremetal", "hint-ieee1275")
        )
        kind = {"fs_uuid": "fs-uuid", "file": "file", "fs_label": "label"}.get(name.partition(".")[2], "")
        variable = options.get("set", "root") if "set" in options or "s" in options else ""
        if kind and len(words) > 1:
            variable = words[1]
        kind = kind or next((each for each in ("fs-uuid", "label", "file", "u", "l", "f") if each in options), "file")
        variable = variable or "root"
        wanted = words[0] if words else ""
        found: int | None = None
        if kind in ("fs-uuid", "u"):
            found = self._uuids.get(wanted.lower())
        elif kind in ("label", "l"):
            found = self._labels.get(wanted)
        else:
            for part in self._image.partitions():
                if part.filesystem and part.number not in self._image.unreadable_partitions:
                    try:
                        there = self._image.exists("/" + wanted.lstrip("/"), partition=part.number)
                    except Unreadable:
                        continue  # swap and the like hold no files
                    if there:
                        found = part.number
                        break
        if found is None:
            if wanted and self._image.partitions():
                self.menu.missing.append(Missing(self._path, line, f"{name} {' '.join(arguments)}"))
            return False
        self.variables[variable] = f"partition:{found}"
        return True

    def _load_env(self, arguments: list[str]) -> bool:
        options, words = _options(arguments, values=("f", "file"))
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

    def _test(self, arguments: list[str]) -> bool:
        if "-o" in arguments:
            at = arguments.index("-o")
            return self._test(arguments[:at]) or self._test(arguments[at + 1 :])
        if "-a" in arguments:
            at = arguments.index("-a")
            return self._test(arguments[:at]) and self._test(arguments[at + 1 :])
        if arguments[:1] == ["!"]:
            return not self._test(arguments[1:])
        if len(arguments) == 1:
            return bool(arguments[0])
        if len(arguments) == 2:
            option, value = arguments
            if option in ("-z", "-n"):
                return bool(value) == (option == "-n")
            return option in ("-e", "-f", "-s", "-d") and self._file_test(option, value)
        if len(arguments) == 3:
            left, operator, right = arguments
            if operator in ("=", "==", "!="):
                return (left == right) == (operator != "!=")
            if operator in _INTEGERS:
                try:
                    return bool(_INTEGERS[operator](int(left or 0), int(right or 0)))
                except ValueError:
                    return False
            return {"<": left < right, ">": left > right}.get(operator, False)
        return False

    def _file_test(self, option: str, value: str) -> bool:
        place = self.place(value)
        found = self._image.stat(place.path, follow=True, partition=place.partition)
        if found is None:
            return False
        return {"-d": found.kind == "dir", "-f": found.kind == "file", "-s": found.size > 0}.get(option, True)

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


def shown(image: Image, place: Place) -> str:
    """The path of a file in the running guest, or on its partition when that is mounted nowhere."""
    if place.partition is None:
        return place.path
    for mounted, top in sorted(image.tops().items(), key=lambda each: (-len(each[1].path or ""), each[0])):
        if top.partition == place.partition and top.path is not None and f"{place.path}/".startswith(f"{top.path}/"):
            return mounted.rstrip("/") + place.path.removeprefix(top.path)
    return f"(partition {place.partition}){place.path}"


def _options(
    words: Sequence[str], values: Sequence[str] = ("class", "id", "users", "hotkey", "source")
) -> tuple[dict[str, str], list[str]]:
    """Options by name, and the other words. Those in *values* take the next word unless they hold a ``=``."""
    options: dict[str, str] = {}
    others: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        match = re.fullmatch(r"--?([A-Za-z][\w-]*)(?:=(.*))?", word)
        if not match:
            others.append(word)
        elif match[2] is None and match[1] in values and left:
            options[match[1]] = left.pop(0)
        else:
            options[match[1]] = match[2] or ""
    return options, others
