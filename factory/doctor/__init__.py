"""What this host can do, and how to mend what it cannot; every line is found out, not assumed."""

from __future__ import annotations

import grp
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from factory import settings
from factory.doctor import configured, services
from factory.doctor.row import Check, guarded
from factory.errors import CommandFailed, FactoryError
from factory.run import AS_NAMESPACE_ROOT, find, run

__all__ = ["Check", "examine"]

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
KVM = Path("/dev/kvm")


def examine() -> list[Check]:
    """Every check, in the order of a build."""
    checks: list[Check] = []
    with ThreadPoolExecutor(1) as pool:  # they wait for answers, while this host is looked at
        answers = pool.submit(services.examine)
        for examination in (
            _programs, _accelerator, _kvm, _libvirt, _firmware, _user_name_spaces,
            _places, _memory, _cache_entries, _left,
        ):  # fmt: skip
            checks += guarded(examination)
        checks += answers.result()
    return checks + guarded(configured.examine, name="settings")


def _programs() -> Iterator[Check]:
    for program, package, reason in PROGRAMS:
        try:
            path = find(program, reason=reason, package=package)
        except FactoryError as error:
            yield Check("fail", program, "not installed", error.hint, command=error.command)
            continue
        yield Check("ok", program, _version(path))


def _version(path: str) -> str:
    option = "-V" if path.endswith("mke2fs") else "--version"
    done = run([path, option], reason="", allowed=range(256), timeout=20)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if any(c.isdigit() for c in line)]
    return lines[0][:100] if lines else path


def _accelerator() -> Iterator[Check]:
    from factory.hypervisor.accelerator import choose

    chosen = choose(settings.value("FACTORY_ACCEL"))
    state: Literal["ok", "warn"] = "ok" if chosen.name == "kvm" else "warn"
    yield Check(state, "accelerator", f"{chosen.name}: {chosen.why}", chosen.fix)


def _kvm() -> Iterator[Check]:
    device = KVM
    if not device.exists():
        yield Check(
            "ok", "/dev/kvm", "not there, and not needed"
        )  # the row of the accelerator says what it would bring
        return
    status = device.stat()
    mode = f"mode {status.st_mode & 0o777:04o}, group {_group(status.st_gid)}"
    if status.st_mode & 0o007:
        fix = "Run 'chmod 0660 /dev/kvm', and add those who may use it to its group"
        yield Check("warn", "/dev/kvm", f"every account of this host may use it ({mode})", fix)
    elif not os.access(device, os.R_OK | os.W_OK):
        yield Check(
            "warn", "/dev/kvm", f"this user may not open it ({mode})", "Run 'sudo adduser $USER kvm', log in again"
        )
    else:
        yield Check("ok", "/dev/kvm", mode)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _user_name_spaces() -> Iterator[Check]:
    """An ordinary user builds a base as root of a user name space."""
    if os.geteuid() == 0:
        return
    try:
        run([*AS_NAMESPACE_ROOT, "true"], reason="to build bases as an ordinary user", package="util-linux", timeout=10)
    except CommandFailed as error:
        fix = "Run 'sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER'; on Ubuntu 24.04 also "
        fix += "'sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0'"
        yield Check("warn", "user name spaces", f"not usable, so no base can be built: {error.cause}", fix)
        return
    yield Check("ok", "user name spaces", "usable: bases can be built")


def _cache_entries() -> Iterator[Check]:
    from factory import cache
    from factory.units import format_size

    place = settings.cache_dir()
    if not place.exists():
        yield Check("ok", "cache entries", "none yet")
        return
    store, limit = cache.Cache(), cache.size_limit()
    entries = store.entries()
    damaged = [entry for entry in entries if not entry.path.is_file() or entry.path.stat().st_size != entry.size]
    total = sum(entry.size for entry in entries)
    found = f"{len(entries)}, {total / 1e9:.1f} GB of {format_size(limit)}"
    if damaged:
        fix = "They are made again when they are needed; 'factory bases update' does it now"
        yield Check("warn", "cache entries", f"{found}; damaged: {', '.join(entry.key for entry in damaged)}", fix)
    elif total > limit:
        fix = "The oldest go with the next base that is made, or raise FACTORY_CACHE_LIMIT"
        yield Check("warn", "cache entries", f"{found}: over the limit", fix)
    else:
        yield Check("ok", "cache entries", found)


def _left() -> Iterator[Check]:
    """What dead builds left, and what is kept."""
    from factory import ledger
    from factory.console import Console
    from factory.reaping import reap

    left = reap(Console.quiet(), dry_run=True, kept=False)
    entries = ledger.entries(settings.state_dir())
    kept = [entry for entry in entries if entry.kept]
    running = sum(not entry.kept and ledger.alive(entry.owner, written=entry.written) for entry in entries)
    if left:
        more = f", and {len(left) - 1} more" if len(left) > 1 else ""
        fix = "Run 'factory gc', which removes what runs that were killed left; 'factory gc --dry-run' shows all of it"
        yield Check("warn", "left behind", f"'factory gc' {left[0]}{more}", fix)
    elif kept:
        names = ", ".join(entry.build_id for entry in kept)
        yield Check("ok", "left behind", f"nothing; kept for a look: {names} ('factory gc' ends that)")
    else:
        yield Check("ok", "left behind", "nothing" + f"; builds that run: {running}" * bool(running))


def _libvirt() -> Iterator[Check]:
    from factory.hypervisor.accelerator import Accelerator
    from factory.hypervisor.hypervisor import Hypervisor
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
    from factory.hypervisor.hypervisor import OVMF

    found = next((code for code, variables in OVMF if Path(code).exists() and Path(variables).exists()), "")
    if found:
        yield Check("ok", "UEFI firmware", found)
    else:
        yield Check("fail", "UEFI firmware", "OVMF is not installed", "Run 'make setup', or install the package ovmf")


def _places() -> Iterator[Check]:
    for name, place, setting in (
        ("cache", settings.cache_dir(), "FACTORY_CACHE"),
        ("state", settings.state_dir(), "FACTORY_STATE"),
        ("output", Path("out").absolute(), "--output"),
    ):
        existing = next(parent for parent in (place, *place.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if not existing.is_dir():
            yield Check("fail", name, f"{existing} is no folder", f"Remove it, or name another folder with {setting}")
        elif not os.access(existing, os.W_OK):
            yield Check(
                "fail", name, f"{place} cannot be written", f"Change its owner, or name another folder with {setting}"
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
