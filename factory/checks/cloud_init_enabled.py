"""cloud-init starts at every boot: nothing switches it off, masks it, or leaves one of its stages out."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, without_line, without_words
from factory.quoting import quoted
from factory.reading import boot_entries, cloud_init, datasources, next_command_line, openrc, systemd
from factory.reading.lines import content_of, entries, layered
from factory.reading.systemd import Systemd

MARKER = "/etc/cloud/cloud-init.disabled"
STAGES = (
    ("cloud-init-local",),
    ("cloud-init", "cloud-init-network"),
    ("cloud-config",),
    ("cloud-final",),
)
REINSTALL = "In the guest: apt-get install --reinstall cloud-init, or dnf reinstall cloud-init"
MAIN = "cloud-init-main.service"  # since 24.3 the stages only talk to it
GENERATORS = tuple(
    f"{top}/systemd/system-generators/cloud-init-generator" for top in ("/etc", "/usr/local/lib", "/usr/lib", "/lib")
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    program = looked.know(cloud_init.read).program
    if not program:
        raise NotApplicable("cloud-init is not installed")
    if looked.image.stat(MARKER, follow=True):
        yield Problem(MARKER, f"{MARKER} is there")
    yield from _kernel(looked)
    yield from _environment(looked)
    override = looked.know(datasources.override)
    if override.disables:
        yield Problem(datasources.OVERRIDE, override.policy_place, fix=f"rm -f {datasources.OVERRIDE}")
    started = looked.know(openrc.read)
    if started.present:
        missing = [names for names in STAGES if not any(name in started.started for name in names)]
        for names in missing:
            told = f"no run level starts {' or '.join(names)}"
            yield Problem(f"/etc/init.d/{names[0]}", told, fix=f"rc-update add {names[0]} default")
        yield Note("every stage is in a run level")
    elif not looked.image.stat(MARKER, follow=True):
        yield from _systemd(looked, looked.know(systemd.read))


def _systemd(looked: Looked, services: Systemd) -> Iterator[Problem | Note]:
    if not services.present:
        none = "there is neither systemd nor OpenRC to start cloud-init"
        yield Problem("image", none, fix="Install systemd or OpenRC in the guest: nothing else starts cloud-init")
        return
    generator = next((path for path in GENERATORS if looked.image.stat(path)), "")
    linked = services.started("cloud-init.target")
    if (generator and (found := looked.image.stat(generator, follow=True)) is None) or (generator and not found.size):  # type: ignore[union-attr]
        told = f"{generator} masks the generator that starts cloud-init"
        masked = generator.startswith(("/etc/", "/usr/local/"))
        yield Problem(generator, told, fix=f"rm -f {generator}" if masked else REINSTALL)
    # RHEL 7 and its kin link every stage into multi-user.target, and have no generator.
    elif not generator and not linked and not all(_starts(services, names) for names in STAGES):
        none = "there is no cloud-init-generator, and nothing else starts cloud-init.target"
        yield Problem("image", none, fix=REINSTALL)
    for names in STAGES:
        reasons = [services.why_not(f"{name}.service") for name in names]
        if all(reasons):
            # Of two names, the unit that is there tells more than that the other is not.
            there = [why for name, why in zip(names, reasons, strict=True) if services.path(f"{name}.service")]
            subject = services.path(f"{names[0]}.service") or "image"
            yield Problem(subject, (there or reasons)[0])
    if services.path(MAIN) and (why := services.why_not(MAIN)):
        yield Problem(services.path(MAIN), why)
    yield Note("every stage is started")


def _starts(services: Systemd, names: tuple[str, ...]) -> bool:
    return any(services.started(f"{name}.service") for name in names)


def _kernel(looked: Looked) -> Iterator[Problem]:
    for entry in looked.know(boot_entries.read).entries:
        for word in entry.options:
            name, _, value = word.partition("=")
            masked = name in ("systemd.mask", "rd.systemd.mask") and fnmatchcase(value, "cloud-*")
            if "cloud-init=disabled" in word or masked:
                yield Problem(entry.path, entry.evidence, fix=without_words(word))
    for path, place, words in looked.know(next_command_line.read):
        if "cloud-init=disabled" in words:
            told = f"{place} (for the boot entries that are made next)"
            yield Problem(path, told, warn=True, fix=f"Take cloud-init=disabled out of {quoted(path)}")


def _environment(looked: Looked) -> Iterator[Problem]:
    folders = ("/etc/systemd/system.conf.d", "/usr/local/lib/systemd/system.conf.d", "/usr/lib/systemd/system.conf.d")
    for path in ["/etc/systemd/system.conf", *layered(looked.image, folders, ".conf")]:
        for entry in entries(path, content_of(looked.image, path)):
            if entry.key in ("DefaultEnvironment", "ManagerEnvironment") and "cloud-init=disabled" in entry.value:
                yield Problem(path, entry.place, fix=without_line(path, entry.line))
