"""The command line for tests: inside this process, which is quick, or as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from factory import cli
from factory.cli import root

TOP = Path(__file__).parents[1]
Done = subprocess.CompletedProcess[str]


def own_places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing touches the cache, the state and the configuration of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("FACTORY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FACTORY_STATE", str(folder / "state"))
    monkeypatch.setenv("FACTORY_CACHE", str(folder / "cache"))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("COLUMNS", "100")


def inside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """A function that runs the command line in this process; what that changes is put back."""
    monkeypatch.chdir(TOP)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(root, "_current", None)
    monkeypatch.setattr(root, "_log_format", "text")

    def call(*words: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["factory", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(words, ended.value.code, said.out, said.err)

    return call


def program(*words: str | Path, before: str = "") -> list[str]:
    """The command line as a process; *before* is Python that puts something in the place of a verb."""
    if not before:
        return [sys.executable, "-m", "factory", *map(str, words)]
    return [sys.executable, "-c", f"{before}\nfrom factory.cli import main\nmain()", *map(str, words)]


def run(*words: str | Path, before: str = "", **environment: str) -> Done:
    """Run it to its end."""
    return subprocess.run(
        program(*words, before=before),
        cwd=TOP,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
