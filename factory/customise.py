"""The build's machine: booted on an overlay of the base, customised over SSH, scrubbed as its last act, and off."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factory import canaries, disk, provision, scrub, seed
from factory.errors import BuildError, UsageError
from factory.guest import Guest
from factory.hypervisor.domain import Disk, MachineSpec
from factory.hypervisor.machine import Hypervisor, Machine, free_port, new_mac, new_uuid
from factory.login import log_in
from factory.provision.packages import system_of
from factory.provision.session import FOLDER, Session

if TYPE_CHECKING:
    from factory.bases import Base
    from factory.console import Console
    from factory.plan import Plan
    from factory.recipe import Recipe
    from factory.workspace import Workspace


@dataclass(frozen=True)
class Customised:
    """The disk after the guest has powered off, and what is known of the guest that must not be in it."""

    disk: Path
    packages: list[dict[str, str]]
    canaries: tuple[canaries.Canary, ...]
    identity: frozenset[str]  # the machine-id and host keys of the build's guest
    scrub: scrub.Facts


def customise(plan: Plan, base: Base, workspace: Workspace, hypervisor: Hypervisor, console: Console) -> Customised:
    """Boot *base*, run the recipe's steps, scrub, power off."""
    recipe = plan.recipe
    overlay = _overlay(plan, base, workspace, hypervisor)
    login, host_key = seed.new_keypair("build"), seed.new_keypair("build-host")
    given = seed.build_seed(
        hostname=f"factory-{secrets.token_hex(5)}",
        instance_id=new_uuid(),
        login=login,
        host_key=host_key,
        extra=recipe.cloud_init,
    )
    for secret in given.secrets:
        console.redact(secret)
    iso = workspace.work / "seed.iso"
    seed.write(given, iso)
    spec = MachineSpec(
        name="build",
        uuid=new_uuid(),
        mac=new_mac(),
        ssh_port=free_port(),
        console=workspace.partial / "console-build.log",
        accelerator=hypervisor.accelerator.name,
        disks=(Disk(overlay, "qcow2"), Disk(iso, "raw", readonly=True)),
        cpus=recipe.machine.cpus,
        memory=recipe.machine.memory,
        network="user" if recipe.machine.network == "user" else "none",
    )
    facts = scrub.Facts(hostname=given.hostname, allow_users=tuple(recipe.checks.allow_users))
    with hypervisor.machine(spec) as machine:
        with console.stage("boot") as stage:
            guest = log_in(machine, "root", login, host_key)
            stage.note(f"SSH after {machine.uptime:.0f} s")
        with guest:
            with console.stage("cloud-init"):
                _wait_for_cloud_init(guest, machine, hypervisor.accelerator.scale)
            session = Session(guest, recipe, console, base.kind, machine.require_alive, hypervisor.accelerator.scale)
            session.answers = machine.answers
            guest.run(f"install -d -m 0700 {FOLDER}")
            with console.stage("customise"):
                _customise(session, console)
            packages = _installed(session, base)
            machine_id = guest.run("cat /etc/machine-id").stdout.strip()
            host_keys = guest.run("cat /etc/ssh/ssh_host_*_key.pub", check=False).stdout
            with console.stage("scrub"):
                _start_scrub(guest, facts)
                guest.close()
                _wait_for_scrub(machine)
    iso.unlink()
    identity = {machine_id, *(line.split()[1] for line in host_keys.splitlines() if len(line.split()) > 1)}
    return Customised(overlay, packages, _canaries(given, spec, machine_id, recipe), frozenset(identity), facts)


