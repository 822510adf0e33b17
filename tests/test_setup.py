"""The set-up files: what 'make' offers, what a bare host is told, and the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


def run(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=TOP, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH with what every Linux has, and neither apt nor a program that the factory needs."""
    for name in ("bash", "cat", "cut", "dirname", "getent", "grep", "head", "mktemp", "rm", "sed", "sha256sum", "tail"):
        (tmp_path / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is not installed"))
    return str(tmp_path)


def test_a_host_that_is_not_debian_is_told_what_it_lacks(bare_path: str) -> None:
    done = run(TOP / "scripts/setup", PATH=bare_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "neither Debian nor Ubuntu" in done.stderr
    for line in ("qemu-img: makes and converts disk images", "mmdebstrap: builds base images", "cc: compiles"):
        assert line in done.stderr


def test_make_help_lists_the_targets_of_the_contract() -> None:
    listed = {line.split()[1] for line in run("make", "help").stdout.splitlines()}
    assert {"setup", "build", "test", "test-all", "check", "clean", "help"} <= listed


def test_make_build_without_a_recipe_says_how() -> None:
    done = run("make", "build")
    assert done.returncode == 2
    assert "make build RECIPE=nginx" in done.stderr
    assert "setup:" not in done.stderr  # said before minutes of set-up, not after


def test_ci_runs_make_test() -> None:
    script = TOP / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text("utf-8")


def test_each_dependency_says_what_it_is_for() -> None:
    text = (TOP / "pyproject.toml").read_text("utf-8")
    for name in tomllib.loads(text)["project"]["dependencies"]:
        (line,) = (line for line in text.splitlines() if f'"{name}"' in line)
        assert "# " in line, f"{name} has no reason beside it"


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_scripts_pass_shellcheck() -> None:
    done = run("shellcheck", TOP / "scripts/setup", TOP / ".ci/run")
    assert done.stdout + done.stderr == ""


@pytest.mark.real
@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    # A copy, for a build leaves files beside its source.
    source = tmp_path / "source"
    shutil.copytree(TOP, source, ignore=shutil.ignore_patterns(".*", "out", "__pycache__"))
    built = run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("image_factory-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    shutil.rmtree(source)
    program = (
        "from factory import seed; key = seed.new_keypair('k');"
        "print(seed.template_folder(), seed.test_seed(hostname='a', instance_id='b', login=key).user_data)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "installed"))
    assert "#cloud-config" in done.stdout
    shipped = {path.name for path in (tmp_path / "installed" / "factory").rglob("*") if path.suffix in (".yaml", ".j2")}
    kept = {path.name for folder in ("factory", "templates") for path in (TOP / folder).rglob("*.*")}
    assert shipped == {name for name in kept if name.endswith((".yaml", ".j2"))}
