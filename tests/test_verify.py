"""What a build finds on its finished file: rules, scrub operations and canaries, each told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import scrub, targets
from factory.canaries import Canary
from factory.checking import Known, ignoring
from factory.console import Console
from factory.customise import Customised
from factory.findings import Finding
from factory.verify import verify
from tests import rule_images
from tests.rule_images import Change, write

FACTS = scrub.Facts(hostname="factory-abcdef1234")
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0c2VjcmV0c2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"


def found(tmp_path: Path, *changes: Change, target: str = "mgc", required_disk: int = 0) -> list[Finding]:
    (tmp_path / "work").mkdir()
    image = rule_images.make(tmp_path / "image.qcow2", "debian", *changes)
    customised = Customised(
        image, [], (Canary("host name", "hostname", (FACTS.hostname.encode(),)),), frozenset(), FACTS
    )
    wanted = [targets.load(target)] if target else []
    findings = verify(image, customised, wanted, Known(required_disk=required_disk), tmp_path / "work", Console.quiet())
    assert list((tmp_path / "work").iterdir()) == []
    return findings


@pytest.mark.real
def test_a_good_image_passes_rules_operations_and_canaries(tmp_path: Path) -> None:
    findings = found(tmp_path, required_disk=1 << 30)
    assert [each for each in findings if each.status in ("fail", "warn")] == []
    rules = {each.rule: each for each in findings}
    assert {"MGC-F01", "MGC-F04", "GEN-G30", "SCRUB-CANARIES", "SCRUB-SSH-HOSTKEYS"} <= set(rules)
    assert rules["MGC-F04"].status == "pass"


@pytest.mark.real
def test_what_a_rule_tells_no_operation_tells_again(tmp_path: Path) -> None:
    findings = found(tmp_path, write("/etc/ssh/ssh_host_ed25519_key", KEY, 0o600))
    broken = {each.rule for each in findings if each.status == "fail"}
    assert broken and not any(rule.startswith("SCRUB-") for rule in broken)
    accepted = ignoring(findings, dict.fromkeys(broken, "a test"))
    assert [each for each in accepted if each.status == "fail"] == []


@pytest.mark.real
def test_a_trace_of_the_build_in_a_file_that_no_rule_looks_at_is_found(tmp_path: Path) -> None:
    findings = found(tmp_path, write("/srv/notes", f"made on {FACTS.hostname}\n"))
    broken = [each for each in findings if each.status == "fail"]
    assert [each.rule for each in broken] == ["SCRUB-CANARIES"]


@pytest.mark.real
def test_without_a_target_the_shared_rules_hold(tmp_path: Path) -> None:
    findings = found(tmp_path, target="")
    assert "GEN-F08" in {each.rule for each in findings}
    assert not any(each.rule.startswith("MGC-") for each in findings)
