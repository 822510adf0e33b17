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
                ledger.since_boot() + seconds,
            )
        )  # fmt: skip
    except HostError:  # a full disk, perhaps the very reason of the failure
        return False
    embedded.keep(machine.spec.uuid, seconds)
    return True


def unkeep(machine: Machine, owner: Workspace) -> None:
    """End *machine*, which was kept: nobody is told of it."""
    embedded.unkeep(machine.spec.uuid)
    machine.destroy()
    for name in (KEY, KNOWN_HOSTS):
        (owner.work / name).unlink(missing_ok=True)
    owner.forget_machine()
