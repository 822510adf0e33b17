"""Folders that only this account can change: what lies in them decides what goes into the images."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from factory.errors import HostError

OVERFLOW = 65534  # whom root's files belong to, seen from inside a user name space that does not map root


def private_folder(path: Path) -> Path:
    """The real path of *path*, a folder that only this account can change, made (0700) when it is not there.

    Raises HostError when it cannot be made or another account could change what is in it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve()
        found = [(folder, folder.stat()) for folder in (path, *path.parents)]
    except OSError as error:
        raise HostError(
            f"the cache {path} cannot be made",
            cause=str(error),
            hint="Set FACTORY_CACHE to a folder that you can write to",
            code="host.cache",
        ) from error
    own, *above = found
    fault = ""
    if own[1].st_uid != os.geteuid():
        fault = f"it belongs to account {own[1].st_uid}, and this is account {os.geteuid()}"
    elif own[1].st_mode & 0o022:
        fault = f"other accounts can write to it (mode {stat.S_IMODE(own[1].st_mode):04o})"
    else:
        for folder, status in above:  # whoever can rename a folder above can put another one in its place
            if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
                fault = f"every account can write to {folder}, above it"
            elif status.st_uid not in (0, os.geteuid(), OVERFLOW):
                fault = f"{folder}, above it, belongs to account {status.st_uid}"
    if fault:
        raise HostError(
            f"the cache {path} is refused: {fault}",
            cause="Whoever can change the cache decides what goes into the images",
            hint=f"Run 'chmod 700 {path}' as its owner, or set FACTORY_CACHE to a folder of your own",
            code="host.cache-unsafe",
        )
    return path
