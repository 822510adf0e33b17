"""The provisioners, in a guest behind a real SSH server."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.console import Console
from factory.errors import FactoryError, MachineError, StepFailed
from factory.provision import copy, packages, run_steps, shell
from factory.provision.session import FOLDER, Session
from factory.recipe import CopyStep, Recipe, copied, load_recipe
from tests.ssh_guest import SshGuest, ssh_guest

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="the guest's own root owns the files that are looked at"),
]

RECIPE = """\
schema: 1
name: case
version: 1.0.0
base: debian-12
variables: {{greeting: {{default: "it's $HOME `here` \\"now\\""}}, token: {{default: "", secret: true}}}}
provision:
{steps}
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGuest]:
    with ssh_guest(tmp_path_factory.mktemp("provision") / "guest") as running:
        yield running


def recipe_of(folder: Path, steps: str, *, values: Any = None, **files: str) -> Recipe:
    recipes = folder / "recipes"
    (recipes / "case").mkdir(parents=True)
    (recipes / "case.yaml").write_text(RECIPE.format(steps=steps))
    for name, text in files.items():
        file = recipes / "case" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return load_recipe(str(recipes / "case.yaml"), settings=values or {})


def run(guest: SshGuest, recipe: Recipe, console: Console | None = None) -> None:
    console = console or Console.quiet()
    with guest.connect() as session:
        session.run(f"install -d -m 0700 {FOLDER}")
        run_steps(Session(session, recipe, console, "file", lambda: True), console)


def test_shell_sees_the_values_as_they_are_and_not_on_a_command_line(guest: SshGuest, tmp_path: Path) -> None:
    step = '  - shell: |\n      printf "%s" "$greeting" > /var/said\n      cat /proc/$PPID/cmdline > /var/line\n'
    run(guest, recipe_of(tmp_path, step))
    assert guest.path("/var/said").read_text() == 'it\'s $HOME `here` "now"'
    assert "HOME" not in guest.path("/var/line").read_text()


@pytest.mark.parametrize(
    "value",
    [
        "$(touch /var/pwned) `touch /var/pwned`",
        "'; touch /var/pwned; '",
        "two\nlines\n",
        "\\",
        '"',
        "ünï 🐧",
        "-n",
        "*",
    ],
)
def test_a_hostile_value_is_only_a_value(guest: SshGuest, tmp_path: Path, value: str) -> None:
    step = '  - shell: {run: "printf %s \\"$greeting\\" > /var/said", environment: {OTHER: "$(touch /var/pwned)"}}\n'
    run(guest, recipe_of(tmp_path, step, values={"greeting": value}))
    assert guest.path("/var/said").read_text() == value
    assert not guest.path("/var/pwned").exists()


