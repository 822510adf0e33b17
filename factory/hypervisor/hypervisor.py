"""libvirt for the machines of one build: it opens what they run in, ends them, and keeps one for people."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from factory import disk
from factory.errors import FactoryError, HostError
from factory.hypervisor import embedded, kept_machine
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.connection import Connection
from factory.hypervisor.domain import MachineSpec, UefiFirmware
from factory.hypervisor.enclosure import Enclosure
from factory.hypervisor.machine import Machine, Timeouts

if TYPE_CHECKING:
    from factory.workspace import Workspace

OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)


class Hypervisor:
    """libvirt for the machines of one build. Use it in a ``with``."""

    def __init__(
        self, work: Path, accelerator: Accelerator, uri: str = embedded.URI, *, owner: Workspace | None = None,
        keep: float = 0.0,
    ) -> None:  # fmt: skip
        """*work* is the build's work folder: QEMU sees it, and the single files that it is shown, and nothing else.

        The ledger of *owner* notes what runs. A machine that people can log in to outlives the error that ends its
        ``with`` for *keep* seconds.
        """
        self.owner = owner
        self._keep = keep if uri == embedded.URI else 0.0  # a daemon ends the machine with our connection
        self.accelerator = accelerator
        self.timeouts = Timeouts.of(accelerator)
        self.work = work
        self._uri = uri
        self._closing = contextlib.ExitStack()
        self._keeping = threading.Lock()  # boot tests end side by side

    def __enter__(self) -> Hypervisor:
        kvm = self.accelerator.name == "kvm"
        with contextlib.ExitStack() as undo:
            self.enclosure = Enclosure(self.work, kvm=kvm, embedded=self._uri == embedded.URI)
            undo.callback(self.enclosure.close)
            if self._uri == embedded.URI:
                self.connection = embedded.connection(kvm=kvm)
            else:
                self.connection = undo.enter_context(Connection(self._uri))
            self._closing = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, FactoryError):  # Ctrl-C: nobody hears of what is kept
            with self._keeping:
                self._keep = 0.0
                if self.owner:
                    kept_machine.unkeep(self.owner)
        with self._closing:
            if self._keep and self.owner and not self.owner.entry.kept_machine:  # which may have them open
                self._readdress()

    def _readdress(self) -> None:
        """Let the disks that are kept name what they lie on as everybody sees it, for a look by hand."""
        for overlay in self.work.glob("*.qcow2"):
            with contextlib.suppress(FactoryError, OSError):  # it is kept as it is: there is another end to tell of
                backing = disk.info(overlay, "qcow2").backing
                if backing and (base := self.enclosure.outside(Path(backing))) != Path(backing):
                    disk.relocate(overlay, base)

    @contextlib.contextmanager
    def machine(self, spec: MachineSpec) -> Iterator[Machine]:
        """Run *spec* for the length of the ``with``; the machine is gone afterwards, unless it is kept for people."""
        machine = Machine(self, spec)
        machine.start()
        with self._running(machine):
            yield machine

    @contextlib.contextmanager
    def resumed(self, spec: MachineSpec, memory: Path, uuid: str) -> Iterator[Machine]:
        """Run *spec* from the saved *memory* of the machine *uuid*, as :meth:`machine` does; the file is changed."""
        machine = Machine(self, spec)
        with self._running(machine):
            machine.resume(memory, uuid)
            yield machine

    @contextlib.contextmanager
    def _running(self, machine: Machine) -> Iterator[None]:
        kept = False
        try:
            yield
            kept = machine.refused and self._kept(machine)
        except FactoryError:
            kept = self._kept(machine)
            raise
        finally:
            if not kept:
                machine.destroy()

    def _kept(self, machine: Machine) -> bool:
        """Leave *machine* to the people, if they want that and have no other of this build."""
        with self._keeping:
            if not self._keep or not self.owner or self.owner.entry.kept_machine or not machine.login:
                return False
            return machine.alive and kept_machine.keep(machine, self.owner, self._keep)

    @property
    def saves(self) -> bool:
        """Whether machines can be saved here: a daemon's libvirt writes files as another account."""
        return self._uri == embedded.URI

    def uefi(self, name: str) -> UefiFirmware:
        """OVMF with fresh variables for the machine *name*. Raises HostError when this host has none."""
        code, variables = ovmf()
        own = self.work / f"{name}.nvram"
        shutil.copyfile(variables, own)
        return UefiFirmware(code, own)


def ovmf() -> tuple[Path, Path]:
    """The UEFI firmware of this host, and the variables that it starts from. Raises HostError when it has none."""
    for code, variables in OVMF:
        if Path(code).exists() and Path(variables).exists():
            return Path(code), Path(variables)
    raise HostError(
        "the UEFI firmware OVMF is not installed",
        hint="Run 'make setup', or install the package ovmf",
        code="host.no-ovmf",
    )
