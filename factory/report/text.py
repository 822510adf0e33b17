"""text: for people, the worst first; rules that pass are only counted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from factory.findings import Finding
from factory.report import Report, worst_first

_COLOURS = {"FAIL": "31;1", "WARN": "33;1", "INFO": "36", "SKIP": "2"}
SHOWN = 8  # findings of one rule, and lines of one finding's evidence


def write(report: Report) -> str:
    """A paragraph for each rule that is broken, a line for each that was skipped, and the counts."""
    found = sorted(report.document.findings, key=worst_first)
    lines: list[str] = []
    for _, some in groupby(found, key=lambda each: (worst_first(each)[0], each.rule)):
        group = list(some)
        if group[0].status in ("warn", "fail"):
            lines += [*_paragraph(report, group), ""]
    skipped = [each for each in found if each.status == "skip"]
    for reason, some in groupby(sorted(skipped, key=lambda each: each.evidence), key=lambda each: each.evidence):
        rules = [each.rule for each in some]
        more = f" and {len(rules) - SHOWN} more" if len(rules) > SHOWN else ""
        lines.append(f"{_word(report, 'SKIP')} {', '.join(rules[:SHOWN])}{more}  {_first(reason)}")
    if skipped:
        lines.append("")
    counts = report.document.summary
    told = f"{counts.info} for information, " if counts.info else ""
    lines.append(
        f"{report.document.image}, target {report.document.target}: "
        f"{counts.fail} failed, {counts.warn} warned, {told}{counts.skip} skipped, {counts.passed} passed"
    )
    return "\n".join(lines) + "\n"


def _paragraph(report: Report, group: list[Finding]) -> Iterator[str]:
    first = group[0]
    word = "FAIL" if first.status == "fail" else "INFO" if first.only_told else "WARN"
    rule = report.rules.get(first.rule)
    yield f"{_word(report, word)} {first.rule}  {rule.title if rule else first.why}"
    for finding in group[:SHOWN]:
        lines = finding.evidence.splitlines() or [finding.subject]
        yield from (f"     {line}" for line in lines[:SHOWN])
        if len(lines) > SHOWN:
            yield f"     and {len(lines) - SHOWN} more lines"
    if len(group) > SHOWN:
        yield f"     and {len(group) - SHOWN} more"
    if first.why:
        yield f"     why: {first.why}"
    for fix in dict.fromkeys(finding.fix.strip() for finding in group[:SHOWN] if finding.fix):
        yield from (f"     {'fix: ' if not number else '     '}{line}" for number, line in enumerate(fix.splitlines()))
    if first.source:
        yield f"     see: {first.source}"


def _word(report: Report, word: str) -> str:
    return f"\x1b[{_COLOURS[word]}m{word}\x1b[0m" if report.colour else word


def _first(evidence: str) -> str:
    return evidence.split("\n", 1)[0][:160]
