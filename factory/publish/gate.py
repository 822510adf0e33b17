"""What may be published: an image whose rules hold. A build was checked when it was made, any other file is now."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factory import targets
from factory.errors import ImageRefused
from factory.findings import Finding, Findings, failed
from factory.manifest import FINDINGS, ChecksEntry, read_manifest
from factory.publish import Artefact, artefacts

if TYPE_CHECKING:
    from factory.console import Console


def artefact_of(name: str, output: Path, console: Console) -> Artefact:
    """The artefact that *name* means: an image file, a build directory, a build id, or a recipe for its latest build.

    Its bytes are not read. Raises UsageError when there is none, ImageRefused when it is no disk image or its build
    refused it.
    """
    place = artefacts.find(name, output)
    if place.is_dir():
        place = place.resolve()  # "latest" may come to mean another build while this one is imported
        manifest = read_manifest(place)
        if manifest.findings.fail:
            raise ImageRefused(
                f"the build in {place} is not published, because {manifest.findings.fail} of its findings refuse it",
                hint="Mend the recipe and build it again; findings.json says more",
            )
        if not manifest.boots:
            console.warn(f"The build in {place} was made without a boot test")
    elif refused := _refused_beside(place):
        raise ImageRefused(
            f"{place} is not published, because {refused} of the findings beside it refuse it",
            cause=f"It is the image of a build that failed: {FINDINGS} in its folder is of this very file",
            hint="Mend the recipe and build it again",
        )
    return artefacts.of(place)


def _refused_beside(image: Path) -> int:
    """How many findings of a build that set *image* aside refuse it: a check, or a boot that nothing here repeats."""
    with contextlib.suppress(OSError, ValueError):
        document = Findings.model_validate_json((image.parent / FINDINGS).read_bytes())
        return len(failed(document.findings)) if document.image == image.name else 0
    return 0


def passed(artefact: Artefact, target: str, console: Console, firmware: str = "") -> Artefact:
    """*artefact* with its sha256, once it was read and keeps the rules. Raises ImageRefused and PublishError.

    *firmware* is the one that the cloud will be asked for, bios or uefi; empty when it is not asked for any.
    """
    with console.stage("digest") as stage:
        artefact = artefacts.read(artefact, stage)
    check(artefact, target, console, firmware)
    return artefact


def check(artefact: Artefact, target: str, console: Console, firmware: str = "") -> None:
    """Look at the image by the rules of *target*, unless it comes from a build that did. Raises ImageRefused.

    A build that no boot test started by *firmware* is looked at all the same. What the recipe of the build lets the
    checks pass is let pass here, too.
    """
    build = read_manifest(artefact.folder) if artefact.folder else None
    known_to_boot = build and firmware in ("", *(boot.firmware for boot in build.boots))
    if build and known_to_boot and target in (build.targets or ("generic",)):  # without a target: the rules of generic
        return
    from factory.checking import Known, ignoring
    from factory.checking import check as look

    allowed = (build and build.checks) or ChecksEntry.model_validate({})
    known = Known(allowed.allow_users, allowed.required_disk, firmware, artefact.sha256)
    with console.stage("check") as stage:
        findings = ignoring(look(artefact.image, [targets.load(target)], known), allowed.ignore)
        broken = failed(findings)
        stage.note(f"{len(broken)} of {len(findings)} findings refuse it" if broken else f"{len(findings)} findings")
        for finding in findings:
            if finding.status == "warn":
                (console.say if finding.only_told else console.warn)(finding.line)
        if broken:
            raise _refused(artefact, target, broken, len(findings))


def _refused(artefact: Artefact, target: str, broken: Sequence[Finding], looked: int) -> ImageRefused:
    return ImageRefused(
        f"{artefact.image.name} is not published, because {len(broken)} of {looked} findings refuse it: "
        + ", ".join(dict.fromkeys(finding.rule for finding in broken)),
        cause=broken[0].line,
        hint=f"{shlex.join(['factory', 'check', str(artefact.image), '--target', target])!r} says more",
        command=broken[0].fix,
        output="\n".join(f"{each.rule} ({each.subject}): {each.evidence[:300]}" for each in broken[:10]),
    )
