"""The proof on the final bytes: the rules of the targets, every scrub operation's ``verify``, the canaries over the
whole disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factory import canaries, checking, disk, inspection, scrub, targets
from factory.findings import Finding, Summary
from factory.image_file import look

if TYPE_CHECKING:
    from factory.console import Console
    from factory.customise import Customised

SHOWN = 5  # leftovers named in one finding


def verify(
    image: Path,
    customised: Customised,
    wanted: Sequence[targets.Target],
    known: checking.Known,
    work: Path,
    console: Console,
) -> list[Finding]:
    """What was found on *image* (the published qcow2); nothing in it is changed or booted.

    Without a target, the rules are those that every cloud shares.
    """
    raw = work / "verify.raw"
    with console.stage("verify") as stage:
        disk.convert(image, "qcow2", raw, "raw")
        try:
            # Searching the whole disk needs all of it decoded, so everything is read from that one copy.
            with inspection.open_image(raw, format="raw") as view:
                opened = checking.Opened(look(image), None, view)
                found = checking.look_at(opened, wanted or [targets.load("generic")], known)
                found += _scrubbed(view, customised.scrub, found)
                compressed = canaries.search_compressed(view, customised.canaries)
            hits = canaries.search(raw, customised.canaries, stage=stage) + compressed.hits
        finally:
            raw.unlink(missing_ok=True)
        found.append(_no_canary(hits, len(customised.canaries), compressed))
        stage.note(Summary.of(found).words)
    return found


def _scrubbed(view: inspection.Image, facts: scrub.Facts, rules: Sequence[Finding]) -> list[Finding]:
    """What each operation left behind, but for what a rule already told as gravely."""
    told = {finding.subject: finding.status for finding in rules if finding.status in ("warn", "fail")}
    left = [
        leftover
        for leftover in scrub.verify(view, facts)
        if told.get(leftover.path) != "fail" and (leftover.severity == "error" or leftover.path not in told)
    ]
    findings = []
    for operation in scrub.operations():
        mine = [leftover for leftover in left if leftover.operation == operation.name]
        errors = [leftover for leftover in mine if leftover.severity == "error"]
        shown = "; ".join(f"{leftover.path}: {leftover.evidence}" for leftover in (errors or mine)[:SHOWN])
        more = f"; and {len(errors or mine) - SHOWN} more" if len(errors or mine) > SHOWN else ""
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
