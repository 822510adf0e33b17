"""A guest whose start files print something before each command's own output, as bash's may over SSH."""

from __future__ import annotations

import subprocess
from typing import Any, cast

import pytest

from factory import cloud_init
from factory.boot_test import recipe_tests
from factory.customise import _machine_ids
from factory.guest import Guest, Result


class Talkative(Guest):
    """``cat`` prints *content* in it, whatever the file."""

    def __init__(self, content: str) -> None:
        self._content = content

    def run(self, command: str, **_: Any) -> Result:
        lines = ("echo Authorized use only", f"cat() {{ printf %s '{self._content}'; }}", command)
        done = subprocess.run(["/bin/sh", "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
        return Result(command, done.returncode, done.stdout, done.stderr, 0.0)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", frozenset()),
        ("uninitialized\n", frozenset()),
        ("0123456789abcdef0123456789abcdef\n", {"0123456789abcdef0123456789abcdef"}),
    ],
)
def test_a_machine_id_that_a_step_emptied_is_none(content: str, found: frozenset[str]) -> None:
    assert _machine_ids(Talkative(content)) == found


def test_the_result_of_cloud_init_is_read_behind_it() -> None:
    assert cloud_init.ended(Talkative('{"v1": {"errors": ["no"]}}')) == cloud_init.Ended(True, ("no",))


def test_the_load_is_read_behind_it() -> None:
    class Alive:
        def require_alive(self) -> bool:
            return True

    for text, idle in (("0.2 0.1 0.1", True), ("3.0 1.0 1.0", False)):
        assert recipe_tests._idle(Talkative(text), cast(Any, Alive())) is idle


def test_a_command_that_fails_has_said_what_it_said() -> None:
    assert Talkative("x").read("echo one; exit 3") == "one\n"
    assert Talkative("x").read("exit 3") == ""
