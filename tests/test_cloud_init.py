"""Waiting for cloud-init's end, and reading how it went; the boots of the real tests do both in guests."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import cast

import pytest

from factory import cloud_init
from factory.guest import Guest

SECONDS = 20


def wait_in(tmp_path: Path, systemctl: str, status: str = "exit 9") -> subprocess.Popen[bytes]:
    """The loop, with programs of the guest that do *systemctl* and *status*."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in (("systemctl", systemctl), ("cloud-init", status)):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/calls\n{body}\n")
        (programs / name).chmod(0o755)
    script = cloud_init.WAIT.replace("/run/cloud-init", str(tmp_path))
    return subprocess.Popen(["sh", "-c", script], env={"PATH": f"{programs}:/usr/bin:/bin"})


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().split() if (tmp_path / "calls").exists() else []


def test_a_result_ends_the_wait_at_once(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    assert wait_in(tmp_path, "echo starting; exit 1").wait(SECONDS) == 0
    assert calls(tmp_path) == []


def test_while_the_system_starts_it_waits_for_the_result(tmp_path: Path) -> None:
    waiting = wait_in(tmp_path, "echo starting; exit 1")
    threading.Timer(1.2, (tmp_path / "result.json").write_text, ["{}"]).start()
    began = time.monotonic()
    assert waiting.wait(SECONDS) == 0
    assert time.monotonic() - began > 1
    assert "cloud-init" not in calls(tmp_path)


@pytest.mark.parametrize("state", ["running", "degraded", "maintenance", "stopping"])
def test_a_system_that_is_up_without_a_result_is_not_waited_for(state: str, tmp_path: Path) -> None:
    assert wait_in(tmp_path, f"echo {state}; exit 1").wait(SECONDS) == 0
    assert calls(tmp_path) == ["systemctl"]


@pytest.mark.parametrize("answer", ["exit 127", "echo offline; exit 1"])
def test_without_systemd_cloud_init_itself_is_asked(answer: str, tmp_path: Path) -> None:
    wait_in(tmp_path, answer, "exit 0").wait(SECONDS)
    assert calls(tmp_path) == ["systemctl", "cloud-init"]


class Says:
    """A guest that has this text as its result."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, command: str) -> str:
        assert command.endswith("/run/cloud-init/result.json")
        return self._text


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ('{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}', cloud_init.Ended(True, ())),
        ('{"v1": {"errors": ["scripts_user: no"]}}', cloud_init.Ended(True, ("scripts_user: no",))),
        ("", cloud_init.Ended(False, ())),
        ('{"v1"', cloud_init.Ended(False, ())),
        ("[]", cloud_init.Ended(False, ())),
    ],
)  # fmt: skip
def test_how_it_went_is_read_from_the_result(text: str, ended: cloud_init.Ended) -> None:
    assert cloud_init.ended(cast("Guest", Says(text))) == ended
