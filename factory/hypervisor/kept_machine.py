"""A machine that outlives its failed build, so that people can look into it: ``--keep on-failure``.

Its private key lies among the build's working files, readable by this account only; the ledger says where, which port
leads to it, and how long it stays. The watcher ends it when its time is over, ``factory gc`` whenever it is asked to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory import ledger
from factory.errors import HostError
from factory.hypervisor import embedded

if TYPE_CHECKING:
    from factory.hypervisor.machine import Machine
    from factory.seed import KeyPair
    from factory.workspace import Workspace

_left: dict[str, Machine] = {}  # by the build id: of each build of this process, the machine that is kept
KEY, KNOWN_HOSTS = "kept-key", "kept-known-hosts"


@dataclass(frozen=True)
class Login:
    """How one gets into a guest; *host_key* is None where the guest makes its own."""

    user: str
    key: KeyPair
    host_key: KeyPair | None


def keep(machine: Machine, owner: Workspace, seconds: float) -> bool:
    """Leave *machine* running for *seconds* after the build; whether that was possible."""
    login = machine.login
    if login is None or embedded.process_of(machine.spec.uuid) is None:
        return False
    known = ""
    _left[owner.build_id] = machine  # before the ledger says so: an interrupt may come between any two lines
    try:
        with owner.secret(KEY) as file:
            os.write(file, login.key.private_openssh.encode())
        if login.host_key:
            kind, data = login.host_key.public_openssh.split()[:2]
            with owner.secret(KNOWN_HOSTS) as file:
                os.write(file, f"[127.0.0.1]:{machine.spec.ssh_port} {kind} {data}\n".encode())
            known = str(owner.work / KNOWN_HOSTS)
        owner.keep_machine(
            ledger.KeptMachine(
                machine.name, login.user, str(owner.work / KEY), known, str(machine.spec.console),
                ledger.since_boot() + seconds, machine.spec.ssh_port or 0,
            )
        )  # fmt: skip
    except HostError:  # a full disk, perhaps the very reason of the failure
        del _left[owner.build_id]
        return False
    embedded.keep(machine.spec.uuid, seconds)
    return True


def unkeep(owner: Workspace) -> None:
    """End the machine of *owner* that was kept, if one was: nobody is told of it."""
    machine = _left.pop(owner.build_id, None)
    if machine is None:
        return
    embedded.unkeep(machine.spec.uuid)
    machine.destroy()
    for name in (KEY, KNOWN_HOSTS):
        (owner.work / name).unlink(missing_ok=True)
    owner.forget_machine()
