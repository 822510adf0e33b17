"""junit: XML as continuous integration shows it; a test case for each finding, a failure for each that fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from factory.errors import sentence
from factory.findings import Finding
from factory.report import Report

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no way to write


def write(report: Report) -> str:
    """One test suite for the image; warnings are passed cases that say what they saw."""
    document = report.document
    return whole([suite(f"factory check {document.image} ({document.target})", report)])


def suite(name: str, report: Report, seconds: float | None = None) -> ElementTree.Element:
    """The test suite *name* with a case for each finding; *seconds* is what all of them took, when it is known."""
    findings = report.document.findings
    found = _suite(name, len(findings), seconds)
    found.set("failures", str(report.document.summary.fail))
    found.set("skipped", str(report.document.summary.skip))
    for finding in findings:
        _case(found, report, finding)
    return found


def broken_suite(name: str, error: Mapping[str, Any]) -> ElementTree.Element:
    """The test suite *name* of what never came to a finding; *error* is what ended it, as data."""
    found = _suite(name, 0, None)
    add_error(found, error)
    return found


def add_error(into: ElementTree.Element, error: Mapping[str, Any]) -> None:
    """One more case in a suite, for *error*, which ended the build, as data."""
    for count in ("tests", "errors"):
        into.set(count, str(int(into.get(count, "0")) + 1))
    case = ElementTree.SubElement(into, "testcase", classname=_xml(error["code"]), name="the build ends well")
    ended = ElementTree.SubElement(case, "error", message=_xml(error["message"]), type=_xml(error["code"]))
    told = [sentence(str(error[part])) for part in ("message", "cause", "hint") if error[part]]
    ended.text = _xml("\n".join([*told, *filter(None, [error["command"]])]))


def whole(suites: Iterable[ElementTree.Element]) -> str:
    """The document with *suites*, indented."""
    root = ElementTree.Element("testsuites")
    root.extend(suites)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(each.get(count, "0")) for each in root)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _suite(name: str, tests: int, seconds: float | None) -> ElementTree.Element:
    counts = {"tests": str(tests), "failures": "0", "errors": "0", "skipped": "0"}
    return ElementTree.Element(
        "testsuite", {"name": _xml(name), **counts, **({} if seconds is None else {"time": f"{seconds:.1f}"})}
    )


def _case(into: ElementTree.Element, report: Report, finding: Finding) -> None:
    name = report.rules[finding.rule].title if finding.rule in report.rules else finding.why or finding.rule
    case = ElementTree.SubElement(into, "testcase", classname=_xml(finding.rule), name=_xml(name))
    told = _xml("\n".join(part for part in (finding.evidence, finding.why, finding.fix, finding.source) if part))
    if finding.subject != "image":
        # CI tells cases apart by class and name, and a rule may find something in several places.
        case.set("name", _xml(f"{name}: {finding.subject}"))
        case.set("file", _xml(finding.subject))
    if finding.status == "fail":
        first = finding.evidence.split("\n", 1)[0]
        ElementTree.SubElement(case, "failure", message=_xml(first), type=finding.severity).text = told
    elif finding.status == "skip":
        ElementTree.SubElement(case, "skipped", message=_xml(finding.evidence))
    elif finding.status == "warn":
        ElementTree.SubElement(case, "system-out" if finding.only_told else "system-err").text = told
    else:
        ElementTree.SubElement(case, "system-out").text = _xml(finding.evidence)


def _xml(text: str) -> str:
    """*text* with what no XML can hold escaped: control characters and halves of characters, as a guest may print."""
    return _NO_XML.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
