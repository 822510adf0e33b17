"""What mmdebstrap says when it fails becomes the cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.bases.scratch import _bootstrap_error
from factory.mirror import Mirror

SOURCE = Mirror("http://mirror.example/debian", "http://mirror.example/debian-security", "host", Path("/k.gpg"))


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (
            "Err:132 http://m bullseye/main\n  404  Not Found [IP: 192.0.2.1 80]\nE: Failed to fetch",
            "base.archive-incomplete",
        ),
        ("E: Failed to fetch http://m/x.deb  404  Not Found", "base.archive-incomplete"),
        ("Err:1 http://m\n  Could not resolve 'm'\nE: Failed to fetch http://m", "base.archive-unreachable"),
        ("E: Failed to fetch http://m/x  Connection timed out", "base.archive-unreachable"),
        ("cp: error writing 'x': No space left on device", "host.disk-space"),
        ("E: something else", "base.bootstrap"),
    ],
)
def test_the_cause_is_told_by_its_own_words(output: str, code: str) -> None:
    error = _bootstrap_error("bullseye", SOURCE, output)
    assert error.code == code
    assert error.hint
    assert error.output == output
