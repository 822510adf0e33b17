"""``copy``: put a file or a folder of the recipe into the guest."""

from __future__ import annotations

import io
import shlex
import tarfile
import time
from pathlib import Path

from factory.errors import StepFailed
from factory.provision.session import Session
from factory.recipe import CopyStep, copied
from factory.recipe.copying import Copied

IN_THE_WAY = """\
while IFS= read -r line; do
    case $line in
        f*) [ ! -d "${line#f}" ] || printf '%s\\n' "$line" ;;
        d*) { [ ! -e "${line#d}" ] && [ ! -h "${line#d}" ]; } || [ -d "${line#d}" ] || printf '%s\\n' "$line" ;;
    esac
done
"""


def apply(step: CopyStep, session: Session, where: str) -> None:
    """Copy what *step* names, with its owner, group and mode."""
    for database, name in (("passwd", step.owner), ("group", step.group)):
        if not name.isdigit() and session.guest.run(f"getent {database} {shlex.quote(name)}", check=False).status != 0:
            raise StepFailed(
                f"{where} failed: the guest has no {'user' if database == 'passwd' else 'group'} {name}",
                hint="Add it in an earlier step (adduser --system), or name another",
                code="step.no-account",
            )

    entries = copied(session.recipe, step)
    _require_room(step, entries, session, where)
    now = int(time.time())

    def write(archive: tarfile.TarFile) -> None:
        for entry in entries:
            header = tarfile.TarInfo(entry.destination.lstrip("/") or ".")
            header.mode = entry.mode
            header.mtime = now  # as cp does; a web server tells by it that a file has changed
            _own(header, step)
            if entry.folder:
                header.type = tarfile.DIRTYPE
                archive.addfile(header)
            elif entry.template:
                data = entry.content(session.recipe.values)
                header.size = len(data)
                archive.addfile(header, io.BytesIO(data))
            else:
                header.size = entry.source.stat().st_size
                with entry.source.open("rb") as file:
                    archive.addfile(header, file)

    try:
        result = session.guest.put_tar(write, timeout=3600 * session.scale, alive=session.alive)
    except OSError as error:
        raise StepFailed(
            f"{where} failed: {error.filename or step.source} cannot be read",
            cause=error.strerror or str(error),
            hint="It was there when the recipe was checked: do not change the recipe's files during a build",
            code="step.copy",
        ) from error
    if result.status != 0:
        raise StepFailed(
            f"{where} failed: tar in the guest ended with status {result.status}",
            cause=result.stderr.strip().splitlines()[-1] if result.stderr.strip() else "",
            hint="Is a file where a folder should be, or the other way round? Is the guest's disk full?",
            output=result.stderr[-2000:],
            code="step.copy",
        )


def _require_room(step: CopyStep, entries: list[Copied], session: Session, where: str) -> None:
    """Refuse a file where the guest has a folder, and a folder where it has none: tar would remove what is there."""
    listed = "".join(f"{'d' if entry.folder else 'f'}{entry.destination}\n" for entry in entries)
    found = session.guest.read(IN_THE_WAY, stdin=listed.encode(), timeout=600 * session.scale, alive=session.alive)
    for line in found.splitlines():
        path = line[1:]
        folder = line.startswith("d")
        raise StepFailed(
            f"{where} failed: {path} is {'no folder' if folder else 'a folder'} in the guest",
            cause=f"A {'folder' if folder else 'file'} is copied there, and nothing is removed to make room for it",
            hint="Name another destination, or remove what is there in an earlier step"
            if folder
            else f"Is the file's name missing: {path.rstrip('/')}/{Path(step.source).name}? "
            "Else remove the folder in an earlier step",
            code="step.copy",
        )


def _own(header: tarfile.TarInfo, step: CopyStep) -> None:
    if step.owner.isdigit():
        header.uid = int(step.owner)
    else:
        header.uname = step.owner
    if step.group.isdigit():
        header.gid = int(step.group)
    else:
        header.gname = step.group
