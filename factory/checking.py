"""A whole check of one image file against one or several targets: what ``factory check`` and a build do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from factory import checks, inspection, targets
from factory.findings import Finding
from factory.image_file import look


def check(path: Path, target: targets.Target, *, allow_users: Sequence[str] = ()) -> list[Finding]:
    """What the rules of *target* find in the image file *path*, which is only read.

    What cannot be read is a finding. Raises HostError only when this host lacks something.
    """
    file = look(path)
    rules = targets.rules(target)
    try:
        opened = inspection.open_image(path, format=file.format)
    except inspection.Unreadable as error:
        return checks.run(rules, checks.Looked(file, target, None, unseen=str(error), allow_users=allow_users))
    with opened:
        return checks.run(rules, checks.Looked(file, target, opened, allow_users=allow_users))


def ignoring(findings: Sequence[Finding], ignored: Mapping[str, str]) -> list[Finding]:
    """*findings*, where a broken rule that is ignored is skipped, with the reason on record.

    What could not be looked at stays: a reason to accept what is known is none to accept what is not.
    """
    return [
        finding.model_copy(
            update={"status": "skip", "evidence": f"ignored ({ignored[finding.rule]}): {finding.evidence}"}
        )
        if finding.rule in ignored and finding.status in ("fail", "warn") and checks.UNSEEN not in finding.evidence
        else finding
        for finding in findings
    ]
