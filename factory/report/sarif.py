"""sarif: version 2.1.0, as code hosting shows findings."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from factory import __version__
from factory.findings import Finding
from factory.report import Report

LEVELS = {"error": "error", "warn": "warning", "info": "note"}
KINDS = {"pass": "pass", "skip": "notApplicable", "warn": "fail", "fail": "fail"}


def write(report: Report) -> str:
    """One run; every finding is a result, with its path in the guest as a logical location."""
    document = report.document
    driver = {
        "name": "factory check",
        "version": __version__,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.why},
                "help": {"text": rule.fix or rule.why},
                "defaultConfiguration": {"level": LEVELS[rule.severity]},
                **({"helpUri": rule.source} if rule.source.startswith("https://") else {}),
            }
            for rule in report.rules.values()
        ],
    }
    artifact = {"location": {"uri": quote(document.image)}}
    run = {
        "tool": {"driver": driver},
        "artifacts": [{**artifact, **({"hashes": {"sha-256": document.sha256}} if document.sha256 else {})}],
        "properties": {"target": document.target},
        "results": [_result(document.image, finding) for finding in document.findings],
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(image: str, finding: Finding) -> dict[str, Any]:
    broken = finding.status in ("warn", "fail")
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": quote(image)}}}
    if finding.subject != "image":
        location["logicalLocations"] = [{"fullyQualifiedName": finding.subject, "kind": "resource"}]
    fix = f"\n{finding.fix}" if finding.fix else ""
    return {
        "ruleId": finding.rule,
        "kind": KINDS[finding.status],
        "level": LEVELS[finding.severity] if broken else "none",
        "message": {"text": (finding.evidence or finding.why or finding.rule) + fix},
        "locations": [location],
    }
