"""junit: XML as continuous integration shows it; a test case for each finding, a failure for each that fails."""

from __future__ import annotations

from xml.etree import ElementTree

from factory.report import Report


def write(report: Report) -> str:
    """One test suite for the image; warnings are passed cases that say what they saw."""
    document = report.document
    counts = document.summary
    suite = ElementTree.Element(
        "testsuite",
        name=f"factory check {document.image} ({document.target})",
        tests=str(len(document.findings)),
        failures=str(counts.fail),
        skipped=str(counts.skip),
        errors="0",
    )
    for finding in document.findings:
        case = ElementTree.SubElement(suite, "testcase", classname=finding.rule, name=_name(report, finding.rule))
        told = "\n".join(part for part in (finding.evidence, finding.why, finding.fix, finding.source) if part)
        if finding.subject != "image":
            case.set("file", finding.subject)
        if finding.status == "fail":
            first = finding.evidence.split("\n", 1)[0]
            ElementTree.SubElement(case, "failure", message=first, type=finding.severity).text = told
        elif finding.status == "skip":
            ElementTree.SubElement(case, "skipped", message=finding.evidence)
        else:
            name = "system-err" if finding.status == "warn" else "system-out"
            ElementTree.SubElement(case, name).text = told if finding.status == "warn" else finding.evidence
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _name(report: Report, rule: str) -> str:
    return report.rules[rule].title if rule in report.rules else rule
