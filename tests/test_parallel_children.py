"""The process of one build of several: what ends it is told by its parent, in one paragraph."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from factory import parallel
from factory.build import Options
from factory.plan import make_plan
from tests import command_line
from tests.recipe_files import HEAD, write

pytestmark = pytest.mark.real

FULL = """
import errno
import factory.build
def run(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "/full/place")
factory.build._run = run
factory.build.preflight.check = lambda *_, **__: None
"""


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are new ones, so what stands in for a build comes in by a module that Python loads at its start."""
    command_line.own_places(tmp_path, monkeypatch)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(FULL)
    files = [str(write(tmp_path, HEAD.replace("name: web", f"name: {name}"), name=name)) for name in ("one", "two")]
    done = command_line.run(
        "build", *files, "--jobs", "2", "--json", "--accel", "tcg", "--output", tmp_path / "out",
        PYTHONPATH=f"{site}:{command_line.TOP}",
    )  # fmt: skip
    errors = [built["error"] for built in json.loads(done.stdout)["builds"]]
    assert [(each["status"], each["code"]) for each in errors] == [(3, "host.disk-full")] * 2
    assert done.returncode == 3 and "/full/place" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.4, 0.6])
def test_an_interrupt_at_its_very_beginning_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], delay: float
) -> None:
    command_line.own_places(tmp_path, monkeypatch)
    plan, options = make_plan(str(write(tmp_path, HEAD))), Options(from_step="none")  # which ends it at once
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=parallel._child, args=(plan, options, theirs, os.getpid()))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(parallel.Running().begin, process).result()
        theirs.close()
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGINT)
        process.join(30)
    assert "Traceback" not in capfd.readouterr().err
    assert process.exitcode == 130 or (process.exitcode == 0 and delay > 0.1)
    ours.close()
