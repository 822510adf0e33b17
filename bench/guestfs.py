"""The libguestfs tools on the same base: virt-customize, virt-sysprep, virt-sparsify; and virt-inspector."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from bench.measure import Cost, run

PROGRAMS = ("virt-customize", "virt-sysprep", "virt-sparsify", "virt-inspector")


def available() -> bool:
    """Whether all of them are installed."""
    return all(shutil.which(program) for program in PROGRAMS)


def build(base: Path, package: str, mirror_lines: str, work: Path, accelerator: str) -> Cost:
    """Install *package* into a copy of *base*, and make it ready to be published; *work* is an empty folder."""
    disk, lines, image = work / "disk.qcow2", work / "sources.list", work / "guestfs.qcow2"
    lines.write_text(mirror_lines)
    install = ["--install", package, "--run-command", "apt-get clean"]
    steps = [
        ["qemu-img", "convert", "-O", "qcow2", str(base), str(disk)],
        ["virt-customize", "-q", "-a", str(disk), "--upload", f"{lines}:/etc/apt/sources.list", *install],
        ["virt-sysprep", "-q", "-a", str(disk)],
        ["virt-sparsify", "-q", "--compress", "--tmp", str(work), str(disk), str(image)],
    ]
    costs = [run(step, log=work / "guestfs.log", environment=_environment(accelerator)) for step in steps]
    return Cost(
        sum(cost.wall for cost in costs),
        sum(cost.cpu for cost in costs),
        max(cost.memory for cost in costs),
        image.stat().st_size,
    )


def inspect(image: Path, work: Path, accelerator: str) -> Cost:
    """What virt-inspector needs to look at *image*."""
    argv = ["virt-inspector", "--format=qcow2", "-a", str(image)]
    return replace(run(argv, log=work / "inspector.xml", environment=_environment(accelerator)), size=0)


def _environment(accelerator: str) -> dict[str, str]:
    settings = {"LIBGUESTFS_BACKEND": "direct"}
    return settings | ({"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"} if accelerator == "tcg" else {})
