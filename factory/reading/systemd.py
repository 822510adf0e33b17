"""systemd as an image holds it: which units it would start when the machine boots, and why or why not.

What starts is what the default target pulls in: by links in ``.wants`` and ``.requires`` folders, by ``Wants=`` and its
kin in unit files, and by init scripts that have no unit of their own. A unit that is masked, that has no file, or whose
conditions fail does not start. At a first boot (no machine-id, or ``uninitialized``) presets enable further units.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from factory.leftovers import matching, named, text
from factory.reading.once import once
from factory.reading.unit_file import Unit, merge

if TYPE_CHECKING:
    from factory.inspection import Image

FOLDERS = (
    "/etc/systemd/system.control",
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""Where units are looked for; the first that has a name wins."""

_PRESETS = tuple(f"{top}/systemd/system-preset" for top in ("/etc", "/usr/local/lib", "/usr/lib", "/lib"))
_MEMORY = ("/run/", "/proc/", "/sys/", "/dev/")
_PULLING = ("Wants", "Requires", "BindsTo", "Requisite", "Upholds")
# What every target pulls in although a small image may lack the unit files that say so.
_STANDARD: dict[str, tuple[str, ...]] = {
    "graphical.target": ("multi-user.target",),
    "multi-user.target": ("basic.target",),
    "basic.target": ("sysinit.target", "sockets.target", "timers.target", "paths.target", "slices.target"),
    "sysinit.target": ("local-fs.target", "swap.target"),
    "sockets.target": (),
    "timers.target": (),
    "paths.target": (),
    "slices.target": (),
    "local-fs.target": (),
    "swap.target": (),
    "network.target": (),
    "network-online.target": (),
    "getty.target": (),
    "cloud-init.target": (),
}
_CLOUD_INIT = "systemd/system-generators/cloud-init-generator"
_CONDITIONS = (
    "ConditionPathExists",
    "ConditionPathExistsGlob",
    "ConditionFileNotEmpty",
    "ConditionDirectoryNotEmpty",
    "ConditionFirstBoot",
)
_FOLDER_KINDS = (".wants", ".requires", ".upholds")


