"""The rules that look at more than one field, at files, or at what the factory knows: bases and targets.

They read the document itself, not the model, so they find their faults even where the model found others. Each rule
yields ``(location, message, suggestion)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from factory.errors import UsageError
from factory.quoting import quote
from factory.recipe import cloud_init, files, scrubbed, words
from factory.recipe.assertions import TESTS
from factory.recipe.files import FileFault
from factory.recipe.kinds import Switch, did_you_mean, nearest
from factory.recipe.steps import STEPS
from factory.units import format_size, parse_size
from factory.yamltree import Items, Location, Mapping, Node, Scalar, find

Found = Iterator[tuple[Location, str, str]]
MAX_WORDS = 50  # unknown words of a template that are shown; it is probably none
LONGEST_VALUE = 64 << 10  # characters that --set gives to a variable
WHY_EMPTY = "is the variable of CI set, or the file filled, that it comes from?"
ANY = object()
"""Stands for every item of a list or every key of a mapping."""


@dataclass(frozen=True)
class Source:
    """A recipe as it was written: the document, its file (absolute), and the ``--set`` values (None: not known)."""

    root: Mapping
    file: Path
    settings: Map[str, str] | None

    @property
    def folder(self) -> Path:
        """Where the recipe's own files lie."""
        return self.file.with_suffix("")

    def select(self, *pattern: object) -> Iterator[tuple[Location, Node]]:
        """Every node whose location fits *pattern*, in which ANY fits each item or key."""
        places: list[tuple[Location, Node]] = [((), self.root)]
        for part in pattern:
            places = [((*location, key), child) for location, node in places for key, child in _children(node, part)]
        yield from places

    def texts(self, *pattern: object) -> Iterator[tuple[Location, str]]:
        """The same for scalars with a value: their location and text."""
        for location, node in self.select(*pattern):
            if isinstance(node, Scalar) and node.text:
                yield location, node.text

    def text(self, *location: str | int) -> str:
        """The text of the scalar at *location*; empty when there is none."""
        node = find(self.root, location)
        return node.text if isinstance(node, Scalar) else ""


def _children(node: Node, part: object) -> list[tuple[str | int, Node]]:
    if isinstance(node, Mapping):
        keys = node.entries if part is ANY else [part] if part in node.entries else []
        return [(str(key), node.entries[str(key)]) for key in keys]
    return list(enumerate(node.items)) if isinstance(node, Items) and part is ANY else []


def name_is_the_files(source: Source) -> Found:
    """A recipe is ``recipes/<name>.yaml``, so the two names agree."""
    for location, name in source.texts("name"):
        if name != source.file.stem:
            yield location, f"is {quote(name)}, but the file is {quote(source.file.name)}", "give both the same name"


def entries_have_one_kind(source: Source) -> Found:
    """A step or test is a mapping of one key, its kind."""
    for section, entries in (("provision", STEPS), ("test", TESTS)):
        kinds = {entry.kind: entry for entry in entries}
        listed = ", ".join(kinds)
        for location, node in source.select(section, ANY):
            if not isinstance(node, Mapping) or not node.entries:
                yield location, f"must be a mapping with one of {listed}", f"such as - {next(iter(kinds))}: ..."
                continue
            known = [key for key in node.entries if key in kinds]
            for key in node.entries:
                if not known:
                    yield (*location, key), f"unknown kind {quote(key)}", did_you_mean(key, kinds) or f"one of {listed}"
                elif key in known[1:]:
                    yield (*location, key), f"{known[0]} and {key} stand in one entry", "start each with a - of its own"
                elif key not in known:
                    fields = kinds[known[0]].model_fields
                    suggestion = f"indent it further, below {known[0]}" if nearest(key, fields) else f"one of {listed}"
                    yield (*location, key), f"unknown key {quote(key)} beside {known[0]}", suggestion


def base_is_known(source: Source) -> Found:
    """The base is in the catalogue, or a disk image that is there."""
    for location, base in source.texts("base"):
        if not words.BASE.fits(base):
            continue
        from factory.base_definition import resolve  # with its catalogue it is needed here only

        try:
            resolve(base, source.folder)
        except UsageError as error:
            suggestion = error.cause or error.remedy
            yield location, error.message, suggestion[:1].lower() + suggestion[1:]


