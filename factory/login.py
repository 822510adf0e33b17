"""The first login to a guest that is still booting."""

from __future__ import annotations

import time

from factory.errors import MachineError
from factory.guest import Guest, GuestRefused
from factory.hypervisor.kept_machine import Login
from factory.hypervisor.machine import Machine
from factory.seed import KeyPair

SETTLED = 3.0  # seconds after cloud-init's last word from which a refusal is for good


def log_in(
    machine: Machine, user: str, login: KeyPair, host_key: KeyPair | None, *, seconds: float | None = None
) -> Guest:
    """The first login that the guest allows to *user* with the key *login*.

    The guest must show *host_key*, when it was given one. A refusal is tried again for a while: cloud-init may still
    bring the key. *seconds* is how long to try; without it, as long as a boot may take. Raises MachineError with the
    cause when it stays, or when the machine dies or hangs before.
    """
    machine.login = Login(user, login, host_key)
    found: list[Guest] = []
    refused: list[float] = []
    expected = host_key.public_openssh if host_key else None

    finished: list[float] = []  # when cloud-init said so: what it brings is there now

    def attempt() -> bool:
        begun = time.monotonic()
        if not finished and machine.console.mentions(" finished at "):
            finished.append(begun)
        try:
            found.append(
                Guest.connect(machine.spec.ssh_port, user, login.private_openssh, expected, timeout=machine.answer_time)
            )
        except GuestRefused as error:
            refused.append(time.monotonic())
            late = bool(finished) and begun > finished[0] + SETTLED
            if late or refused[-1] - refused[0] > machine.answer_time * 2:
                raise MachineError(
                    f"the guest's SSH does not let {user} in with the injected key",
                    cause=str(error),
                    hint="cloud-init did not put the key in place: see the console log; is the default user right?",
                    output=machine.console.tail(),
                    code="machine.login-refused",
                ) from error
        except OSError:
            pass  # nothing answers yet
        return bool(found)

    machine.wait_until(attempt, "a login over SSH", seconds=seconds)
    if host_key is None:  # its own one, pinned from now on
        machine.login = Login(user, login, KeyPair("", found[0].host_key))
    return found[0]
