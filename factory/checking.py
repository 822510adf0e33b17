"""A whole check of one image file against one or several targets: what ``factory check`` and a build do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from factory import checks, disk, files, inspection, rule_names, settings, targets
from factory.archive import Archive, look_inside
from factory.errors import CommandFailed
from factory.findings import Finding
from factory.image_file import ImageFile, look

READ_DIRECTLY = ("raw", "qcow2")
ARCHIVES = ("tar", "gzip")
READ_WHOLE = 1 << 40  # bytes; the digest of a larger file takes hours, and it costs nothing to make a sparse one
ALWAYS_READ = 64 << 30  # bytes; about a minute


@dataclass(frozen=True)
class Opened:
    """An image file as checks look at it: *disk* is None when nothing in it may be looked at, and *unseen* says why."""

    file: ImageFile
    archive: Archive | None
    disk: inspection.Image | None
    unseen: str = ""


@dataclass(frozen=True)
class Known:
    """What the caller knows of the image beside its bytes; *required_disk* in bytes, 0 when nobody says.

    *firmware* is the one that the cloud will be asked for, bios or uefi; empty when nobody says.
    """

    allow_users: tuple[str, ...] = ()
    required_disk: int = 0
    firmware: str = ""
    sha256: str | None = ""  # of the file; empty when nobody computed it, None when it is not read whole


def check(path: Path, wanted: Sequence[targets.Target], known: Known = Known()) -> list[Finding]:
    """What the rules of the *wanted* targets find in the image file *path*, which is only read.

    What cannot be read is a finding. Raises HostError only when this host lacks something.
    """
    containers = {container for target in wanted for container in target.containers}
    with opened(path, containers) as image:
        return look_at(image, wanted, known)


def look_at(image: Opened, wanted: Sequence[targets.Target], known: Known = Known()) -> list[Finding]:
    """What the rules of the *wanted* targets find in an opened image; the same finding of two targets once."""
    findings: dict[Finding, None] = {}
    read: dict[object, object] = {}
    for target in wanted:
        looked = checks.Looked(
            image.file,
            target,
            image.disk,
            unseen=image.unseen,
            archive=image.archive,
            allow_users=known.allow_users,
            required_disk=known.required_disk,
            firmware=known.firmware,
            sha256=known.sha256,
            known=read,
        )
        findings |= dict.fromkeys(checks.run(targets.rules(target), looked))
    return list(findings)


def digest(path: Path, wanted: Sequence[targets.Target], stage: disk.Progress | None = None) -> str | None:
    """The sha256 of the image file *path*; None when it is larger than a file is read for that.

    That is 1 TiB, or less when no target of *wanted* takes a file of its size. Raises HostError when it is unreadable.
    """
    most = max(min(target.limits.file_size or READ_WHOLE, READ_WHOLE) for target in wanted)
    with files.touching(path, "Reading an image"):
        size = path.stat().st_size
    return None if size > max(most, ALWAYS_READ) else disk.sha256(path, stage)


@contextmanager
def opened(path: Path, containers: Collection[str] = ()) -> Iterator[Opened]:
    """The image file *path*, opened; of archives only those of the kinds *containers* are unpacked.

    Only what is unpacked or converted needs a place to write. Raises HostError when the file cannot be read.
    """
    with ExitStack() as ends:
        with files.touching(path, "Reading an image"):
            file, archive = look(path), None
            if file.format in ARCHIVES:
                archive = look_inside(path)
        if archive and archive.kind in containers:
            folder = ends.enter_context(_place())
            with files.touching(folder, "Unpacking an archive"):
                archive = look_inside(path, folder)
        if archive and archive.extracted is not None:
            file = look(archive.extracted)
        if not file.is_disk:
            why = file.why_refused or f"the file is {archive.described if archive else file.described}"
            yield Opened(file, archive, None, why)
            return
        try:
            image = _view(file)
        except (inspection.Unreadable, CommandFailed) as error:
            yield Opened(file, archive, None, str(error))
            return
        with image:
            yield Opened(file, archive, image)


def _place() -> AbstractContextManager[Path]:
    return files.temporary_folder(settings.state_dir(), "check")


def _view(file: ImageFile) -> inspection.Image:
    """The disk in *file*: what is not read directly is converted by QEMU first, within limits."""
    if file.format in READ_DIRECTLY:
        return inspection.open_image(file.path, format=file.format)
    with _place() as folder:  # what is open stays, and nothing is left when this process is killed
        raw = folder / "view.raw"
        disk.raw_copy(file.path, file.format, raw)
        return inspection.open_image(raw, format="raw")


def ignoring(findings: Sequence[Finding], ignored: Mapping[str, str]) -> list[Finding]:
    """*findings*, where a broken rule that is ignored, by any of its names, is skipped, with the reason on record.

    What could not be looked at stays: a reason to accept what is known is none to accept what is not.
    """
    reasons = rule_names.ids(ignored)
    return [
        finding.model_copy(
            update={"status": "skip", "evidence": f"ignored ({reasons[finding.rule]}): {finding.evidence}"}
        )
        if finding.rule in reasons and finding.status in ("fail", "warn") and checks.UNSEEN not in finding.evidence
        else finding
        for finding in findings
    ]
