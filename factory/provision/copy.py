"""``copy``: put a file or a folder of the recipe into the guest."""

from __future__ import annotations

import shlex
import tarfile

from factory.errors import StepFailed
from factory.provision.session import Session
from factory.recipe import CopyStep, copied


def apply(step: CopyStep, session: Session, where: str) -> None:
    """Copy what *step* names, with its owner, group and mode."""
    for database, name in (("passwd", step.owner), ("group", step.group)):
        if not name.isdigit() and session.guest.run(f"getent {database} {shlex.quote(name)}", check=False).status != 0:
            raise StepFailed(
                f"{where} failed: the guest has no {'user' if database == 'passwd' else 'group'} {name}",
                hint="Add it in an earlier step (adduser --system), or name another",
                code="step.no-account",
            )

    def write(archive: tarfile.TarFile) -> None:
        for entry in copied(session.recipe, step):
            header = tarfile.TarInfo(entry.destination.lstrip("/") or ".")
            header.mode = entry.mode
            _own(header, step)
            if entry.folder:
                header.type = tarfile.DIRTYPE
                archive.addfile(header)
            elif entry.template:
                data = entry.content(session.recipe.values)
                header.size = len(data)
                import io

                archive.addfile(header, io.BytesIO(data))
            else:
                header.size = entry.source.stat().st_size
                with entry.source.open("rb") as file:
                    archive.addfile(header, file)

    result = session.guest.put_tar(write, timeout=3600 * session.scale, alive=session.alive)
    if result.status != 0:
        raise StepFailed(
            f"{where} failed: tar in the guest ended with status {result.status}",
            cause=result.stderr.strip().splitlines()[-1] if result.stderr.strip() else "",
            hint="Is a file where a folder should be, or the other way round? Is the guest's disk full?",
            output=result.stderr[-2000:],
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
