"""What this host can do, and how to mend what it cannot; every line is found out, not assumed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from factory import settings
from factory.errors import FactoryError, sentence
from factory.run import find, run

PROGRAMS = (
    ("qemu-system-x86_64", "qemu-system-x86", "to run virtual machines"),
    ("qemu-img", "qemu-utils", "to convert disk images"),
    ("mmdebstrap", "mmdebstrap", "to build Debian bases"),
    ("sgdisk", "gdisk", "to partition bases"),
    ("mke2fs", "e2fsprogs", "to make file systems"),
    ("gpgv", "gpgv", "to verify signatures of downloaded bases"),
)
SPACE = 10 * 1024**3  # bytes below which the doctor warns
MEMORY = 3 * 1024**3


@dataclass(frozen=True)
class Check:
    """One line: *state* is ok, warn or fail."""

    state: Literal["ok", "warn", "fail"]
    what: str
    found: str
    fix: str = ""


def examine() -> list[Check]:
    """Every check, in the order of a build."""
    checks: list[Check] = []
    for examination in (_programs, _accelerator, _libvirt, _firmware, _places, _memory, _settings):
        checks += _guarded(examination)
    return checks


def _guarded(examination: Callable[[], Iterator[Check]]) -> list[Check]:
    checks: list[Check] = []
    name = examination.__name__.strip("_")
    try:
        checks.extend(examination())
    except FactoryError as error:
        checks.append(
            Check("fail", name, " ".join(sentence(part) for part in (error.message, error.cause) if part), error.hint)
        )
    except OSError as error:
        checks.append(Check("fail", name, str(error), "See that this user may read and write there"))
    return checks


def _programs() -> Iterator[Check]:
    for program, package, reason in PROGRAMS:
        try:
            path = find(program, reason=reason, package=package)
        except FactoryError as error:
            yield Check("fail", program, "not installed", error.hint)
            continue
        yield Check("ok", program, _version(path))


def _version(path: str) -> str:
    option = "-V" if path.endswith("mke2fs") else "--version"
    done = run([path, option], reason="", allowed=range(256), timeout=20)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if any(c.isdigit() for c in line)]
    return lines[0][:70] if lines else path


def _accelerator() -> Iterator[Check]:
    from factory.hypervisor.accelerator import choose

    chosen = choose(settings.value("FACTORY_ACCEL"))
    state: Literal["ok", "warn"] = "ok" if chosen.name == "kvm" else "warn"
    yield Check(state, "accelerator", f"{chosen.name}: {chosen.why}", chosen.fix)


def _libvirt() -> Iterator[Check]:
    from factory.hypervisor.accelerator import Accelerator
    from factory.hypervisor.machine import Hypervisor
    from factory.workspace import Workspace

    uri = settings.value("FACTORY_CONNECT")
    state = settings.state_dir()
    workspace = Workspace.create("doctor", "0" * 8, output=state / "tests", state=state)
    try:
        with Hypervisor(workspace.work, Accelerator("tcg", "asked for"), uri) as hypervisor:
            versions = hypervisor.connection.versions()
            account = hypervisor.enclosure.account
    finally:
        workspace.discard()
    yield Check("ok", "libvirt", f"{uri}: libvirt {versions['libvirt']}, QEMU {versions['qemu']}")
    yield Check("ok", "QEMU runs as", account or f"this user (uid {os.getuid()})")


def _firmware() -> Iterator[Check]:
    from factory.hypervisor.machine import OVMF

    found = next((code for code, variables in OVMF if Path(code).exists() and Path(variables).exists()), "")
    if found:
        yield Check("ok", "UEFI firmware", found)
    else:
        yield Check("fail", "UEFI firmware", "OVMF is not installed", "Run 'make setup', or install the package ovmf")


def _places() -> Iterator[Check]:
    for name, place in (
        ("cache", settings.cache_dir()),
        ("state", settings.state_dir()),
        ("output", Path("out").absolute()),
    ):
        existing = next(parent for parent in (place, *place.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if not os.access(existing, os.W_OK):
            yield Check(
                "fail", name, f"{place} cannot be written", "Change its owner, or set FACTORY_CACHE and FACTORY_STATE"
            )
        elif free < SPACE:
            yield Check(
                "warn", name, f"{place}: {free / 1e9:.0f} GB free", "Free some space: a build needs about 10 GB"
            )
        else:
            yield Check("ok", name, f"{place}: {free / 1e9:.0f} GB free")


def _memory() -> Iterator[Check]:
    text = Path("/proc/meminfo").read_text()
    free = next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable"))
    state: Literal["ok", "warn"] = "ok" if free >= MEMORY else "warn"
    yield Check(
        state,
        "memory",
        f"{free / 1e9:.1f} GB available",
        "" if state == "ok" else "A build and its tests take about 3 GB",
    )


def _settings() -> Iterator[Check]:
    for name in settings.DEFAULTS:
        found = settings.setting(name)
        if found.origin != "default" or found.value:
            yield Check("ok", name, f"{found.value} (from {found.origin})")
