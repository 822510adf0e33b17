"""apt: what it says is understood, and which package system serves which guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import packaging
from factory.errors import StepFailed
from factory.packaging import apt

SIMULATED = """\
Reading package lists...
Inst libc6 [2.36-9+deb12u13] (2.36-9+deb12u14 Debian-Security:12/oldstable-security [amd64]) []
Inst tzdata [2024a-0+deb12u1] (2026a-0+deb12u1 Debian:12.13/oldstable [all])
Inst openssl [3.0.17-1] (3.0.18-1~deb12u1 Debian-Security:12/oldstable-security, Debian:12.13/oldstable [amd64])
Inst newone (1.0-1 Ubuntu:24.04/noble-security [amd64])
Inst insecurity [1.0-1] (1.0-2 Debian:12.13/oldstable [all])
Conf libc6 (2.36-9+deb12u14 Debian-Security:12/oldstable-security [amd64])
"""


def test_only_what_a_security_archive_brings_is_a_security_upgrade() -> None:
    assert apt.security_upgrades(SIMULATED) == ["libc6", "openssl", "newone"]


@pytest.mark.parametrize(
    ("output", "code", "word"),
    [
        ("E: Unable to locate package ngnix", "step.package-unknown", "ngnix"),
        ("E: Package 'php7' has no installation candidate", "step.package-unknown", "php7"),
        ("E: Version '9' for 'nginx' was not found", "step.package-unknown", "nginx"),
        ("Err:1 http://x y\n  Could not resolve 'mirror.example'", "step.archive-unreachable", "mirror.example"),
        ("E: Could not connect to 10.0.2.2:3142 (10.0.2.2).", "step.archive-unreachable", "10.0.2.2:3142"),
        ("E: Failed to fetch http://m/a_1_all.deb  404  Not Found", "step.archive-incomplete", "a_1_all.deb"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "step.guest-disk-full", "disk"),
        ("W: GPG error: ... NO_PUBKEY 0123456789ABCDEF", "step.repository-signature", "signature"),
    ],
)
def test_apts_own_words_become_the_cause(output: str, code: str, word: str) -> None:
    error = apt._explained(StepFailed("step 1 failed with status 100", output=output))
    assert error.code == code
    assert word in error.cause
    assert error.hint and error.output == output


def test_other_words_leave_the_error_as_it_is() -> None:
    error = StepFailed("step 1 failed", output="E: something else")
    assert apt._explained(error) is error


def test_os_release_is_read_as_a_shell_would() -> None:
    text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME='bookworm'\n"
    text += 'ID=later\n# x\nBROKEN="a\n'
    release = packaging.os_release(text)
    assert release["ID"] == "debian"
    assert release["PRETTY_NAME"] == "Debian GNU/Linux 12 (bookworm)"
    assert release["VERSION_CODENAME"] == "bookworm"


def test_the_templates_of_the_sources_name_the_security_suite() -> None:
    from factory.mirror import source_lines

    lines = source_lines("bookworm", "http://a/debian", "http://a/debian-security")
    assert lines[0] == "deb http://a/debian bookworm main"
    assert lines[-1] == "deb http://a/debian-security bookworm-security main"


def test_every_member_says_which_families_it_serves() -> None:
    members = [path.stem for path in Path(packaging.__file__).parent.glob("*.py") if path.stem != "__init__"]
    assert members == ["apt"]
    assert "debian" in apt.FAMILIES and "ubuntu" in apt.FAMILIES
