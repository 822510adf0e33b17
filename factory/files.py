"""Files written whole or not at all, their list of checksums, and what the system says when it cannot be done.

Every OSError of this host's files ends as a HostError that names the path and what to do about it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from factory.copying import file_digest
from factory.errors import HostError
from factory.processes import mark

SUMS = "SHA256SUMS"

_CODES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: (
        "host.disk-full",
        "Free some space there (factory gc removes what crashed runs left) or choose another place",
    ),
    errno.EDQUOT: ("host.disk-full", "Your quota there is used up: free some space or choose another place"),
    errno.EFBIG: ("host.file-too-big", "The file system or a limit (ulimit -f) refuses a file of this size"),
    errno.EROFS: ("host.read-only", "It is on a read-only file system: choose another place"),
    errno.EACCES: ("host.permission", "Give this user the right to it, or choose another place"),
    errno.EPERM: ("host.permission", "Give this user the right to it, or choose another place"),
    errno.ENOTDIR: (
        "host.not-a-folder",
        "A file stands where a folder is needed: move it away or choose another place",
    ),
    errno.EISDIR: ("host.not-a-file", "A folder stands where a file is needed: move it away or choose another place"),
    errno.EEXIST: ("host.exists", "Something else stands there: move it away or choose another place"),
    errno.ENAMETOOLONG: ("host.name-too-long", "Choose a shorter place or name"),
    errno.ENOENT: ("host.missing", "Something else removed it, or a folder on the way: see that it is there"),
    errno.EIO: ("host.input-output", "The disk or its file system has a fault: see the kernel's messages (dmesg)"),
}

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # these come from a disk, never from a defect of ours


@contextlib.contextmanager
def touching(path: Path, what: str) -> Iterator[None]:
    """Turn an OSError inside into a HostError: "*what* at *path*"; the path in the error itself is the better one."""
    try:
        yield
    except OSError as error:
        code, hint = _CODES.get(error.errno or 0, ("host.file", "See that the place exists and can be written"))
        # Of a failed rename the target is the place that matters.
        where = error.filename2 or error.filename or path
        where = os.fsdecode(where) if isinstance(where, str | bytes | os.PathLike) else str(path)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise HostError(f"{what} failed at {where}", cause=reason, hint=hint, code=code) from error


@contextlib.contextmanager
def disk_of(work: str) -> Iterator[None]:
    """Turn what only a disk can say inside into a HostError, wherever it was said: *work* is what it ended."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        with touching(Path("standard output or another file"), work):
            raise


def make_folder(path: Path, mode: int) -> None:
    """Make a folder with *mode*, whatever the umask says; one that is there already is left as it is. Raises OSError.

    Folders above it that are not there get the umask's mode: one of the factory's own is made by a call of its own.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True, mode=mode)
        path.chmod(mode)
        return
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


@contextlib.contextmanager
def temporary_folder(state: Path, what: str) -> Iterator[Path]:
    """A folder ``<what>-<mark>-<random>`` of the factory's state, for the length of the block. Raises HostError.

    What a killed process leaves of it is known by its mark: :func:`factory.ledger.reap` removes it.
    """
    with touching(state, "Making a folder of the factory's state"):
        make_folder(state, 0o711)
        folder = Path(tempfile.mkdtemp(prefix=f"{what}-{mark()}-", dir=state))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write *data* to *path* beside it and rename, so that a reader sees the old file or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{mark()}.{secrets.token_hex(4)}")
    with touching(path, "Writing a file"):
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(beside, path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def write_sums(folder: Path, known: Mapping[str, str] | None = None) -> Path:
    """Write ``SHA256SUMS`` in *folder*, as ``sha256sum -c`` reads it, over its files except logs and hidden ones.

    *known* are sums by file name that were computed already; they are not computed again.
    """
    with touching(folder, "Listing a folder"):
        names = sorted(
            path.name
            for path in folder.iterdir()
            if path.is_file() and path.name != SUMS and path.suffix != ".log" and not path.name.startswith(".")
        )
    lines = []
    for name in names:
        with touching(folder / name, "Reading a file"):
            lines.append(sum_line(name, (known or {}).get(name) or file_digest(folder / name)))
    write_whole(folder / SUMS, "".join(lines).encode("utf-8", "surrogateescape"))
    return folder / SUMS


def sum_line(name: str, digest: str) -> str:
    """One line of ``SHA256SUMS``; a name with a backslash or a line break is escaped as coreutils do."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"
