"""Every way in which the system may be booted: the entries of GRUB, BLS, extlinux, syslinux, systemd-boot.

Boot loaders are followed as they run: GRUB's scripts with their variables, conditions and grubenv, for BIOS and for
UEFI; the entries that blscfg shows; the stubs on the EFI system partition. Files are looked for where the loader looks:
on its partition, not in the running system.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factory.inspection import Absent, Unreadable
from factory.reading import bls, extlinux, grub
from factory.reading.grub_menu import Entry, Menu, Missing, Place, environment_block, shown

if TYPE_CHECKING:
    from factory.inspection import Image

_GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg")
_EXTLINUX = ("/boot/extlinux", "/extlinux", "/boot", "/", "/boot/syslinux", "/syslinux", "/EFI/syslinux")
_NO_LINUX = ("memtest", "memdisk", "ipxe", ".c32", ".com", "fwupd")


@dataclass(frozen=True)
class BootFile:
    """A file that a boot loader loads. *path* is its path in the running system; *there*: whether it exists."""

    path: str
    place: Place
    there: bool


@dataclass(frozen=True)
class BootEntry:
    """One entry that boots Linux. *path* and *line* are where its kernel command line is; *options* are its words."""

    path: str
    line: int
    loader: str  # grub, bls (shown by GRUB), extlinux, systemd-boot
    title: str
    id: str
    kernel: BootFile
    initrds: tuple[BootFile, ...]
    options: tuple[str, ...]
    default: bool = False
    protected: bool = False  # asks for a password

    @property
    def evidence(self) -> str:
        """The place and the command line, for a finding."""
        return f"{self.path}:{self.line}: {' '.join(self.options)}"

    def option(self, name: str) -> list[str]:
        """The values of ``name=value`` on the command line, in order; an option without a value counts as empty."""
        return [word.partition("=")[2] for word in self.options if word.partition("=")[0] == name]


@dataclass
class BootEntries:
    """All *entries*, the configuration *files* they are from, and what those refer to in vain (*missing*).

    *timeouts* has, for each platform of GRUB and for extlinux, the seconds until the default starts; -1 is never. A
    configuration of GRUB that sets none is not in it. *stranded* is what the configurations of GRUB on an EFI system
    partition refer to in vain, when none of them reaches an entry and UEFI has no other boot loader that does.
    """

    entries: tuple[BootEntry, ...] = ()
    files: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    timeouts: dict[str, float] = field(default_factory=dict)
    stranded: tuple[Missing, ...] = ()


def read(image: Image) -> BootEntries:
    """What every boot loader of the image would offer. Raises Unreadable."""
    found = _Found(image)
    for start, platform in _grub_starts(image):
        if platform == "efi" or shown(image, start) not in found.files:
            found.add_grub(grub.run(image, start, platform), stub=start.path.startswith("/EFI/"))
    for place in _existing(image, (f"{folder.rstrip('/')}/{name}" for folder in _EXTLINUX for name in extlinux.NAMES)):
        if shown(image, place) not in found.files:
            found.add_extlinux(place)
    for part in _partitions(image):
        if _is_systemd_boot(image, part):
            for folder in ("/loader/entries", "/boot/loader/entries"):
                found.add_systemd_boot(folder, part)
    if not found.result().entries:
        # Nothing shows them, but they are what an installer left to be booted.
        for part in _partitions(image):
            for folder in ("/loader/entries", "/boot/loader/entries"):
                found.add_entries(folder, part)
    return found.result()


def environment(image: Image) -> dict[str, dict[str, str]]:
    """The variables of every grubenv, by the path of the file in the running system."""
    environments = {}
    for place in _existing(image, (f"{path.rpartition('/')[0]}/grubenv" for path in _GRUB)):
        content = image.read(place.path, partition=place.partition, limit=grub.LIMIT)
        environments[shown(image, place)] = environment_block(content)
    return environments


class _Found:
    def __init__(self, image: Image) -> None:
        self._image = image
        self._entries: dict[tuple[str, int, str, str, str, tuple[str, ...]], BootEntry] = {}
        self._missing: list[Missing] = []
        self._timeouts: dict[str, float] = {}
        self._stranded: list[Missing] = []
        self._by_uefi = False  # whether a boot loader of UEFI reaches an entry
        self.files: list[str] = []

    def result(self) -> BootEntries:
        return BootEntries(
            tuple(self._entries.values()),
            tuple(dict.fromkeys(self.files)),
            tuple(dict.fromkeys(self._missing)),
            self._timeouts,
            () if self._by_uefi else tuple(dict.fromkeys(self._stranded)),
        )

    def add_grub(self, menu: Menu, *, stub: bool = False) -> None:
        """*stub*: it begins on an EFI system partition."""
        self.files += menu.files
        self._missing += menu.missing
        self._stranded += menu.missing if stub else []
        default = menu.variables.get("default", "") or "0"
        shown_entries = [(entry.number, entry.title, entry.id, self._of_grub(entry)) for entry in menu.entries]
        top = len({entry.number.partition(">")[0] for entry in menu.entries})
        for place in dict.fromkeys(menu.bls):
            for each in bls.entries(self._image, place.path, place.partition, menu.variables):
                shown_entries.append((str(top), each.title, each.id, self._of_bls(each, "bls")))
                self.files.append(shown(self._image, Place(each.partition, each.path)))
                top += 1
        self._by_uefi = self._by_uefi or (stub and bool(shown_entries))
        chosen = _chosen(default, [(number, title, name) for number, title, name, _ in shown_entries])
        if chosen is None and shown_entries:
            where = self._origin(menu, default)
            self._missing.append(Missing(where, _line_of(self._image, where, default), f"default entry {default!r}"))
            chosen = 0
        for index, (_, _, _, entry) in enumerate(shown_entries):
            self._add(entry, default=index == chosen)
        seconds = menu.variables.get("timeout", "")
        if (menu.entries or menu.bls) and seconds.lstrip("-").isdigit():
            self._timeouts[f"grub {menu.platform}"] = max(float(seconds), -1.0)

    def add_extlinux(self, place: Place) -> None:
        menu = extlinux.menu(self._image, place.path, place.partition)
        self.files += [shown(self._image, Place(place.partition, path)) for path in menu.files]
        labels = [entry.label for entry in menu.entries]
        wanted = menu.default.split()[0] if menu.default else ""
        default = next((entry.label for entry in menu.entries if entry.default), "")
        if not default and wanted in labels:
            default = wanted
        if not default and labels and wanted and not wanted.endswith(".c32"):
            path, line = menu.default_line
            where = shown(self._image, Place(place.partition, path))
            self._missing.append(Missing(where, line, f"default entry {wanted!r}"))
        for entry in menu.entries:
            if not entry.kernel:
                continue
            kernel = self._file(Place(place.partition, entry.kernel))
            initrds = tuple(self._file(Place(place.partition, path)) for path in entry.initrds)
            path = shown(self._image, Place(place.partition, entry.path))
            options = tuple(entry.options)
            made = BootEntry(path, entry.line, "extlinux", entry.label, entry.label, kernel, initrds, options)
            self._add(made, default=entry.label == (default or labels[0]))
        if menu.entries:
            waits = menu.timeout or (-1.0 if menu.prompt else 0.0)
            self._timeouts["extlinux"] = waits

    def add_entries(self, folder: str, partition: int) -> None:
        """Entries of BLS that no configuration shows, as GRUB's blscfg would."""
        variables = {name: value for each in environment(self._image).values() for name, value in each.items()}
        found = bls.entries(self._image, folder, partition, variables)
        saved = variables.get("saved_entry", "")
        default = next((each.id for each in found if saved in (each.id, each.title)), found[0].id if found else "")
        for each in found:
            self.files.append(shown(self._image, Place(partition, each.path)))
            self._add(self._of_bls(each, "bls"), default=each.id == default)

    def add_systemd_boot(self, folder: str, partition: int) -> None:
        found = bls.entries(self._image, folder, partition)
        loader = "/loader/loader.conf"
        text = ""
        try:
            text = os.fsdecode(self._image.read(loader, partition=partition, limit=bls.LIMIT))
            self.files.append(shown(self._image, Place(partition, loader)))
        except Absent:
            pass
        wanted, line = "", 0
        for number, words in enumerate((each.split() for each in text.splitlines()), 1):
            if words[:1] == ["default"] and len(words) > 1:
                wanted, line = words[1], number
        matching = [each for each in found if fnmatch.fnmatch(f"{each.id}.conf", wanted) or each.id == wanted]
        if found and wanted and not matching and not wanted.startswith("@") and not wanted.endswith(".efi"):
            path = shown(self._image, Place(partition, loader))
            self._missing.append(Missing(path, line, f"default entry {wanted!r}"))
        chosen = (matching or found)[:1]
        self._by_uefi = self._by_uefi or bool(found)
        for each in found:
            self.files.append(shown(self._image, Place(partition, each.path)))
            self._add(self._of_bls(each, "systemd-boot"), default=each in chosen)

    def _of_grub(self, entry: Entry) -> BootEntry:
        assert entry.kernel is not None
        kernel, initrds = self._file(entry.kernel), tuple(map(self._file, entry.initrds))
        name = entry.id or entry.title
        return BootEntry(
            entry.path, entry.line, "grub", entry.title, name, kernel, initrds, entry.arguments,
            protected=entry.protected,
        )  # fmt: skip

    def _of_bls(self, entry: bls.BlsEntry, loader: str) -> BootEntry:
        path = shown(self._image, Place(entry.partition, entry.path))
        kernel = self._file(Place(entry.partition, "/" + entry.linux.lstrip("/")))
        initrds = tuple(self._file(Place(entry.partition, "/" + each.lstrip("/"))) for each in entry.initrds)
        line = entry.lines.get("options", entry.lines.get("linux", 1))
        return BootEntry(path, line, loader, entry.title, entry.id, kernel, initrds, entry.options)

    def _file(self, place: Place) -> BootFile:
        """The file at *place*; where the partition could not be told, or lacks it, as the running system finds it."""
        candidates = [place] if place.partition is not None else []
        candidates += [Place(None, place.path), Place(None, f"/boot{place.path}")] if place.partition is None else []
        for candidate in candidates:
            found = self._image.stat(candidate.path, follow=True, partition=candidate.partition)
            if found and found.kind == "file":
                return BootFile(shown(self._image, candidate), candidate, True)
        return BootFile(shown(self._image, place), place, False)

    def _add(self, entry: BootEntry, *, default: bool) -> None:
        if any(word in entry.kernel.path.rpartition("/")[2].lower() for word in _NO_LINUX):
            return
        key = (entry.path, entry.line, entry.id, entry.title, entry.kernel.path, entry.options)
        known = self._entries.get(key)
        default = default or (known is not None and known.default)
        self._entries[key] = BootEntry(**{**vars(entry), "default": default})

    def _origin(self, menu: Menu, default: str) -> str:
        """The file that names the default entry: grubenv when it does, else the configuration."""
        for path, variables in environment(self._image).items():
            if default in (variables.get("saved_entry"), variables.get("next_entry")):
                return path
        return menu.files[-1]