def test_a_secret_stands_on_no_command_line_and_in_no_file_afterwards(guest: SshGuest, tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    step = """\
  - shell: |
      cat /proc/[0-9]*/cmdline > /var/lines
      stat -c '%a %U' /run/factory/environment /run/factory/step > /var/modes
      test "$token" = correct-horse-battery
  - shell: ls /run/factory > /var/listed
"""
    run(guest, recipe_of(tmp_path, step, values={"token": secret}))
    assert "dropbear" in guest.path("/var/lines").read_text()  # it did see the others
    assert secret not in guest.path("/var/lines").read_text()
    assert guest.path("/var/modes").read_text() == "600 root\n700 root\n"
    with guest.connect() as session:
        assert not {"environment", "step"} & set(session.run(f"ls -A {FOLDER}").stdout.split())


def test_a_step_has_its_own_environment_and_folder(guest: SshGuest, tmp_path: Path) -> None:
    step = "  - shell: {run: 'echo $greeting $PWD > /var/said', environment: {greeting: mine}, directory: /var/tmp}\n"
    run(guest, recipe_of(tmp_path, step))
    assert guest.path("/var/said").read_text() == "mine /var/tmp\n"


def test_the_first_failing_command_ends_a_step_and_the_build(guest: SshGuest, tmp_path: Path) -> None:
    steps = "  - shell: |\n      false\n      touch /var/went-on\n  - shell: touch /var/went-on\n"
    with pytest.raises(StepFailed):
        run(guest, recipe_of(tmp_path, steps))
    assert not guest.path("/var/went-on").exists()


def test_a_step_that_is_killed_is_told_so(guest: SshGuest, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        run(guest, recipe_of(tmp_path, "  - shell: kill -9 $$\n"))
    assert "was killed by a signal" in caught.value.message
    assert "out of memory" in caught.value.hint


def test_a_guest_that_goes_away_in_a_step_is_told_with_its_last_words(guest: SshGuest, tmp_path: Path) -> None:
    step = """\
  - shell: |
      echo last words
      sleep 0.3
      kill -9 $PPID
      sleep 60
"""
    with pytest.raises(MachineError) as caught:
        run(guest, recipe_of(tmp_path, step))
    assert caught.value.code == "machine.connection-lost"
    assert "rm -f" not in caught.value.cause  # the step, and not what cleans up after it
    assert "last words" in caught.value.output


def test_what_a_step_prints_is_shown_and_its_secrets_are_not(guest: SshGuest, tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console.create(stream=stream)
    recipe = recipe_of(
        tmp_path, '  - shell: echo "out $token"; echo err >&2\n', values={"token": "correct-horse-battery"}
    )
    for secret in recipe.secrets:
        console.redact(secret)
    run(guest, recipe, console)
    assert "out ***" in stream.getvalue() and "err" in stream.getvalue()
    assert "horse" not in stream.getvalue()


@pytest.mark.parametrize(
    ("step", "word"),
    [
        ("  - shell: |\n      echo last words\n      false\n", "last words"),
        ("  - shell: read answer\n", "status 1"),
    ],
    ids=["fails", "asks"],
)
def test_a_failing_step_names_itself_and_its_line(guest: SshGuest, tmp_path: Path, step: str, word: str) -> None:
    with pytest.raises(StepFailed) as caught:
        run(guest, recipe_of(tmp_path, step))
    assert "step 1 (shell, case.yaml line 7)" in caught.value.message
    assert word in str(caught.value)


def test_a_step_that_takes_too_long_is_told_so(guest: SshGuest, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        run(guest, recipe_of(tmp_path, "  - shell: {run: sleep 60, timeout: 1s}\n"))
    assert caught.value.code == "step.timeout"


def test_a_script_is_run_by_what_its_first_line_names(guest: SshGuest, tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path, "  - shell: {script: go.py}\n", **{"go.py": "#!/usr/bin/env -S sed -n s/^mark/seen/p\nmark me\n"}
    )
    assert shell._interpreter((recipe.folder / "go.py").read_bytes()).startswith("/usr/bin/env")
    run(guest, recipe)


def test_a_script_without_such_a_line_stops_at_its_first_error(guest: SshGuest, tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        run(
            guest,
            recipe_of(tmp_path, "  - shell: {script: go.sh}\n", **{"go.sh": "false\necho >/var/script-went-on\n"}),
        )
    assert not guest.path("/var/script-went-on").exists()


def test_copy_sets_content_mode_and_owner(guest: SshGuest, tmp_path: Path) -> None:
    step = "  - copy: {source: page, destination: /var/deep/page, mode: 0640, owner: www-data, template: true}\n"
    run(guest, recipe_of(tmp_path, step, page="<p>@greeting@</p>"))
    page = guest.path("/var/deep/page")
    assert page.read_text() == '<p>it\'s $HOME `here` "now"</p>'
    assert page.stat().st_mode & 0o7777 == 0o640
    assert (page.stat().st_uid, page.stat().st_gid) == (33, 0)


def test_copy_merges_a_folder_into_what_is_there(guest: SshGuest, tmp_path: Path) -> None:
    guest.path("/var/site").mkdir(mode=0o700)
    guest.path("/var/site/old").write_text("old")
    step = "  - copy: {source: site, destination: /var/site, owner: '33', group: adm}\n"
    recipe = recipe_of(tmp_path, step, **{"site/a b": "1", "site/deep/run.sh": "2", "site/deep/üñ'\"$x": "3"})
    (recipe.folder / "site/deep/run.sh").chmod(0o755)
    before = time.time()
    run(guest, recipe)
    site = guest.path("/var/site")
    found = {str(path.relative_to(site)): path.stat() for path in site.rglob("*")}
    assert sorted(found) == sorted(["a b", "deep", "deep/run.sh", "deep/üñ'\"$x", "old"])
    assert (found["a b"].st_uid, found["a b"].st_gid) == (33, 4)
    assert [oct(found[name].st_mode & 0o7777) for name in ("a b", "deep", "deep/run.sh")] == ["0o644", "0o755", "0o755"]
    assert site.stat().st_mode & 0o777 == 0o700
    assert found["a b"].st_mtime >= int(before)  # a web server would call a page of 1970 unchanged for ever


def test_copy_puts_a_file_in_the_place_of_a_link_and_not_behind_it(guest: SshGuest, tmp_path: Path) -> None:
    guest.path("/var/target").write_text("stays")
    guest.path("/var/link").symlink_to("/var/target")
    run(guest, recipe_of(tmp_path, "  - copy: {source: page, destination: /var/link}\n", page="new"))
    assert guest.path("/var/target").read_text() == "stays"
    assert guest.path("/var/link").read_text() == "new"


def test_a_file_that_has_gone_meanwhile_is_no_success(guest: SshGuest, tmp_path: Path) -> None:
    step = "  - copy: {source: site, destination: /var/gone}\n"
    recipe = recipe_of(tmp_path, step, **{"site/a": "1", "site/b": "2"})
    (recipe.folder / "site").rename(recipe.folder / "elsewhere")
    with pytest.raises(FactoryError) as caught:
        run(guest, recipe)
    assert "site" in str(getattr(caught.value, "faults", caught.value))


def test_a_file_that_cannot_be_read_is_no_success(
    guest: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check of the recipe's files and their copying, one is removed."""
    recipe = recipe_of(tmp_path, "  - copy: {source: site, destination: /var/x}\n", **{"site/a": "1", "site/b": "2"})
    step = recipe.provision[0]
    assert isinstance(step, CopyStep)
    found = copied(recipe, step)
    monkeypatch.setattr(copy, "copied", lambda *_: found)
    (recipe.folder / "site/b").unlink()
    with pytest.raises(StepFailed) as caught:
        run(guest, recipe)
    assert caught.value.code == "step.copy"
    assert "site/b" in caught.value.message


def test_what_tar_cannot_do_is_told(guest: SshGuest, tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        run(guest, recipe_of(tmp_path, "  - copy: {source: page, destination: /etc/passwd/page}\n", page="x"))
    assert caught.value.code == "step.copy"
    assert "etc/passwd" in caught.value.output


def test_copy_for_nobody_there_fails_with_the_name(guest: SshGuest, tmp_path: Path) -> None:
    step = "  - copy: {source: page, destination: /var/page, owner: nobody-here}\n"
    with pytest.raises(StepFailed) as caught:
        run(guest, recipe_of(tmp_path, step, page="x"))
    assert caught.value.code == "step.no-account"
    assert "nobody-here" in caught.value.message
    assert copy.__doc__


def test_packages_on_an_unknown_distribution_end_with_its_name(tmp_path: Path) -> None:
    files = {"etc/os-release": 'ID=plan9\nPRETTY_NAME="Plan 9"\n'}
    with ssh_guest(tmp_path / "guest", files) as other, pytest.raises(StepFailed) as caught:
        run(other, recipe_of(tmp_path, "  - packages: [nginx]\n"))
    assert caught.value.status == 4
    assert caught.value.code == "step.no-package-system"
    assert "Plan 9" in caught.value.message
    assert packages.__doc__