def targets_are_known(source: Source) -> Found:
    """Every target has its file of rules, and is named once."""
    from factory.targets import names

    named = set()
    for location, target in source.texts("targets", ANY):
        if target in named:
            yield location, f"target {quote(target)} is named twice", "remove it"
        named.add(target)
        known = names()
        if target not in known:
            hint = did_you_mean(target, known) or f"known are {', '.join(known) or 'none'}"
            yield location, f"unknown target {quote(target)}", hint


def ignored_rules_are_known(source: Source) -> Found:
    """What is to be ignored is a rule of some cloud, or what a build finds beside rules."""
    named = [(place, place[-1]) for place, _ in source.texts("checks", "ignore", ANY) if isinstance(place[-1], str)]
    if not named:
        return
    from factory import rule_names  # with all rules it is needed here only

    tests = find(source.root, ("test",))
    known = rule_names.of_builds(len(tests.items) if isinstance(tests, Items) else 0)
    for location, name in named:
        if words.RULE.fits(name) and name.upper() not in known:
            near = nearest(name, map(str.lower, known)).upper()
            hint = f"did you mean {near}?" if near else _names_like(name.upper(), known)
            yield location, f"there is no rule {quote(name)}", hint


def _names_like(name: str, known: Iterable[str]) -> str:
    """Where to find the names that there are: those that no cloud's rules have are listed nowhere else."""
    kind = name.partition("-")[0]
    if kind == "TEST":
        tests = [each for each in known if each.startswith("TEST-")]
        return f"its tests are TEST-1 to {tests[-1]}" if tests else "it has no test"
    if kind in ("BOOT", "SCRUB"):
        return f"known are {', '.join(sorted(each for each in known if each.startswith(f'{kind}-')))}"
    return "'factory check --explain all' lists the rules"


def files_exist(source: Source) -> Found:
    """What a step names is there, can be read and stays inside the recipe's folder."""
    known: dict[tuple[str, bool], tuple[bool, list[FileFault]]] = {}
    for location, name in source.texts("provision", ANY, "copy", "source"):
        if not words.OwnFile().fits(name):
            continue
        template = Switch.WORDS.get(source.text(*location[:-1], "template").lower(), False)
        if (name, template) not in known:
            known[name, template] = _copied(source, name, template)
        is_file, found = known[name, template]
        if is_file and source.text(*location[:-1], "destination").endswith("/"):
            yield (*location[:-1], "destination"), "ends with /, but a file is copied", "add the file's name"
        for fault in found:
            yield location, fault.message, fault.suggestion
    for location, name in source.texts("provision", ANY, "shell", "script"):
        if not words.OwnFile().fits(name):
            continue
        try:
            if not files.read_regular(source.folder, name):
                yield location, f"{quote(name)} is empty", "a script has commands"
        except FileFault as fault:
            yield location, fault.message, fault.suggestion


def _copied(source: Source, name: str, template: bool) -> tuple[bool, list[FileFault]]:
    """Whether *name* is a single file, and what is wrong with it or with the files in it."""
    try:
        is_file = not files.pieces(source.folder, name)[0].folder
        found = files.unknown_places(source.folder, name, _declared(source)) if template else iter(())
        return is_file, list(islice(found, MAX_WORDS))
    except FileFault as fault:
        return False, [fault]


def copies_stay(source: Source) -> Found:
    """No copy goes where the image cannot keep it."""
    yield from scrubbed.faults(source.root, source.folder)


def keys_are_the_promised_ones(source: Source) -> Found:
    """A repository's key file holds the key with the fingerprint that the recipe names."""
    from factory import openpgp

    for location, name in source.texts("repositories", ANY, "key"):
        if not words.OwnFile().fits(name):
            continue
        try:
            found = openpgp.fingerprints(files.read_regular(source.folder, name))
        except FileFault as fault:
            yield location, fault.message, fault.suggestion
            continue
        except ValueError as error:
            yield location, f"{quote(name)} {error}", ""
            continue
        place = (*location[:-1], "fingerprint")
        wanted = words.Fingerprint().read(source.text(*place))
        if words.Fingerprint().fits(wanted) and wanted not in found:
            yield place, f"is not that of {quote(name)}, which holds {', '.join(found[:3])}", "ask whoever gave you it"


