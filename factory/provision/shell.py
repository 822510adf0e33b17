"""``shell``: run commands or a script of the recipe, as root."""

from __future__ import annotations

import contextlib
import shlex

from factory.errors import MachineError
from factory.provision.packages import prepared
from factory.provision.session import FOLDER, Session
from factory.recipe import ShellStep


def apply(step: ShellStep, session: Session, where: str) -> None:
    """Run *step* with the recipe's variables in its environment, and with the settings of the build's package system.

    Values travel in a file that only root reads, not on a command line, which every process of the guest could see.
    """
    if system := prepared(session):  # its commands may call apt-get
        system.follow_sources()
    values = session.environment | session.recipe.values | dict(step.environment)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    guest = session.guest
    guest.put_bytes(exports.encode(), f"{FOLDER}/environment", 0o600)
    body = (session.recipe.folder / step.script).read_bytes() if step.script else (step.run or "").encode()
    guest.put_bytes(body, f"{FOLDER}/step", 0o700)
    interpreter = _interpreter(body) if step.script else "/bin/sh -e"
    command = f"set -e; . {FOLDER}/environment; cd {shlex.quote(step.directory)}; exec {interpreter} {FOLDER}/step"
    try:
        session.run(f"exec /bin/sh -c {shlex.quote(command)}", where, timeout=step.timeout)
    finally:
        with contextlib.suppress(MachineError):  # the step's own error says more
            if session.alive():
                guest.run(f"rm -f {FOLDER}/environment {FOLDER}/step", check=False)


def _interpreter(body: bytes) -> str:
    """What the script's #! line names. /run does not allow to execute files, so it is read by its interpreter."""
    first = body.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    words = first[2:].split() if first.startswith("#!") else []
    return shlex.join(words) if words else "/bin/sh -e"
