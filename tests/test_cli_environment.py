"""Where the command line is called from: closed streams, no home folder, terminals of no width, odd values."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from factory import settings
from factory.cli.options import read_once, settings_of
from factory.console import terminal
from factory.console.plain import SafeStream
from factory.errors import UsageError
from factory.recipe import find_recipe
from tests import command_line
from tests.recipe_files import HEAD, write

SECRET = HEAD + "variables: {token: {secret: true}}\n"


def call(shell: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """*shell* with the command line as ``$factory``."""
    places = {"FACTORY_CACHE": str(folder / "cache"), "FACTORY_STATE": str(folder / "state"), "CI": "1"}
    return subprocess.run(
        ["bash", "-c", shell],
        env=os.environ | places | {"factory": f"{sys.executable} -m factory"} | environment,
        cwd=command_line.TOP,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_status(tmp_path: Path, closed: str) -> None:
    (tmp_path / "image.raw").write_bytes(bytes(1 << 20))
    for words, status in (("check image.raw", 5), ("validate nginx", 0), ("plan nosuch", 2), ("check nosuch", 2)):
        words = words.replace("image.raw", str(tmp_path / "image.raw"))
        done = call(f"$factory {words} {closed}", tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), (words, done.stderr)


def test_a_user_without_a_home_folder_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "FACTORY_CACHE", "FACTORY_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert settings.setting("FACTORY_MIRROR").origin == "default"
    with pytest.raises(UsageError, match="no home folder") as caught:
        settings.cache_dir()
    assert caught.value.code == "usage.no-home" and "FACTORY_CACHE" in caught.value.hint
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path / "state"))
    assert settings.state_dir() == tmp_path / "state"


def test_the_home_of_an_unknown_user_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_CACHE", "~nosuchuser/cache")
    assert settings.cache_dir() == Path.cwd() / "~nosuchuser" / "cache"
    with pytest.raises(UsageError, match="There is no recipe"):
        find_recipe("~nosuchuser/x.yaml")


@pytest.mark.parametrize(("columns", "width", "table"), [(0, None, 80), (30, 30, 29)])
def test_a_terminal_that_does_not_know_how_wide_it_is(
    monkeypatch: pytest.MonkeyPatch, columns: int, width: int | None, table: int
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, 0)))
    first, second = pty.openpty()
    with os.fdopen(second, "w") as stream:
        assert (terminal.width_of_output(), terminal.columns(SafeStream(stream))) == (width, table)
    os.close(first)


def test_a_value_that_is_no_utf_8_is_refused_and_not_shown(tmp_path: Path) -> None:
    done = call("$factory validate nginx --set greeting=$'Gr\\xfc\\xdfe'", tmp_path)
    assert done.returncode == 2 and "usage.set" in done.stderr and "iconv" in done.stderr
    assert "Gr" not in done.stderr


def test_a_pipe_with_a_secret_is_read_once(tmp_path: Path) -> None:
    files = [write(tmp_path, SECRET.replace("name: web", f"name: {name}"), name=name) for name in ("one", "two")]
    offline = "--offline --accel tcg --jobs 1 --boot-test none"
    done = call(f"$factory build {files[0]} {files[1]} --set token@<(echo hunter2-secret) {offline}", tmp_path)
    assert "empty value" not in done.stderr and "base.offline" in done.stderr and done.returncode == 4, done.stderr


def test_a_pipe_is_kept_for_the_next_reader_and_a_file_stays_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    assert read_once(f"token@{tmp_path}/token") == f"token@{tmp_path}/token"
    assert read_once("token=x") == "token=x"
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe\n")
    os.close(writing)
    assert settings_of([read_once(f"token@/dev/fd/{reading}")]) == {"token": "from a pipe"}
    os.close(reading)


@pytest.mark.parametrize("given", ["--set token=", "--set token@/dev/null"])
def test_a_secret_that_is_empty_is_refused(tmp_path: Path, given: str) -> None:
    done = call(f"$factory plan {write(tmp_path, SECRET)} {given}", tmp_path)
    assert done.returncode == 2 and "--set gives it an empty value" in done.stderr, done.stderr
