"""A guest that goes on from saved memory is made this build's own: its clock, its random pool, its keys, its sessions.

Two builds may go on from the same memory. So the pool gets fresh entropy from this host before anything else happens
(most guests cannot tell by themselves that they were copied), the clock is set, the saved build's login key and host
key are replaced, and its sessions are ended. What is replaced is searched in the finished image like everything else.
"""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from factory.errors import MachineError
from factory.guest import Guest
from factory.login import log_in
from factory.seed import KeyPair

if TYPE_CHECKING:
    from factory.hypervisor.machine import Machine

ENTROPY = 256  # bytes
ANSWER = 12.0  # seconds within which a resumed guest answers; scaled
CLOCK_SLACK = 5.0  # seconds that a guest's clock may be off afterwards; scaled


def renew(machine: Machine, old: tuple[KeyPair, KeyPair], new: tuple[KeyPair, KeyPair], scale: float) -> Guest:
    """Make the resumed guest of *machine* this build's: (login key, host key) *old* go, *new* come. Gives a session.

    Raises MachineError when the guest does not answer, or is not what it should be afterwards.
    """
    with log_in(machine, "root", *old, seconds=ANSWER * scale) as guest:
        values = {
            "entropy": secrets.token_hex(ENTROPY),
            "old_login": old[0].public_openssh.split()[1],
            "new_login": new[0].public_openssh,
            "host_private": new[1].private_openssh,
            "host_public": new[1].public_openssh,
        }
        # The shell sets the clock: it is there at once, Python under emulation is not.
        command = f"date -u -s @{time.time():.3f} >/dev/null && exec python3 -I -S -"
        done = guest.run(command, stdin=program(values).encode(), timeout=60 * scale, check=False)
    if done.status != 0 or "RENEWED" not in done.stdout:
        raise MachineError(
            "the resumed guest could not be given new keys",
            cause=(done.stderr.strip() or "it said nothing").splitlines()[-1],
            code="machine.not-renewed",
        )
    guest = log_in(machine, "root", *new, seconds=ANSWER * scale)
    try:
        _require_renewed(guest, old, scale)
    except BaseException:
        guest.close()
        raise
    return guest


def set_clock(guest: Guest) -> None:
    """Set the guest's clock to that of this host."""
    guest.run(f"date -u -s @{time.time():.3f} >/dev/null", check=False)


def _require_renewed(guest: Guest, old: tuple[KeyPair, KeyPair], scale: float) -> None:
    """The clock is right, and the saved build's key opens nothing any more."""
    key = shlex.quote(old[0].public_openssh.split()[1])
    words = guest.read(f"date +%s; grep -c {key} /root/.ssh/authorized_keys").split()
    off = abs(float(words[0]) - time.time()) if words and words[0].isdigit() else None
    if off is None or off > CLOCK_SLACK * scale:
        raise MachineError("the clock of the resumed guest could not be set", code="machine.not-renewed")
    if words[1:] != ["0"]:
        raise MachineError("the resumed guest still has the key of the build that saved it", code="machine.not-renewed")


def program(values: Mapping[str, str]) -> str:
    """What Python in the guest reads: the script, with *values* above it."""
    script = (resources.files("factory.renewal") / "in_guest.py").read_text("utf-8")
    return script.replace("import fcntl\n", f"VALUES = {json.dumps(dict(values))!r}\nimport fcntl\n", 1)
