"""A running machine: started, waited for, powered off; its end is noticed at once and told with its cause."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import disk as disks
from factory.errors import FactoryError, HostError, MachineError
from factory.hypervisor import embedded, saved
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.console_watch import ConsoleWatch
from factory.hypervisor.domain import Disk, MachineSpec, domain_xml
from factory.hypervisor.enclosure import Enclosure
from factory.hypervisor.fresh import free_port

if TYPE_CHECKING:
    from factory.hypervisor.hypervisor import Hypervisor
    from factory.hypervisor.kept_machine import Login

SILENCE = 60.0  # seconds without a word on the console before a boot counts as hung; scaled
BOOT = 180.0  # seconds for a whole boot up to SSH; scaled


@dataclass(frozen=True)
class Timeouts:
    """Seconds, scaled for the accelerator."""

    boot: float
    silence: float

    @classmethod
    def of(cls, accelerator: Accelerator) -> Timeouts:
        """The time-outs for *accelerator*; TCG gets several times those of KVM."""
        return cls(BOOT * accelerator.scale, SILENCE * accelerator.scale)


LOOKS = 10  # at a machine whose guest is silent, until it shows why: 0.3 s between them
PORT_TRIES = 3
PORT_TAKEN = "Could not set up host forwarding rule"  # QEMU's words


class Machine:
    """A machine between start and end."""

    def __init__(self, hypervisor: Hypervisor, spec: MachineSpec) -> None:
        self.spec = spec
        self._hypervisor = hypervisor
        self._domain: Any = None
        self._process: int | None = None
        # A restored guest that was no good has written here before the cold boot that comes instead of it.
        begin = spec.console.stat().st_size if spec.console.exists() else 0
        self.console = ConsoleWatch(spec.console, begin, scale=hypervisor.accelerator.scale)
        self.login: Login | None = None  # how people get in when the machine is kept
        self.refused = False  # nothing broke, but what it showed is why the build fails

    def start(self) -> None:
        """Start it under libvirt; with another port for SSH when some other program has taken this one meanwhile."""
        self._started = time.monotonic()
        enclosure = self._hypervisor.enclosure
        self.spec.console.touch(mode=0o644)
        enclosure.give(self.spec.console)
        connection = self._hypervisor.connection
        self._begin(lambda: connection.define_and_start(domain_xml(self._as_seen(enclosure))))

    def _begin(self, start: Callable[[], Any]) -> None:
        """Call *start*, which gives libvirt's domain; again when the port for SSH in the specification was taken."""
        owner, left = self._hypervisor.owner, PORT_TRIES
        while self._domain is None:
            if owner:
                owner.note_port(self.spec.ssh_port)
            try:
                self._domain = start()
            except (HostError, MachineError) as error:
                left -= 1
                if not left or PORT_TAKEN not in str(error):
                    raise
                self.spec = replace(self.spec, ssh_port=free_port())
        self._note_process()

    def _note_process(self) -> None:
        self._process = embedded.process_of(self.spec.uuid)
        if self._hypervisor.owner and self._process:
            self._hypervisor.owner.note_child(self._process)

    def resume(self, memory: Path, uuid: str) -> None:
        """As :meth:`start`, from the saved *memory* of the machine *uuid*, a file of the work folder: it is changed."""
        self._started = time.monotonic()
        enclosure, connection = self._hypervisor.enclosure, self._hypervisor.connection
        self.spec.console.touch(mode=0o644)
        for file in (self.spec.console, memory):
            enclosure.give(file)
        saved.rename(memory, uuid, self.spec.uuid)
        seen = enclosure.path(memory)
        xml = connection.saved_xml(seen)
        self._begin(lambda: connection.restore(seen, saved.adapted(xml, self._as_seen(enclosure)), self.spec.uuid))

    def checkpoint(self, memory: Path, overlay: Path) -> Path:
        """Save the machine as it is now, and let it go on: its memory into *memory*, further writes into *overlay*.

        Both are new files of the work folder. Returns the disk as it was, which nothing writes to any more.
        """
        enclosure = self._hypervisor.enclosure
        before = self.spec.disks[0].path
        disks.create_overlay(enclosure.path(before), "qcow2", overlay, cluster_size=4096)
        memory.touch(mode=0o600)
        for file in (overlay, memory):
            enclosure.give(file)
        request = saved.checkpoint_xml(enclosure.path(memory), enclosure.path(overlay), len(self.spec.disks) - 1)
        self._hypervisor.connection.checkpoint(self._domain, request)
        enclosure.take_back(memory)
        self.spec = replace(self.spec, disks=(replace(self.spec.disks[0], path=overlay), *self.spec.disks[1:]))
        return before

    def _as_seen(self, enclosure: Enclosure) -> MachineSpec:
        """The specification with the paths that QEMU sees, and its own files given to its account."""
        spec = self.spec

        def shown(disk: Disk) -> Disk:
            if not disk.readonly or disk.path.is_relative_to(self._hypervisor.work):
                enclosure.give(disk.path)
            return replace(disk, path=enclosure.path(disk.path))

        if spec.uefi:
            enclosure.give(spec.uefi.variables)
            spec = replace(spec, uefi=replace(spec.uefi, variables=enclosure.path(spec.uefi.variables)))
        if spec.kernel:
            kernel = replace(
                spec.kernel, kernel=enclosure.path(spec.kernel.kernel), initrd=enclosure.path(spec.kernel.initrd)
            )
            spec = replace(spec, kernel=kernel)
        return replace(
            spec,
            name=self.name,
            console=enclosure.path(spec.console),
            disks=tuple(shown(disk) for disk in spec.disks),
        )

    @property
    def name(self) -> str:
        """libvirt's name of it: two builds of one process share a libvirt."""
        return f"{self.spec.name}-{self.spec.uuid[:8]}"

    @property
    def uptime(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    @property
    def answer_time(self) -> float:
        """Seconds after which an answer of the guest is overdue; scaled."""
        return 6.0 * self._hypervisor.accelerator.scale

    def require_alive(self) -> bool:
        """True, or the cause as a MachineError (a full disk of this host: HostError); for commands in the guest."""
        self._raise_if_dead("the end of a command")
        return True

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What breaks in the block, a talk with the guest, is told as what ended the machine, if that shows."""
        try:
            yield
        except (MachineError, OSError) as error:
            if isinstance(error, OSError) or error.code in ("machine.connection-lost", "machine.command-timeout"):
                for _ in range(LOOKS):
                    self.require_alive()
                    time.sleep(0.3)
            raise

    def answers(self) -> bool:
        """Whether the guest's SSH greets a new connection: a frozen one does not."""
        try:
            with socket.create_connection(("127.0.0.1", self.spec.ssh_port), timeout=self.answer_time) as connection:
                connection.settimeout(self.answer_time)
                return bool(connection.recv(1))
        except OSError:
            return False

    @property
    def alive(self) -> bool:
        """Whether QEMU still runs it."""
        return self._domain is not None and self._hypervisor.connection.alive(self._domain)

    def wait_until(
        self, ready: Callable[[], bool], what: str, *, seconds: float | None = None, quiet_allowed: bool = False
    ) -> float:
        """Call *ready* again and again until it is true; returns the seconds it took.

        *ready* runs in a thread of its own, since an attempt to connect may take long while the console has already
        told that nothing will come. Raises MachineError with the cause as soon as the machine ends, its console shows a
        dead boot, it says nothing for too long (unless *quiet_allowed*), or *seconds* (default: the scaled time for a
        boot) have passed.
        """
        start = time.monotonic()
        limit = seconds or self._hypervisor.timeouts.boot
        self.console.last_progress = start
        attempts = _Attempts(ready)
        try:
            while not attempts.succeeded(0.3):
                try:
                    self._raise_if_dead(what, waiting=True)
                except MachineError:
                    if not self.alive and attempts.succeed_at_last():
                        break  # it was ready, and powered itself off before the next look
                    raise
                self._raise_if_late(what, start + limit, limit, quiet_allowed)
        finally:
            attempts.stop()
        return time.monotonic() - start

    def _raise_if_late(self, what: str, deadline: float, limit: float, quiet_allowed: bool) -> None:
        if time.monotonic() > deadline:
            raise self._error(
                f"the guest did not get to {what} within {limit:.0f} s",
                f"Its console last said: {self.console.last_line() or 'nothing at all'}",
                "Look at the console log",
                "machine.timeout",
            )
        if not quiet_allowed and self.console.silent_for > self._hypervisor.timeouts.silence:
            raise self._error(
                f"the guest hung before {what}",
                f"Its console was silent for {self.console.silent_for:.0f} s after: "
                f"{self.console.last_line() or 'nothing at all'}",
                "If it hung right after the firmware, try --accel tcg",
                "machine.hung",
            )

    def _raise_if_dead(self, what: str, *, powered_off: bool = False, waiting: bool = False) -> None:
        self.console.read()
        death = self.console.death(waiting=waiting)
        if death:
            sign, line = death
            raise self._error(f"{sign.cause} before {what}", f"The console says: {line}", sign.hint, sign.code)
        if self._domain is not None and (stopped := self._hypervisor.connection.stopped(self._domain)):
            raise self._not_written(what, stopped)
        if not powered_off and not self.alive:
            self.console.read()
            raise self._error(
                f"QEMU ended before {what}",
                f"The console last said: {self.console.last_line() or 'nothing at all'}",
                "Was it killed, for lack of memory perhaps? 'dmesg' tells",
                "machine.ended",
            )

    def _not_written(self, what: str, stopped: str) -> FactoryError:
        """That QEMU *stopped* the machine over its disk: because that of the host is full, if it is."""
        message, disk = f"QEMU stopped the machine before {what}", "It could not write the machine's disk"
        for folder in (each.path.parent for each in self.spec.disks if not each.readonly):
            if disks.full(folder):
                return HostError(
                    message,
                    cause=f"{disk}: no space is left in {folder}",
                    hint="Free some space there, or set FACTORY_STATE to a larger disk",
                    output=self.console.tail(),
                    code="host.disk-full",
                )
        hint = (
            "Has this host's disk a fault (dmesg), or was it full for a while? See that FACTORY_STATE is on a sound one"
        )
        return self._error(message, f"{disk}: {stopped}", hint, "machine.disk-not-written")

    def _error(self, message: str, cause: str, hint: str, code: str) -> MachineError:
        return MachineError(
            message, cause=cause, hint=f"{hint} ({self.spec.console.name})", code=code, output=self.console.tail()
        )

    def wait_for_end(self, seconds: float | None = None) -> float:
        """Wait until the guest has powered itself off; returns the seconds it took."""
        start = time.monotonic()
        limit = seconds or self._hypervisor.timeouts.boot
        while self.alive:
            self._raise_if_dead("the power-off", powered_off=True)
            if time.monotonic() - start > limit:
                raise self._error(
                    f"the guest did not power off within {limit:.0f} s",
                    f"It last said: {self.console.last_line()}",
                    "A service that does not stop holds it up; the console log names it",
                    "machine.no-power-off",
                )
            time.sleep(0.2)
        return time.monotonic() - start

    def destroy(self) -> None:
        """End it at once; quiet when it has ended already."""
        if self._domain is not None:
            self._hypervisor.connection.destroy(self._domain)
            self._domain = None
            self._hypervisor.enclosure.take_back(self.spec.console)
            if self._hypervisor.owner and self._process:
                self._hypervisor.owner.forget_child(self._process)


class _Attempts:
    """Calls a function again and again in a thread, until it is true, fails, or nobody waits any more."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._good = False
        self._thread = threading.Thread(target=self._loop, name="attempts", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        try:
            while not self._over.is_set():
                if self._ready():
                    self._good = True
                    return
                self._over.wait(0.5)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._over.set()

    def succeeded(self, seconds: float) -> bool:
        """Whether it has become true; waits up to *seconds* for it. Raises what the function raised."""
        if not self._over.wait(seconds):
            return False
        if self._error is not None:
            raise self._error
        return self._good

    def succeed_at_last(self) -> bool:
        """Whether it is true now that nothing will change any more; a call that is under way has 5 s to end."""
        self._over.set()
        self._thread.join(5)
        return self._good or (not self._thread.is_alive() and self._ready())

    def stop(self) -> None:
        self._over.set()
