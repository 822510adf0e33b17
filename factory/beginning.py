"""The guest of a build, ready for its first step: gone on from a layer, or booted from the base."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from factory import cloud_init, disk, preflight, seed
from factory.errors import BuildError, FactoryError
from factory.hypervisor.fresh import free_port, new_mac, new_uuid
from factory.hypervisor.machine import Machine
from factory.layers import Identity, Layer
from factory.layers.layering import Layering, spec_of
from factory.login import log_in
from factory.provision.session import FOLDER
from factory.renewal import renew

if TYPE_CHECKING:
    from factory.console import Console
    from factory.guest import Guest
    from factory.site import Site

RESUMED = ("resumed.qcow2", "resumed.memory", "blank.iso")  # what a guest goes on from, in the work folder


@dataclass
class Begun:
    """A guest that answers: its machine, what it is known by, and what is known of it.

    *seed_size* is that of its seed disk, in bytes; *lists_at* when its package lists were fetched (0: never), and
    *sources* the digest of where from.
    """

    machine: Machine
    guest: Guest
    identity: Identity
    seed_size: int
    lists_at: float = 0.0
    sources: str = ""


@contextlib.contextmanager
def begun(site: Site, layering: Layering) -> Iterator[Begun]:
    """The guest from the layer that *layering* has chosen, or from a cold boot when there is none or it is no good."""
    with contextlib.ExitStack() as running:
        found: Begun | None = None
        if layering.start.layer:
            try:
                found = _resumed(site, layering, layering.start.layer, running)
            except (FactoryError, OSError) as error:
                running.close()
                for name in RESUMED:  # a cold boot needs the room that a part of them takes
                    (site.workspace.work / name).unlink(missing_ok=True)
                layering.give_up(error)
        if found is None:
            found = _booted(site, running)
        layering.begun()
        running.callback(found.guest.close)
        yield found


def _resumed(site: Site, layering: Layering, layer: Layer, running: contextlib.ExitStack) -> Begun:
    hypervisor, console, work = site.hypervisor, site.console, site.workspace.work
    old = layer.identity
    identity = old.renewed(seed.new_keypair("build"), seed.new_keypair("build-host"))
    _hide(identity, console)
    with console.stage("boot") as stage:
        overlay, memory, blank = (work / name for name in RESUMED)
        layer.copy(layering.store, hypervisor.enclosure.path(site.base.path), overlay, memory)
        # The seed has done its work; the guest still needs a disk of that size there.
        with blank.open("wb") as file:
            file.truncate(layer.seed_size)
        spec = replace(
            spec_of(site.plan.recipe, hypervisor.accelerator.name, overlay, blank),
            uuid=new_uuid(),
            mac=old.mac,
            ssh_port=free_port(),
            console=site.workspace.partial / "console-build.log",
        )
        machine = running.enter_context(hypervisor.resumed(spec, memory, layer.machine))
        memory.unlink()  # QEMU has read all of it
        scale = hypervisor.accelerator.scale
        guest = renew(machine, (old.login, old.host_key), (identity.login, identity.host_key), scale)
        stage.cached(f"warm, ready after {machine.uptime:.1f} s; {layering.start.uses[layering.start.index].why}")
    with console.stage("cloud-init") as stage:
        stage.cached("it had ended when the guest was saved")
    return Begun(machine, guest, identity, layer.seed_size, layer.lists_at, layer.sources)


def _booted(site: Site, running: contextlib.ExitStack) -> Begun:
    recipe, hypervisor, console, work = site.plan.recipe, site.hypervisor, site.console, site.workspace.work
    overlay = _overlay(site)
    given = seed.build_seed(
        hostname=f"factory-{secrets.token_hex(5)}",
        instance_id=new_uuid(),
        login=seed.new_keypair("build"),
        host_key=seed.new_keypair("build-host"),
        extra=recipe.cloud_init,
    )
    assert given.host_key is not None
    mac, uuid = new_mac(), new_uuid()
    identity = Identity(uuid, mac, given.hostname, given.instance_id, given.login, given.host_key)
    _hide(identity, console)
    iso = work / "seed.iso"
    seed.write(given, iso)
    spec = replace(
        spec_of(recipe, hypervisor.accelerator.name, overlay, iso),
        uuid=uuid,
        mac=mac,
        ssh_port=free_port(),
        console=site.workspace.partial / "console-build.log",
    )
    machine = running.enter_context(hypervisor.machine(spec))
    with console.stage("boot") as stage:
        guest = log_in(machine, "root", given.login, given.host_key)
        stage.note(f"SSH after {machine.uptime:.0f} s")
    with console.stage("cloud-init"), machine.told():
        _wait_for_cloud_init(guest, machine, hypervisor.accelerator.scale)
        # Timers would start work of their own in the middle of a step, all at once when the clock has made a leap.
        guest.run(f"install -d -m 0700 {FOLDER}; systemctl stop '*.timer' 2>/dev/null", check=False)
    return Begun(machine, guest, identity, iso.stat().st_size)


def _hide(identity: Identity, console: Console) -> None:
    """No private key of this build may show in any output."""
    for pair in (identity.login, identity.host_key):
        for text in (pair.private_openssh, *pair.private_openssh.strip().splitlines()[1:-1]):
            console.redact(text)


def _overlay(site: Site) -> Path:
    recipe, base = site.plan.recipe, site.base
    preflight.require_disk(recipe, base.name, disk.info(base.path, "qcow2").virtual_size)
    overlay = site.workspace.work / "disk.qcow2"
    # Clusters of the file system's own block size: a larger one would keep blocks that the guest has trimmed.
    disk.create_overlay(site.hypervisor.enclosure.path(base.path), "qcow2", overlay, recipe.disk, cluster_size=4096)
    return overlay


def _wait_for_cloud_init(guest: Guest, machine: Machine, scale: float) -> None:
    """Until cloud-init has ended: before that, packages and files of ours would race with it."""
    cloud_init.wait(guest, timeout=300 * scale, alive=machine.require_alive)
    ended = cloud_init.ended(guest)
    if not ended.finished or ended.errors:
        log = guest.run("grep -E 'WARNING|ERROR|Traceback' /var/log/cloud-init.log | tail -n 20", check=False).stdout
        raise BuildError(
            "cloud-init ended with an error in the build's guest"
            if ended.errors
            else "cloud-init did not run to its end",
            cause=(*ended.errors, *log.strip().splitlines()[-1:], "its log shows no error")[0],
            hint="Look at cloud_init: in the recipe, and at the lines of cloud-init in console-build.log",
            output=log,
            code="build.cloud-init",
        )


class Clock:
    """Notices that this host slept, when the guest's clock has stood still too."""

    def __init__(self) -> None:
        self._slept = self._offset()

    def leapt(self) -> bool:
        """Whether this host slept for a second or more since the last look."""
        before, self._slept = self._slept, self._offset()
        return self._slept - before > 1.0

    @staticmethod
    def _offset() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