def settings_fit(source: Source) -> Found:
    """``--set`` names declared variables, and every variable has a value."""
    if source.settings is None:
        return
    declared = _declared(source)
    for name in source.settings:
        if name not in declared:
            names = f"it declares {', '.join(sorted(declared))}" if declared else "it declares none"
            hint = did_you_mean(name, declared) or f"{names}; every recipe named beside it gets it too"
            yield ("variables",), f"--set {quote(name)}: the recipe declares no such variable", hint
    for location, node in source.select("variables", ANY):
        name = str(location[-1])
        if not isinstance(node, Mapping) or "default" in node.entries:
            continue
        if name not in source.settings:
            yield location, "has no default and no value was given", f"add --set {name}=..."
        elif not source.settings[name] and Switch.WORDS.get(source.text(*location, "secret").lower()):
            yield location, "is a secret without a default, and --set gives it an empty value", WHY_EMPTY
    for name, value in source.settings.items():
        if "\0" in value or len(value) > LONGEST_VALUE:
            limit = f"{LONGEST_VALUE >> 10} KiB"
            yield ("variables", name), f"--set gives it a value longer than {limit}, or with a zero byte", ""


def network_is_there_when_needed(source: Source) -> Found:
    """Without a network nothing can be installed or upgraded."""
    if source.text("machine", "network") != "none":
        return
    for location, _ in (*source.select("provision", ANY, "packages"), *source.select("repositories", ANY)):
        yield location, "needs the network, but machine.network is none", "remove it, or write network: user"
    if source.text("upgrade") != "none":
        place: Location = ("upgrade",) if "upgrade" in source.root.entries else ("machine", "network")
        yield place, "updates need the network, but machine.network is none", "write upgrade: none"


def base_has_our_package_system(source: Source) -> Found:
    """Packages and updates are for bases with a package system that we know; a disk image's is seen when it runs."""
    from factory.base_definition import resolve

    try:
        base = resolve(source.text("base"), source.folder)
    except UsageError:
        return  # the rule about bases says so
    if not base.distribution:
        return
    from factory import packaging

    if base.distribution in packaging.families():
        return
    known = ", ".join(packaging.families())
    for location, _ in (*source.select("provision", ANY, "packages"), *source.select("repositories", ANY)):
        yield location, f"is for {known} and what is like them, not for {base.name}", "install with a shell step"
    if source.text("upgrade") != "none":
        place: Location = ("upgrade",) if "upgrade" in source.root.entries else ("base",)
        yield place, f"updates are for {known} and what is like them, not for {base.name}", "write upgrade: none"


def disk_is_enough(source: Source) -> Found:
    """A machine with the required disk can hold the image's disk."""
    try:
        disk = parse_size(source.text("disk") or "4GiB")
        required = parse_size(source.text("requirements", "disk"))
    except ValueError:
        return  # the model says so
    if required < disk:
        suggestion = f"write at least {format_size(disk)}"
        yield ("requirements", "disk"), f"is less than the image's disk, {format_size(disk)}", suggestion


def disk_holds_the_base(source: Source) -> Found:
    """The image's disk is no smaller than its base; of most bases the size is known when they are there only."""
    from factory.base_definition import resolve

    try:
        disk = parse_size(source.text("disk") or "4GiB")
        base = resolve(source.text("base"), source.folder)
    except (ValueError, UsageError):
        return  # the model says so, or the rule about bases
    if 2**30 <= disk < base.size:  # of a smaller one the model says so
        yield ("disk",), f"is less than the base {base.name}, {format_size(base.size)}", (
            f"write at least {format_size(base.size)}"
        )  # fmt: skip


def cloud_init_keeps_off(source: Source) -> Found:
    """``cloud_init`` leaves alone what the build stands on."""
    yield from cloud_init.faults(source.root)


def _declared(source: Source) -> set[str]:
    return {str(location[-1]) for location, _ in source.select("variables", ANY)}


RULES: tuple[Callable[[Source], Found], ...] = (
    name_is_the_files,
    entries_have_one_kind,
    base_is_known,
    targets_are_known,
    ignored_rules_are_known,
    files_exist,
    copies_stay,
    keys_are_the_promised_ones,
    settings_fit,
    network_is_there_when_needed,
    base_has_our_package_system,
    disk_is_enough,
    disk_holds_the_base,
    cloud_init_keeps_off,
)
"""Every rule; the loader runs them all."""
