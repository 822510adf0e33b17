"""The provisioners, in a guest behind a real SSH server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.console import Console
from factory.errors import StepFailed
from factory.provision import copy, packages, run_steps, shell
from factory.provision.session import FOLDER, Session
from factory.recipe import Recipe, load_recipe
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
variables: {{greeting: {{default: "it's $HOME `here` \\"now\\""}}}}
provision:
{steps}
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGuest]:
    with ssh_guest(tmp_path_factory.mktemp("provision") / "guest") as running:
        yield running


def recipe_of(folder: Path, steps: str, **files: str) -> Recipe:
    recipes = folder / "recipes"
    (recipes / "case").mkdir(parents=True)
    (recipes / "case.yaml").write_text(RECIPE.format(steps=steps))
    for name, text in files.items():
        (recipes / "case" / name).write_text(text)
    return load_recipe(str(recipes / "case.yaml"))


def run(guest: SshGuest, recipe: Recipe) -> None:
    with guest.connect() as session:
        session.run(f"install -d -m 0700 {FOLDER}")
        run_steps(Session(session, recipe, Console.quiet(), "file", lambda: True), Console.quiet())


def test_shell_sees_the_values_as_they_are_and_not_on_a_command_line(guest: SshGuest, tmp_path: Path) -> None:
    step = '  - shell: |\n      printf "%s" "$greeting" > /var/said\n      cat /proc/$PPID/cmdline > /var/line\n'
    run(guest, recipe_of(tmp_path, step))
    assert guest.path("/var/said").read_text() == 'it\'s $HOME `here` "now"'
    assert "HOME" not in guest.path("/var/line").read_text()


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


def test_copy_sets_content_mode_and_owner(guest: SshGuest, tmp_path: Path) -> None:
    step = "  - copy: {source: page, destination: /var/deep/page, mode: 0640, owner: www-data, template: true}\n"
    run(guest, recipe_of(tmp_path, step, page="<p>@greeting@</p>"))
    page = guest.path("/var/deep/page")
    assert page.read_text() == '<p>it\'s $HOME `here` "now"</p>'
    assert page.stat().st_mode & 0o7777 == 0o640
    assert (page.stat().st_uid, page.stat().st_gid) == (33, 0)


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
