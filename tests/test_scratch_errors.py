"""What mmdebstrap says when it fails becomes the cause."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest

from factory.console import Console
from factory.debian_bootstrap import bootstrap, explained
from factory.errors import BaseError
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
    error = explained("bullseye", SOURCE, output)
    assert error.code == code
    assert error.hint
    assert error.output == output


FAKE = """#!/bin/sh
# Stands for mmdebstrap with a mirror that lacks a package: what apt prints then, unless that version is pinned away.
for word; do
    case $word in --setup-hook=tar-in*) pins=${word#--setup-hook=tar-in }; pins=${pins% /} ;; *.tar) tree=$word ;; esac
done
if tar -xOf "$pins" 2>/dev/null | grep -q 'Pin: version \\*2.0~rc1-1'; then echo made >"$tree"; exit 0; fi
echo 'E: Failed to fetch http://m/pool/h/hello_2.0%7erc1-1_amd64.deb  404  Not Found [IP: 192.0.2.1 80]' >&2
exit 25
"""


def bootstrap_with(fake: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    program = folder / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(fake)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    shown = io.StringIO()
    console = Console.create("text", stream=shown)
    with contextlib.closing(console):
        return bootstrap("bookworm", SOURCE, ["hello"], folder / "root.tar", console), shown.getvalue()


def test_a_version_that_the_mirror_lacks_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older, shown = bootstrap_with(FAKE, tmp_path, monkeypatch)
    assert older == ["hello=2.0~rc1-1"]
    assert "lacks hello 2.0~rc1-1" in shown
    assert (tmp_path / "root.tar").read_text() == "made\n"


def test_a_mirror_that_lacks_every_version_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BaseError) as caught:
        bootstrap_with(FAKE.replace("2.0~rc1-1'; then", "none'; then"), tmp_path, monkeypatch)
    assert caught.value.code == "base.archive-incomplete"
