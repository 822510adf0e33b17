"""An image file that the command line names: it is there, it is a plain file, and this user may read it.

What is no such file is told for what it is, with the files near by that look like what was meant.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path

from factory.errors import UsageError

ENDINGS = (".qcow2", ".raw", ".img", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso", ".oci", ".ova", ".tar.gz", ".gz", ".xz")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}
_LISTED = 5  # names that are told


def require(path: Path, what: str = "image file") -> Path:
    """*path*, when it is a file that can be read; *what* names it in errors. Raises UsageError."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFREG:
            with path.open("rb"):
                return path
    except ValueError as error:
        raise UsageError(f"{path} is no name of a file", cause=str(error), code="usage.no-such-file") from None
    except OSError as error:
        raise _not_opened(path, what, error) from None
    raise _no_file(path, _KINDS.get(kind, "no plain file"))


def looks_like_one(name: str) -> bool:
    """Whether *name* was meant as an image file: it ends as one, or something that is no folder is there."""
    path = Path(name)
    with contextlib.suppress(OSError, ValueError):
        return name.lower().endswith(ENDINGS) or (os.path.lexists(path) and not path.is_dir())
    return True


def near(name: str, names: Iterable[str]) -> str:
    """``Did you mean x?`` with the nearest of *names*; empty when none is near."""
    found = difflib.get_close_matches(name, sorted(names), n=1)
    return f"Did you mean {found[0]}?" if found else ""


def _not_opened(path: Path, what: str, error: OSError) -> UsageError:
    if error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink():
        reason = "which is not there" if error.errno == errno.ENOENT else "and so on, in a circle"
        return UsageError(
            f"{path} is a symbolic link to {os.readlink(path)}, {reason}",
            hint="Name the file itself, or mend the link",
            code="usage.no-such-file",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UsageError(
            f"this user may not read {path}",
            hint="Give this user the right to read the file, and to enter every folder on the way",
            code="usage.file-unreadable",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return UsageError(
            f"there is no {what} {path}",
            cause=_built(path) or _beside(path),
            hint="Check the path",
            code="usage.no-such-file",
        )
    return UsageError(f"{path} cannot be read", cause=error.strerror or str(error), code="usage.no-such-file")


def _built(path: Path) -> str:
    """The image of the newest build, when *path* is no path and the name of a recipe that was built here."""
    with contextlib.suppress(OSError):
        for each in Path("out", path, "latest").iterdir() if len(path.parts) == 1 else ():
            if each.name.lower().endswith(ENDINGS):
                return f"The newest image of the recipe {path} is {each}"
    return ""


def _beside(path: Path) -> str:
    """What is where *path* should be: a name that is near, or the images that are there."""
    folder = path.parent
    if not os.path.isdir(folder):  # noqa: PTH112 - which is False for a name that is too long
        return f"The folder {folder} is not there" if not os.path.lexists(folder) else f"{folder} is no folder"
    with contextlib.suppress(OSError):
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
        if meant := _nearest(path.name, names):
            return f"Did you mean {folder / meant}?"
        images = sorted(name for name in names if name.lower().endswith(ENDINGS))
        if images:
            more = f" and {len(images) - _LISTED} more" if len(images) > _LISTED else ""
            return f"The images in {folder.absolute()} are {', '.join(images[:_LISTED])}{more}"
    return ""


def _nearest(name: str, names: Iterable[str]) -> str:
    """The nearest of *names* without regard to how they end: every image ends alike."""
    stems = {_stem(each): each for each in sorted(names)}
    found = difflib.get_close_matches(_stem(name), stems, n=1)
    return stems[found[0]] if found else ""


def _stem(name: str) -> str:
    ending = next((each for each in ENDINGS if name.lower().endswith(each)), "")
    return name[: len(name) - len(ending)]


def _no_file(path: Path, kind: str) -> UsageError:
    cause, hint, command = "", "Name a disk image: a file that can be read from any place", ""
    if kind == "a folder":
        hint = "Name the image in it"
        with contextlib.suppress(OSError):
            images = sorted(each for each in path.iterdir() if each.name.lower().endswith(ENDINGS) and each.is_file())
            if len(images) == 1:
                cause = f"The image in it is {images[0]}"
            elif images:
                cause = f"Images in it are {', '.join(each.name for each in images[:_LISTED])}"
    elif kind == "a pipe":
        hint = "An image is read from any place, not from its start to its end: write it into a file first"
    elif kind == "a block device":
        hint = "Copy the disk into a file first"
        command = shlex.join(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(path), "NEW.qcow2"])
    return UsageError(
        f"{path} is {kind}, no image file", cause=cause, hint=hint, command=command, code="usage.not-a-file"
    )
