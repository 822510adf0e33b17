"""Runs a command as an ordinary user who owns nothing here but one folder."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from factory.workspace import closed_folder

ROOT = Path(__file__).parents[1]
NAME = "nobody"


def as_ordinary_user(argv: Sequence[str | Path], home: Path) -> list[str]:
    """*argv* so that it runs as a user whose own folder is *home* (made here). Who is not root runs it as they are."""
    words = [str(word) for word in argv]
    home.mkdir(parents=True, mode=0o700)
    if os.geteuid() != 0:
        return words
    for program in ("unshare", "setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    user = pwd.getpwnam(NAME)
    os.chown(home, user.pw_uid, user.pw_gid)
    while folder := closed_folder(home):  # pytest's own, which root made
        folder.chmod(0o711)
    drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
    script = [*_opened(home.with_name(f"{home.name}-stage")), f"exec {shlex.join([*drop, *words])}"]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(script)]


def _opened(stage: Path) -> list[str]:
    """Commands for a mount name space in which Python and this checkout can be reached.

    They may lie in a folder that is closed to others, such as /root: an open one with nothing but them takes its place.
    """
    places = [place.resolve() for place in (Path(sys.prefix), Path(sys.base_prefix), ROOT)]
    hidden = [place for place in dict.fromkeys(places) if closed_folder(place / "x")]
    folders = {closed_folder(place / "x") for place in hidden}
    aside = [(place, stage / str(number)) for number, place in enumerate(hidden)]
    return [
        *(_shown(place, to) for place, to in aside),
        *(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}" for folder in folders),
        *(_shown(to, place) for place, to in aside),
    ]


def _shown(folder: Path, at: Path) -> str:
    words = shlex.join(map(str, (folder, at)))
    return f"mkdir -p {shlex.quote(str(at))}; mount --rbind {words}"
