"""The command lines of qemu-img, built and not run.

The format is always named (``-f``): a guest can write any header into a raw disk, and a guess would believe it.
Names are always absolute: QEMU takes ``json:...``, ``nbd:...`` and the like for a protocol unless a slash comes first.
Sizes are in bytes. :mod:`factory.disk` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

INFO_LIMITS = ("prlimit", "--cpu=30", f"--as={2 << 30}")  # a hostile header must not cost the host its memory
CHECK_LIMITS = ("prlimit", "--cpu=300", f"--as={4 << 30}")


def create(path: Path, format: str, size: int, options: Mapping[str, str] | None = None) -> list[str]:  # noqa: A002
    """``qemu-img create`` of an empty image."""
    return ["qemu-img", "create", "-q", "-f", format, *_options(options), str(path.absolute()), str(size)]


def overlay(
    base: Path, base_format: str, path: Path, size: int | None = None, cluster_size: int | None = None
) -> list[str]:
    """``qemu-img create`` of a qcow2 whose unwritten blocks are those of *base*."""
    options = {"compat": "1.1"} | ({"cluster_size": str(cluster_size)} if cluster_size else {})
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", base_format, "-b", str(base.absolute())]
    return [*words, *_options(options), str(path.absolute()), *([str(size)] if size is not None else [])]


def info(path: Path, format: str) -> list[str]:  # noqa: A002
    """``qemu-img info`` within limits; ``-U`` because a machine may be using the image."""
    return [*INFO_LIMITS, "qemu-img", "info", "-U", "--output=json", "-f", format, str(path.absolute())]


def convert(
    source: Path,
    source_format: str,
    destination: Path,
    destination_format: str,
    *,
    compress: bool = False,
    options: Mapping[str, str] | None = None,
    threads: int = 8,
) -> list[str]:
    """``qemu-img convert``. ``-W`` writes out of order: compression then uses every core."""
    words = ["qemu-img", "convert", "-p", "-m", str(max(1, min(16, threads))), "-W", "-f", source_format]
    words += ["-O", destination_format, *(["-c"] if compress else []), *_options(options)]
    return [*words, str(source.absolute()), str(destination.absolute())]


def convert_alone(source: Path, source_format: str, destination: Path) -> list[str]:
    """``qemu-img convert`` to a raw file; a backing file or parent that *source* names is not opened."""
    name = str(source.absolute()).replace(",", ",,")  # a comma would begin the next option
    opened = f"driver={source_format},file.driver=file,file.filename={name},backing="
    return ["qemu-img", "convert", "-m", "4", "-W", "--image-opts", opened, "-O", "raw", str(destination.absolute())]


def rebase(path: Path, base: Path, *, unsafe: bool = False) -> list[str]:
    """``qemu-img rebase`` of a qcow2 to another backing file, one further down its chain.

    With *unsafe* nothing is read or copied: the same content is only somewhere else now.
    """
    words = ["qemu-img", "rebase", "-q", *(["-u"] if unsafe else []), "-f", "qcow2", "-F", "qcow2"]
    return [*words, "-b", str(base.absolute()), str(path.absolute())]


def resize(path: Path, format: str, size: int, *, shrink: bool = False) -> list[str]:  # noqa: A002
    """``qemu-img resize``; what lies past the end is lost, so making it smaller has to be said."""
    words = ["qemu-img", "resize", "-q", "-f", format, *(["--shrink"] if shrink else [])]
    return [*words, str(path.absolute()), str(size)]


def check(path: Path, format: str) -> list[str]:  # noqa: A002
    """``qemu-img check`` within limits, which repairs nothing."""
    return [*CHECK_LIMITS, "qemu-img", "check", "--output=json", "-f", format, str(path.absolute())]


def compare(first: Path, first_format: str, second: Path, second_format: str) -> list[str]:
    """``qemu-img compare`` of what two guests would read."""
    words = ["qemu-img", "compare", "-f", first_format, "-F", second_format]
    return [*words, str(first.absolute()), str(second.absolute())]


def _options(options: Mapping[str, str] | None) -> list[str]:
    # A comma in a value would begin the next option.
    pairs = [f"{key}={value.replace(',', ',,')}" for key, value in (options or {}).items()]
    return ["-o", ",".join(pairs)] if pairs else []
