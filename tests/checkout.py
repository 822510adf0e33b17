"""A fresh checkout of this repository in another folder, set up in a second instead of a minute.

Its ``.venv`` has the libraries of the interpreter that runs the tests, and a ``factory`` that is the checkout's own. It
carries the stamp of ``scripts/setup``, which then finds all done; should that script ask for more one day, it makes the
virtualenv itself, and the tests are only slower.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

from tests.documents import TOP

# make hands its variables and flags down; what the caller of 'make test' said is not for the commands of a document.
_NOT_INHERITED = (
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "ARGS",
    "RECIPE",
    "TARGET",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)


def copy_to(folder: Path) -> Path:
    """Copy what the repository holds (also what is not committed yet) to *folder*, and set it up."""
    for name in _files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, target, follow_symlinks=False)
    _make_venv(folder)
    return folder


def environment(**more: str) -> dict[str, str]:
    """Our environment without what a shell of the user's would not have; caches and mirror stay as they are set."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {name: value for name, value in kept.items() if not name.startswith("PYTEST_")} | more


def _files() -> list[str]:
    if (TOP / ".git").exists() and shutil.which("git"):
        argv = ["git", "-c", f"safe.directory={TOP}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=True).stdout.split("\0")
        return sorted({name for name in listed if name and os.path.lexists(TOP / name)})
    left_out = {".git", ".venv", "out", "__pycache__"}
    found = (path.relative_to(TOP) for path in TOP.rglob("*") if not path.is_dir())
    return sorted(str(path) for path in found if not left_out & set(path.parts))


def _make_venv(checkout: Path) -> None:
    folder = checkout / ".venv"
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/python3.*/site-packages")
    (site / "libraries.pth").write_text(
        f"{checkout}\n{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    )
    factory = folder / "bin" / "factory"
    factory.write_text(f"#!{folder}/bin/python\nfrom factory.cli import main\nmain()\n")
    factory.chmod(0o755)
    script = 'source <(sed -n "/^digest()/,/^}/p" scripts/setup); digest'
    done = subprocess.run(["bash", "-euc", script], cwd=checkout, capture_output=True, text=True, check=True)
    (folder / ".stamp").write_text(done.stdout)