class Systemd:
    """An image's systemd; *present* says whether there is one. Everything else is read when it is first asked for.

    Every method takes a name with its ending (``ssh.service``), aliases included, and raises Unreadable.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._links: dict[tuple[str, str], str] = {}  # (folder, name) -> target of the link
        self._names: dict[str, list[str]] = {}  # name -> folders that have it, the first wins
        self._folders: dict[str, list[str]] = {}  # ssh.service.d -> folders that have it
        self._units: dict[str, Unit | None] = {}
        seen = set()
        for folder in FOLDERS:
            top = image.stat(folder, follow=True)
            if top is None or top.kind != "dir" or (top.partition, top.inode) in seen:
                continue  # /lib is /usr/lib nearly everywhere
            seen.add((top.partition, top.inode))
            for name, found in image.scan(folder):
                if found.kind == "dir":
                    self._folders.setdefault(name, []).append(folder)
                    continue
                self._names.setdefault(name, []).append(folder)
                if found.kind == "symlink":
                    self._links[folder, name] = image.readlink(f"{folder}/{name}")
                elif found.kind == "file" and not found.size:
                    self._links[folder, name] = "/dev/null"  # an empty file masks as well
        self.present = bool(seen) and not any(map(image.exists, ("/sbin/openrc", "/usr/sbin/openrc")))

    @cached_property
    def default_target(self) -> str:
        """The target that a boot aims at, by its real name."""
        return self.real("default.target") if "default.target" in self._names else "graphical.target"

    @cached_property
    def first_boot(self) -> bool:
        """Whether systemd takes the next boot for the first ever, and applies the presets."""
        found = self._image.stat("/etc/machine-id", follow=True)
        return found is None or (
            found.kind == "file" and (text(self._image, "/etc/machine-id") or "").strip() == "uninitialized"
        )

    def path(self, name: str) -> str:
        """The file or link that counts for a unit; "" when there is none."""
        folders = self._names.get(name) or self._names.get(_template(name)) or []
        return f"{folders[0]}/{name if name in self._names else _template(name)}" if folders else ""

    def real(self, name: str) -> str:
        """The name behind an alias (``sshd.service`` is ``ssh.service`` on Debian)."""
        for _ in range(10):
            target = self._links.get((self._names[name][0], name)) if name in self._names else None
            if not target or target == "/dev/null" or posixpath.basename(target) == name:
                break
            name = posixpath.basename(target)
        return name

    def masked(self, name: str) -> str:
        """The path of what masks a unit; "" when it is not masked."""
        for each in dict.fromkeys((name, self.real(name), _template(self.real(name)))):
            for folder in self._names.get(each, [])[:1]:
                if posixpath.normpath(self._links.get((folder, each), "")) == "/dev/null":
                    return f"{folder}/{each}"
        return ""

    def unit(self, name: str) -> Unit | None:
        """A unit with its drop-ins; None when it has no file or is masked."""
        real = self.real(name)
        if real not in self._units:
            path = "" if self.masked(real) else self.path(real)
            content = text(self._image, path) if path else None
            drop_ins = self._drop_ins([real, *self._aliases.get(real, ())]) if content is not None else []
            self._units[real] = None if content is None else merge(real, path, [(path, content), *drop_ins])
        return self._units[real]

    def started(self, name: str) -> str:
        """The path of what has a unit started at boot; "" when nothing does, or when it cannot start."""
        return "" if self.why_not(name) else self._wanted[self.real(name)]

    def why_not(self, name: str) -> str:
        """Why a unit is not started at boot, for people; "" when it is."""
        if masked := self.masked(name):
            return f"{name} is masked by {masked}"
        real = self.real(name)
        if self.unit(real) is None and not self._script(real):
            return f"there is no {name}"
        if real not in self._wanted:
            return f"{name} is not enabled"
        return self._condition(real)

    def enabled(self) -> dict[str, str]:
        """Every unit that is started at boot by its real name, with the path of what has it started."""
        return {name: path for name, path in self._wanted.items() if not self.why_not(name)}

    def preset(self, name: str) -> bool:
        """Whether the presets enable a unit: the first line that matches; without any, they do."""
        return next((enable for pattern, enable in self._presets if fnmatchcase(name, pattern)), True)

    @cached_property
    def _presets(self) -> list[tuple[str, bool]]:
        files: dict[str, str] = {}
        for folder in _PRESETS:
            for path, _ in matching(self._image, f"{folder}/*.preset"):
                files.setdefault(posixpath.basename(path), path)
        found = []
        for _, path in sorted(files.items()):
            for line in (text(self._image, path) or "").splitlines():
                words = line.split()
                if len(words) >= 2 and words[0] in ("enable", "disable"):
                    found.append((words[1], words[0] == "enable"))
        return found

    @cached_property
    def _wanted(self) -> dict[str, str]:
        """Every unit that the default target reaches, by its real name, with the path of what asks for it."""
        found = {self.default_target: self.path("default.target")}
        left = [self.default_target]
        while left:
            above = left.pop(0)
            for name, path in self._pulled(above):
                real = self.real(name)
                if real not in found:
                    found[real] = path
                    # What is masked, or lacks a file or a condition, pulls in nothing.
                    if not self.masked(real) and not self._condition(real) and (real in _STANDARD or self.unit(real)):
                        left.append(real)
        return found

    def _pulled(self, above: str) -> Iterator[tuple[str, str]]:
        """The (name, path of what says so) of what a unit pulls in."""
        for alias in sorted({above, _template(above), *self._aliases.get(above, ())}):
            for kind in _FOLDER_KINDS:
                for folder in self._folders.get(alias + kind, []):
                    for path, _ in named(self._image, f"{folder}/{alias}{kind}", ["*"]):
                        yield posixpath.basename(path), path
        unit = self.unit(above)
        for key in _PULLING:
            for setting in unit.get("Unit", key) if unit else ():
                yield from ((name, setting.path) for name in setting.value.split() if "%" not in name)
        yield from ((name, "") for name in _STANDARD.get(above, ()))
        if self.first_boot:
            yield from self._preset_links.get(above, ())
        if above == "multi-user.target":
            if generator := self._cloud_init_generator():
                yield "cloud-init.target", generator
            for path, _ in matching(self._image, "/etc/rc[2345].d/S[0-9][0-9]*"):
                name = re.sub(r"^S\d\d", "", posixpath.basename(path)) + ".service"
                if self._script(name):
                    yield name, path

    @cached_property
    def _preset_links(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for name in self._names:
            if "@." not in name and self.real(name) == name and self.preset(name) and (unit := self.unit(name)):
                for key in ("WantedBy", "RequiredBy", "UpheldBy"):
                    for above in unit.words("Install", key):
                        found.setdefault(above, []).append((name, unit.path))
        return found

    @cached_property
    def _aliases(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._names:
            if (real := self.real(name)) != name:
                found.setdefault(real, []).append(name)
        return found

    def _cloud_init_generator(self) -> str:
        """cloud-init's generator, which wants its target unless a file says no; whether a datasource is there, only a
        boot can tell."""
        if self._image.exists("/etc/cloud/cloud-init.disabled"):
            return ""
        tops = ("/etc", "/usr/local/lib", "/usr/lib", "/lib")
        return next((path for top in tops if self._image.exists(path := f"{top}/{_CLOUD_INIT}")), "")

    def _script(self, name: str) -> bool:
        """Whether an init script without a unit stands for a service."""
        base = name.removesuffix(".service")
        return name.endswith(".service") and name not in self._names and self._image.exists(f"/etc/init.d/{base}")

    def _drop_ins(self, names: Iterable[str]) -> list[tuple[str, str]]:
        folders = [each for name in names for each in _drop_in_folders(name)]
        files: dict[str, str] = {}
        for folder in FOLDERS:
            for name in folders:
                if folder in self._folders.get(name, []):
                    for path, _ in named(self._image, f"{folder}/{name}", ["*.conf"]):
                        files.setdefault(posixpath.basename(path), path)
        return [(path, content) for _, path in sorted(files.items()) if (content := self._text(path)) is not None]

    def _text(self, path: str) -> str | None:
        """A drop-in's content; None when it is masked."""
        found = self._image.stat(path, follow=True)
        return text(self._image, path) if found and found.kind == "file" else None

    def _condition(self, name: str) -> str:
        """Why a unit's conditions keep it from starting; "" when they do not, or when only a boot can tell."""
        unit = self.unit(name)
        alternatives = []
        for key in _CONDITIONS:
            for setting in unit.get("Unit", key) + unit.get("Unit", key.replace("Condition", "Assert")) if unit else ():
                value = setting.value
                trigger, value = value.startswith("|"), value.removeprefix("|").lstrip()
                wrong, value = value.startswith("!"), value.removeprefix("!").strip()
                holds = self._holds(key, value)
                failed = holds is not None and holds == wrong
                said = f"{name} does not start: {setting.path}:{setting.line}: {key}={setting.value}"
                if trigger:
                    alternatives.append(said if failed else "")
                elif failed:
                    return said
        return alternatives[0] if alternatives and all(alternatives) else ""

    def _holds(self, key: str, value: str) -> bool | None:
        if key == "ConditionFirstBoot":
            return self.first_boot == (value.lower() in ("yes", "true", "1", "on"))
        if not value.startswith("/") or value.startswith(_MEMORY) or "%" in value:
            return None
        if key.endswith("Glob"):
            return bool(self._image.glob(value))
        found = self._image.stat(value, follow=True)
        if key == "ConditionDirectoryNotEmpty":
            return found is not None and found.kind == "dir" and bool(self._image.listdir(value))
        return found is not None and (key != "ConditionFileNotEmpty" or (found.kind == "file" and found.size > 0))


@once
def read(image: Image) -> Systemd:
    """systemd of *image*."""
    return Systemd(image)


def _template(name: str) -> str:
    """``getty@.service`` of ``getty@tty1.service``; the name itself when it is no instance."""
    return re.sub(r"@[^.]+\.", "@.", name) if "@" in name else name


def _drop_in_folders(name: str) -> Iterator[str]:
    """The folders that drop-ins of a unit may lie in: its own, its template's, its prefixes', its type's."""
    stem, _, kind = name.rpartition(".")
    yield f"{name}.d"
    if _template(name) != name:
        yield f"{_template(name)}.d"
    parts = stem.partition("@")[0].split("-")
    for count in range(len(parts) - 1, 0, -1):
        yield f"{'-'.join(parts[:count])}-.{kind}.d"
    yield f"{kind}.d"
