"""``factory check --fix``: a repaired copy of an image; the original is only read, and no guest is started.

What is repaired: the format and the layout of the file (written anew), a GPT whose backup is not at the end (sgdisk),
and files whose removal is the fix that a rule names (debugfs on ext file systems). What a removed file held is wiped
from free blocks and journal too. All else is left, and told by the check of the copy.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from factory import disk, ext4, inspection, run, settings
from factory.errors import ImageRefused, UsageError
from factory.files import temporary_folder
from factory.findings import Finding
from factory.finish import clean
from factory.image_file import ImageFile, look
from factory.partitions import Partition
from factory.targets import Target

REASON = "to repair the image"
_PLAIN = re.compile(r"/[\w./@:+~-]+")  # what debugfs takes without quoting
_STEPS = 1000  # from folder to folder, in search of a file


def fix(path: Path, target: Target, findings: Sequence[Finding], output: Path) -> list[str]:
    """Write a copy of the image *path* to *output*, with what can be repaired repaired; returns what was done.

    Raises ImageRefused when nothing may follow what the file says of itself, UsageError when *output* is there.
    """
    if output.exists():
        raise UsageError(f"{output} is already there", hint="Name a new file for --output", code="usage.output")
    file = look(path)
    if not file.is_disk:
        raise ImageRefused(
            f"{path.name} cannot be repaired offline",
            cause="; ".join(file.refused) or f"the file is {file.described}",
            command=file.instead,
        )
    broken = [finding for finding in findings if finding.status in ("warn", "fail")]
    with temporary_folder(settings.state_dir(), "fix") as folder:
        raw = folder / "disk.raw"
        disk.raw_copy(path, file.format, raw)
        done = _table(raw, broken)
        done += _removed(raw, broken)
        options = {"subformat": "fixed", "force_size": "on"} if target.format == "vpc" else None
        disk.convert(raw, "raw", output, target.format, compress=target.format == "qcow2", options=options)
    return [*done, _written(file, target)]


def _table(raw: Path, broken: Iterable[Finding]) -> list[str]:
    if not any(finding.rule == "GEN-F08" and "sgdisk -e" in finding.fix for finding in broken):
        return []
    run.run(["sgdisk", "-e", raw], reason=REASON, package="gdisk", timeout=60, allowed=(0, 2, 3, 4))
    return ["moved the backup of the GPT to the end of the disk"]


def _removed(raw: Path, broken: Iterable[Finding]) -> list[str]:
    wanted = dict.fromkeys(each.subject for each in broken if each.fix.strip() == f"rm -f {shlex.quote(each.subject)}")
    if not wanted:
        return []
    done: list[str] = []
    places: dict[int, list[str]] = {}
    with inspection.open_image(raw, format="raw") as image:
        parts: dict[int, Partition] = {part.number: part for part in image.partitions()}
        root = image.mounts()["/"]
        for path in dict.fromkeys(_direct(image, path) for path in wanted):
            found = image.stat(path) if _PLAIN.fullmatch(path) else None
            system = parts[found.partition].filesystem if found else None
            # A path below another mount has another name there; only the root is edited.
            if found and found.kind in ("file", "symlink") and found.partition == root and _editable(system):
                places.setdefault(parts[found.partition].start, []).append(path)
    for start, paths in places.items():
        if ext4.check_filesystem(raw, start):
            continue  # in one that is damaged, what is taken away may be in use elsewhere
        ext4.edit(raw, start, [f"rm {path}" for path in paths])
        clean(raw, start)
        done += [f"removed {path}" for path in paths]
    return done


def _direct(image: inspection.Image, path: str) -> str:
    """*path* without symbolic links on its way: debugfs frees what one leads to, and leaves the name."""
    folder, _, name = path.rpartition("/")
    done, left = "", folder.split("/")[::-1]
    for _ in range(_STEPS):
        if not left:
            return f"{done}/{name}"
        part = left.pop()
        if part == "..":
            done = done.rpartition("/")[0]
        elif part not in ("", "."):
            found = image.stat(f"{done}/{part}")
            if found is None or found.kind != "symlink":
                done = f"{done}/{part}"
                continue
            target = image.readlink(f"{done}/{part}")
            done = "" if target.startswith("/") else done
            left += target.split("/")[::-1]
    return ""


def _editable(system: object) -> bool:
    return getattr(system, "kind", "").startswith("ext") and bool(getattr(system, "clean", False))


def _written(file: ImageFile, target: Target) -> str:
    return f"wrote the disk of a {file.format} file anew as {target.format}"
