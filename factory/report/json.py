"""json: the document that ``findings.json`` holds too; its JSON Schema is ``factory schema findings``."""

from __future__ import annotations

from factory import manifest
from factory.report import Report


def write(report: Report) -> str:
    """The document, indented."""
    return manifest.text(report.document)
