"""The proof on the final bytes: every scrub operation's ``verify``, the canaries over the whole disk, the target's
limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factory import canaries, disk, inspection, scrub
from factory.findings import Finding
from factory.targets import Target

if TYPE_CHECKING:
    from factory.console import Console
    from factory.customise import Customised

SHOWN = 5  # leftovers named in one finding


def verify(
    image: Path, customised: Customised, targets: Sequence[Target], work: Path, console: Console
) -> list[Finding]:
    """What was found on *image* (the published qcow2); nothing in it is changed or booted."""
    raw = work / "verify.raw"
    with console.stage("verify") as stage:
        found = file_findings(image, targets)
        disk.convert(image, "qcow2", raw, "raw")
        try:
            with inspection.open_image(raw, format="raw") as view:
                found += _scrubbed(view, customised.scrub)
                compressed = canaries.search_compressed(view, customised.canaries)
            hits = canaries.search(raw, customised.canaries, stage=stage) + compressed.hits
        finally:
            raw.unlink(missing_ok=True)
        found.append(_no_canary(hits, len(customised.canaries), compressed))
        bad = [finding for finding in found if finding.status == "fail"]
        stage.note(f"{len(found) - len(bad)} passed, {len(bad)} failed" if bad else f"{len(found)} passed")
    return found


def _scrubbed(view: inspection.Image, facts: scrub.Facts) -> list[Finding]:
    left = scrub.verify(view, facts)
    findings = []
    for operation in scrub.operations():
        mine = [leftover for leftover in left if leftover.operation == operation.name]
        errors = [leftover for leftover in mine if leftover.severity == "error"]
        told = errors or mine
        shown = "; ".join(f"{leftover.path}: {leftover.evidence}" for leftover in told[:SHOWN])
        more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        findings.append(
            Finding(
                rule=f"SCRUB-{operation.name.upper()}",
                status="fail" if errors else "warn" if mine else "pass",
                severity="error" if errors or not mine else "warn",
                subject="image",
                evidence=shown + more,
                why=operation.summary,
                fix="Let the recipe's step that makes it clean up, or ignore the rule with a reason" if mine else "",
                source="",
            )
        )
    return findings


def _no_canary(hits: Sequence[canaries.Hit], number: int, compressed: canaries.CompressedSearch) -> Finding:
    shown = "; ".join(f"{hit.canary.name} in {hit.where}" for hit in hits[:SHOWN])
    skipped = "; ".join(f"{each.path} ({each.reason})" for each in compressed.not_searched[:SHOWN])
    evidence = shown or (
        f"none of {number} in the whole disk, free blocks included, and in {compressed.searched} compressed files"
        + (f"; not searched: {skipped}" if skipped else "")
    )
    return Finding(
        rule="SCRUB-CANARIES",
        status="fail" if hits else "pass",
        severity="error",
        subject="image",
        evidence=evidence,
        why="Keys, names and addresses of the build must not be anywhere in the image, deleted files included",
        fix="Remove the named file in the recipe; in a free block it is a defect of the scrub" if hits else "",
        source="",
    )


def file_findings(image: Path, targets: Sequence[Target]) -> list[Finding]:
    """The image file against what every importer wants, and against the limits of *targets*."""
    info = disk.info(image, "qcow2")
    plain = not (info.backing or info.data_file or info.encrypted or info.snapshots or info.dirty or info.corrupt)
    findings = [
        _file(
            "IMAGE-PLAIN",
            plain,
            "no backing file, data file, encryption or snapshot" if plain else str(info),
            "Importers refuse an image that refers to other files",
            "qemu-img convert -O qcow2",
        ),
        _file(
            "IMAGE-COMPAT",
            info.compat == "1.1",
            f"qcow2 {info.compat}",
            "The version that every importer reads",
            "qemu-img convert -O qcow2 -o compat=1.1",
        ),
    ]
    for target in targets:
        size = image.stat().st_size
        findings += [
            _file(
                f"{target.name.upper()}-FORMAT",
                target.format == "qcow2" and info.compression == target.compression,
                f"qcow2, {info.compression}",
                f"{target.title} imports {target.format}",
                "",
                target.source,
            ),
            _file(
                f"{target.name.upper()}-FILE-SIZE",
                not target.file_size or size <= target.file_size,
                f"{size} bytes, at most {target.file_size}",
                f"{target.title} refuses larger files",
                "Install less, or remove data from the image",
                target.source,
            ),
            _file(
                f"{target.name.upper()}-VIRTUAL-SIZE",
                not target.virtual_size or info.virtual_size <= target.virtual_size,
                f"{info.virtual_size} bytes, at most {target.virtual_size}",
                f"{target.title} refuses larger disks",
                "Give the recipe a smaller disk; an instance grows to its own",
                target.source,
            ),
        ]
    return findings


def ignoring(findings: Sequence[Finding], ignored: Mapping[str, str]) -> list[Finding]:
    """*findings*, where a broken rule that the recipe ignores is skipped, with the recipe's reason on record."""
    return [
        finding.model_copy(
            update={"status": "skip", "evidence": f"ignored ({ignored[finding.rule]}): {finding.evidence}"}
        )
        if finding.rule in ignored and finding.status in ("fail", "warn")
        else finding
        for finding in findings
    ]


def _file(rule: str, good: bool, evidence: str, why: str, fix: str, source: str = "") -> Finding:
    return Finding(
        rule=rule,
        status="pass" if good else "fail",
        severity="error",
        subject="image",
        evidence=evidence,
        why=why,
        fix="" if good else fix,
        source=source,
    )