def _overlay(plan: Plan, base: Base, workspace: Workspace, hypervisor: Hypervisor) -> Path:
    recipe = plan.recipe
    smallest = disk.info(base.path, "qcow2").virtual_size
    if recipe.disk < smallest:
        raise UsageError(
            f"the disk of {recipe.file} is {recipe.disk / 2**30:.1f} GiB, smaller than its base",
            cause=f"{base.name} has {smallest / 2**30:.1f} GiB",
            hint=f"Write disk: {-(-smallest // 2**30)}GiB or more",
            code="recipe.disk-too-small",
        )
    overlay = workspace.work / "disk.qcow2"
    # Clusters of the file system's own block size: a larger one would keep blocks that the guest has trimmed.
    disk.create_overlay(hypervisor.enclosure.path(base.path), "qcow2", overlay, recipe.disk, cluster_size=4096)
    return overlay


def _wait_for_cloud_init(guest: Guest, machine: Machine, scale: float) -> None:
    """Until cloud-init has ended: before that, packages and files of ours would race with it."""
    done = guest.run("cloud-init status --wait --long", check=False, timeout=300 * scale, alive=machine.check_alive)
    match = re.search(r"^status: (.*)$", done.stdout, re.MULTILINE)
    status = match.group(1).strip() if match else "unknown"
    if status != "done":
        log = guest.run("grep -E 'WARNING|ERROR|Traceback' /var/log/cloud-init.log | tail -n 20", check=False).stdout
        raise BuildError(
            f"cloud-init ended with the status {status!r} in the build's guest",
            cause=(log.strip().splitlines() or ["its log shows no error"])[-1],
            hint="Look at cloud_init: in the recipe, and at the lines of cloud-init in console-build.log",
            output=log,
            code="build.cloud-init",
        )


def _customise(session: Session, console: Console) -> None:
    recipe = session.recipe
    if recipe.upgrade != "none":
        with console.stage("upgrade") as stage:
            stage.note(recipe.upgrade)
            system_of(session).upgrade(recipe.upgrade)
    elif recipe.repositories:
        with console.stage("repositories"):
            system_of(session)
    provision.run_steps(session, console)


def _installed(session: Session, base: Base) -> list[dict[str, str]]:
    """The packages of the guest; of a distribution whose package system we do not know, what the base said."""
    from factory.errors import StepFailed

    try:
        return system_of(session).installed()
    except StepFailed:
        return list(base.facts.get("packages", []))


def _start_scrub(guest: Guest, facts: scrub.Facts) -> None:
    """Upload the one script and start it apart from this session, which it is going to end."""
    guest.put_bytes(scrub.script(facts).encode(), scrub.SCRIPT, 0o700)
    guest.run(f"systemd-run --no-block --collect --quiet --unit=factory-scrub /bin/sh {scrub.SCRIPT}", timeout=60)


def _wait_for_scrub(machine: Machine) -> None:
    machine.wait_for_end()
    outcome = scrub.outcome(machine.spec.console.read_text(errors="replace"))
    if outcome is None or not outcome.ok:
        failed = ", ".join(outcome.failed) if outcome else "the guest went off without its last word"
        raise BuildError(
            f"the scrub did not end well: {failed}",
            cause="An operation ended with an error in the guest; the console log has its lines",
            hint="If a step of the recipe makes a file system read-only or removes basic tools, let it not",
            output=machine.console.tail(),
            code="build.scrub",
        )


def _canaries(given: seed.Seed, spec: MachineSpec, machine_id: str, recipe: Recipe) -> tuple[canaries.Canary, ...]:
    assert given.host_key is not None
    return (
        *canaries.for_ssh_key("login key of the build", given.login),
        *canaries.for_ssh_key("host key of the build", given.host_key),
        canaries.for_machine_id(machine_id, "machine-id of the build"),
        canaries.for_mac(spec.mac, "MAC address of the build"),
        canaries.for_uuid("instance-id of the build", given.instance_id),
        canaries.for_uuid("SMBIOS UUID of the build", spec.uuid),
        canaries.for_text("host name of the build", "hostname", given.hostname),
        *(
            canaries.for_text(f"secret {name} of the recipe", "secret", recipe.values[name])
            for name in sorted(recipe.secret_names)
            if len(recipe.values[name].encode()) >= canaries.SHORTEST
        ),
    )
