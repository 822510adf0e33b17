"""Takes a disk image of this host as the base: copied into the cache, so that later edits of it do not matter.

The format is what the content says. An image that needs another file (a backing file, a data file) is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import boot_ways, disk, image_format, inspection
from factory.copying import clone_file, file_digest
from factory.errors import HostError, UsageError

if TYPE_CHECKING:
    from factory.bases import Definition
    from factory.console import Console

FORMAT = 2  # part of the cache key: raise it when the same file gives another image


def identity(definition: Definition) -> list[object]:
    """What tells this state of the file from every other one, without reading it; part of the cache key.

    Nothing sets a ctime back, so a file with the same inode, size, mtime and ctime has the same content.
    """
    assert definition.path is not None
    try:
        real = definition.path.resolve(strict=True)
        status = real.stat()
    except OSError as error:
        raise _unreadable(definition.path, error) from error
    return [str(real), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def build(definition: Definition, destination: Path, *, work: Path, console: Console, **_: Any) -> dict[str, object]:
    """Copy the file that *definition* names to the qcow2 *destination*, and return the facts.

    Raises UsageError when it is no usable disk image, HostError when there is no room for the copy.
    """
    assert definition.path is not None
    source = definition.path
    before = identity(definition)
    image_format.detect(source, failure=UsageError)  # before gigabytes are copied
    copy = work / "copy"
    with console.stage("copy") as stage:
        stage.note(source.name)  # a note ends up in the manifest, and a path can name a person
        try:
            clone_file(source, copy, report=stage.progress)
            digest = file_digest(copy, report=stage.progress)
        except OSError as error:
            copy.unlink(missing_ok=True)
            raise HostError(
                f"{source} cannot be copied into the cache",
                cause=str(error),
                hint=f"Free some space in {work.parent}, or set FACTORY_CACHE to a larger disk",
                code="host.disk-space",
            ) from error
    if identity(definition) != before:
        raise UsageError(
            f"{source} was changed while it was copied",
            hint="End what writes to it (a running machine?), and run it again",
            code="usage.file-changed",
        )
    found = image_format.detect(copy, failure=UsageError, shown=str(source))
    if found.name == "qcow2":
        copy.rename(destination)
    else:
        with console.stage("convert") as stage:
            stage.note(f"{found.name} to qcow2")
            disk.convert(copy, found.name, destination, "qcow2", stage=stage)
        copy.unlink()
    with console.stage("look into") as stage:
        known = _looked_into(destination)
        stage.note(f"{' and '.join(known['boot'])}, {known.get('default_user', 'no default user')}" if known else "")
    # The path stays out of the facts: they end up in the manifest, and a path can name a person.
    return {
        "file": source.name,
        "checksum": f"sha256:{digest}",
        "format": found.name,
        "virtual_size": found.virtual_size,
        **known,
    }


def _looked_into(image: Path) -> dict[str, Any]:
    """How the qcow2 *image* boots and whom it lets in; nothing when it cannot be looked at: its boots will tell."""
    try:
        with inspection.open_image(image, format="qcow2") as view:
            ways = boot_ways.read(view)
    except inspection.Unreadable:
        return {}
    return {"boot": list(ways.firmware)} | ({"default_user": ways.user} if ways.user else {})


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the base {path} cannot be read",
        cause=str(error),
        hint="Check the path and its rights",
        code="usage.no-such-file",
    )
