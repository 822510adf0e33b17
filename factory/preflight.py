"""What can be known of a build's end before its first second: tools, places and space."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from factory import disk, run, settings
from factory.base_definition import age
from factory.errors import HostError, UsageError
from factory.files import touching
from factory.processes import mark

if TYPE_CHECKING:
    from factory.bases import Base
    from factory.plan import Plan
    from factory.recipe import Recipe

GIB = 1024**3
HEADROOM = 2 * GIB  # bytes beside the disk itself
OUTPUT_SPACE = GIB // 2  # bytes that a published image with its logs needs at least, as a rule
BASE_SPACE = 3 * GIB  # bytes that the making of a base takes

PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "prlimit": "util-linux"}
OFFLINE_CLEANING = {"e2fsck": "e2fsprogs", "debugfs": "e2fsprogs", "dumpe2fs": "e2fsprogs"}
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
OF_A_SCRATCH_BASE = {"mmdebstrap": "mmdebstrap", "sgdisk": "gdisk", "mke2fs": "e2fsprogs"}


def check(
    plan: Plan, output: Path, boot_tests: Literal["full", "quick", "none"] = "full", *, old_base: bool = False
) -> None:
    """Raise HostError when a build of *plan* into *output* cannot end well on this host; takes well under a second.

    With *old_base* the one at hand is taken however old it is. One that is larger than the recipe's disk is a
    UsageError.
    """
    from factory import bases

    have = bases.cached(plan.base)
    used = have if have and (old_base or plan.base.pin or bases.fresh(plan.base, have.entry)) else None
    if used:
        require_disk(plan.recipe, used.name, int(used.facts.get("virtual_size") or 0))
    # A published image that has grown old may still be the newest: then nothing is fetched.
    makes = used is None and (have is None or plan.base.kind == "scratch")
    programs = PROGRAMS | OFFLINE_CLEANING
    if makes and plan.base.kind == "scratch":
        programs |= OF_A_SCRATCH_BASE
    with _or_as_it_is(have if makes else None):
        _require_programs(programs)
    if boot_tests != "none":
        _require_firmware(have.facts.get("boot") if have else plan.base.boot, boot_tests)
    needs = {settings.state_dir(): work_space(plan), output.absolute() / plan.recipe.name: OUTPUT_SPACE}
    if makes:
        needs[settings.cache_dir()] = BASE_SPACE
    for place in needs:
        _require_writable(place)
    _require_memory(plan, boot_tests)
    _require_links(output.absolute() / plan.recipe.name)
    with _or_as_it_is(have if makes else None):
        _require_space(needs, f"the build of {plan.recipe.name}")


@contextlib.contextmanager
def _or_as_it_is(old: Base | None) -> Iterator[None]:
    """What this host lacks may be for making the base anew: the *old* one needs none of it."""
    try:
        yield
    except HostError as error:
        if old:
            error.hint += f". --accept-stale takes the base made {age(old.entry.age)} ago as it is"
        raise


def require_disk(recipe: Recipe, base: str, size: int) -> None:
    """Raise UsageError unless the disk of *recipe* holds that of its *base*, *size* bytes."""
    if recipe.disk < size:
        raise UsageError(
            f"the disk of {recipe.file} is {recipe.disk / GIB:.1f} GiB, smaller than its base",
            cause=f"{base} has {size / GIB:.1f} GiB",
            hint=f"Write disk: {-(-size // GIB)}GiB or more",
            code="recipe.disk-too-small",
        )


def work_space(plan: Plan) -> int:
    """The bytes that a build may need below the state folder: raw copies are sparse, a full disk is the exception."""
    return min(plan.recipe.disk, 4 * GIB) + HEADROOM


def _require_memory(plan: Plan, boot_tests: Literal["full", "quick", "none"]) -> None:
    """Each machine alone: what several have together the kernel lets them take, as long as they do not use it."""
    wanted = {"machine": plan.recipe.machine.memory}
    if boot_tests != "none":
        wanted["requirements"] = plan.recipe.requirements.memory
    field, memory = max(wanted.items(), key=lambda item: item[1])
    most = most_memory()
    if most and memory > most:
        raise HostError(
            f"{plan.recipe.file} asks for a machine with {memory / GIB:.1f} GiB of memory",
            cause=f"This host has {most / GIB:.1f} GiB, swap included, and starts none that is larger",
            hint=f"Write less at memory of '{field}' in the recipe, or give this host more memory or swap",
            code="host.memory",
        )


def most_memory(
    meminfo: Path = Path("/proc/meminfo"), overcommit: Path = Path("/proc/sys/vm/overcommit_memory")
) -> int | None:
    """The bytes of memory above which the kernel gives no program any; None where it looks at nothing, or cannot tell.

    A control group's limit is not among this: it counts what a guest has touched, not what its machine has.
    """
    try:
        if overcommit.read_text().strip() == "1":
            return None
        sizes = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return sum(int(sizes[name].split()[0]) * 1024 for name in ("MemTotal", "SwapTotal"))
    except (OSError, ValueError, KeyError):
        return None


def _require_programs(programs: dict[str, str]) -> None:
    missing = list(_missing(programs))
    if missing:
        packages = " ".join(sorted({programs[name] for name in missing}))
        raise HostError(
            f"this host lacks what a build needs: {', '.join(missing)}",
            hint=f"Run 'make setup', or install the packages {packages}",
            code="host.tool-missing",
        )


def _require_firmware(ways: Collection[str] | None, boot_tests: Literal["full", "quick"]) -> None:
    """*ways* are those in which the base boots; nobody knows that yet of a file that was never looked at."""
    from factory.boot_test import BootTest
    from factory.boot_test.run import needs_uefi
    from factory.hypervisor.hypervisor import ovmf

    if ways and needs_uefi(BootTest(Path(), "", boot_tests, uefi="uefi" in ways, bios="bios" in ways)):
        ovmf()


def _missing(programs: dict[str, str]) -> Iterator[str]:
    for name, package in programs.items():
        try:
            run.find(name, reason="to build an image", package=package)
        except HostError:
            yield name


def _require_writable(place: Path) -> None:
    existing = _existing(place)
    if not existing.is_dir():
        with touching(existing, "Looking for a place to write to"):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
    if not os.access(existing, os.W_OK | os.X_OK):
        read_only = bool(os.statvfs(existing).f_flag & os.ST_RDONLY)
        number = errno.EROFS if read_only else errno.EACCES
        with touching(existing, "Looking for a place to write to"):
            raise OSError(number, os.strerror(number), str(existing))


def _require_links(place: Path) -> None:
    """``latest`` is a symbolic link: that none can be made must not be found at the end of a build."""
    latest = place / "latest"
    if os.path.lexists(latest) and not latest.is_symlink():
        raise HostError(
            f"{latest} is no symbolic link, and would stay as it is after the build",
            cause="Some program that copied the folder has put what the link led to in its place (zip, rsync -L, an "
            "artifact store)",
            hint=f"Move it away: mv {shlex.quote(str(latest))} {shlex.quote(str(latest) + '.old')}",
            code="host.latest-no-link",
        )
    link = _existing(place) / f".latest.{mark()}.{secrets.token_hex(4)}"
    with touching(link, "Making a link"):
        try:
            link.symlink_to("nowhere")
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            raise HostError(
                f"no symbolic link can be made in {link.parent}, and latest is to be one",
                cause=f"Its file system refuses them: {error.strerror}",
                hint="Choose a folder on another file system with --output",
                code="host.no-links",
            ) from error
        link.unlink()


def _existing(place: Path) -> Path:
    """*place*, or the nearest folder above it that is there."""
    for folder in (place.absolute(), *place.absolute().parents):
        if os.access(folder, os.F_OK):
            return folder
    return Path("/")


def _require_space(needs: dict[Path, int], what: str) -> None:
    """Places on one file system share its space."""
    by_device: dict[int, tuple[Path, int]] = {}
    for place, size in needs.items():
        device = _existing(place).stat().st_dev
        first, sum_of_sizes = by_device.get(device, (place, 0))
        by_device[device] = (first, sum_of_sizes + size)
    for place, size in by_device.values():
        disk.require_space(place, size, what)