def _chosen(default: str, menu: Sequence[tuple[str, str, str]]) -> int | None:
    """The index of the entry that *default* names: a number, a title or an id, with > before those in a submenu."""
    last = default.rpartition(">")[2]
    for index, (number, title, name) in enumerate(menu):
        if default in (number, title, name) or (">" in default and last in (title, name)):
            return index
    # The number of a submenu, or its title, opens it at its first entry.
    for index, (number, _, _) in enumerate(menu):
        if number.startswith(f"{default}>"):
            return index
    return None


def _line_of(image: Image, path: str, text: str) -> int:
    try:
        lines = os.fsdecode(image.read(path, limit=grub.LIMIT)).splitlines()
    except Absent:
        return 0
    return next((number for number, line in enumerate(lines, 1) if text in line), 0)


def _partitions(image: Image) -> Iterator[int]:
    for part in image.partitions():
        known = part.filesystem and part.filesystem.kind not in ("swap", "LVM2_member", "crypto_LUKS")
        if known and part.number not in image.unreadable_partitions:
            yield part.number


def _existing(image: Image, paths: Iterable[str]) -> Iterator[Place]:
    """Those of *paths* (from the top of a partition) that are files, on every partition that can be read."""
    wanted = list(dict.fromkeys(paths))
    for number in _partitions(image):
        # A boot loader sees a subvolume as the folder that it is on its partition.
        tops = {"": 0} | {top.path: 0 for top in image.tops().values() if top.path and top.partition == number}
        for path in (f"{top}{path}" for top in tops for path in wanted):
            try:
                found = image.stat(path, follow=True, partition=number)
            except Unreadable:
                continue  # a link that leaves the partition: the file is found where it is
            if found and found.kind == "file":
                yield Place(number, path)


def _grub_starts(image: Image) -> Iterator[tuple[Place, str]]:
    for place in _existing(image, _GRUB):
        yield place, "pc"
        yield place, "efi"
    for number in _esps(image):
        for path in image.glob("/EFI/*/grub.cfg", partition=number):
            yield Place(number, path), "efi"


def _esps(image: Image) -> Iterator[int]:
    for part in image.partitions():
        if part.filesystem and part.filesystem.kind == "vfat" and part.number not in image.unreadable_partitions:
            yield part.number


def _is_systemd_boot(image: Image, partition: int) -> bool:
    """Whether systemd-boot is installed on the EFI system partition that goes with these entries."""
    if not image.exists("/loader/entries", partition=partition):
        return False
    return any(image.glob("/EFI/systemd/systemd-boot*.efi", partition=number) for number in _esps(image))
