"""The build's machine: begun from a layer or a boot, customised over SSH, scrubbed as its last act, and off."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factory import canaries, mirror, provision, scrub
from factory.beginning import Begun, Clock, begun
from factory.errors import BuildError
from factory.guest import Guest
from factory.hypervisor.machine import Machine
from factory.layers import Identity, Policy, Use
from factory.layers.layering import Layering
from factory.provision.packages import prepared, system_of
from factory.provision.session import FOLDER, Session
from factory.renewal import set_clock
from factory.renewal.way_in import why_shut

if TYPE_CHECKING:
    from factory.bases import Base
    from factory.console import Console
    from factory.recipe import Recipe
    from factory.site import Site

MACHINE_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Customised:
    """The disk after the guest has powered off, and what is known of the guest that must not be in it."""

    disk: Path
    packages: list[dict[str, str]]
    canaries: tuple[canaries.Canary, ...]
    identity: frozenset[str]  # the machine-id and host keys of the build's guest
    scrub: scrub.Facts
    uses: tuple[Use, ...] = ()  # of every point of the build whether a layer of it was there


def customise(site: Site, policy: Policy | None = None) -> Customised:
    """Begin from a layer or from the base, run the recipe's steps, scrub, power off."""
    recipe, console = site.plan.recipe, site.console
    with Layering(site, policy or Policy()) as layering:
        with begun(site, layering) as start:
            guest, machine, identity = start.guest, start.machine, start.identity
            scale = site.hypervisor.accelerator.scale
            session = Session(guest, recipe, console, site.base.kind, machine.require_alive, scale)
            session.answers = machine.answers
            guest.run(f"install -d -m 0700 {FOLDER}")
            machine_ids = _machine_ids(guest)  # before the steps: one may have it made anew at the first boot
            with console.stage("customise"):
                _customise(session, start, layering, console)
            packages = _installed(session, site.base)
            machine_ids |= _machine_ids(guest)
            host_keys = guest.read("cat /etc/ssh/ssh_host_*_key.pub")
            facts = scrub.Facts(hostname=identity.hostname, allow_users=tuple(recipe.checks.allow_users))
            with console.stage("scrub"):
                _start_scrub(guest, facts, scale)
                guest.close()
                _wait_for_scrub(machine)
        earlier = [pair.public_openssh for pair in identity.pairs]
        known = {line.split()[1] for line in [*host_keys.splitlines(), *earlier] if len(line.split()) > 1}
        looked_for = _canaries(identity, machine_ids, recipe)
        disk = machine.spec.disks[0].path
    return Customised(disk, packages, looked_for, machine_ids | known, facts, tuple(layering.uses))


def _customise(session: Session, start: Begun, layering: Layering, console: Console) -> None:
    """The upgrade and the steps from where the build starts; the points before it are only told."""
    recipe, done, clock = session.recipe, layering.start.index, Clock()

    def came_to(index: int) -> None:
        layering.came_to(
            index, start.machine, start.identity, start.seed_size, session.lists_at, session.sources,
            why_shut=lambda: why_shut(session.guest, timeout=60 * session.scale),
        )  # fmt: skip
        if clock.leapt():
            set_clock(session.guest)

    if done < 0:
        came_to(0)
        done = 0
    for use in layering.start.uses[1 : done + 1]:
        with console.stage(use.name) as stage:
            stage.cached(use.why)
    before = recipe.upgrade != "none" or bool(recipe.repositories)
    if done and (before or any(step.kind != "copy" for step in recipe.provision[: done - before])):
        session.has_repositories = True  # a step may have changed them since
        resumed = prepared(session)  # as it was in the build that kept the layer: steps see its environment
        session.lists_at = start.lists_at
        moved = start.sources != session.sources and done < len(layering.start.uses) - 1
        if resumed and moved and (start.lists_at or resumed.has_lists()):
            # The lists of another mirror name nothing of this one; a shell step may run apt-get install by itself.
            session.lists_at = 0.0
            resumed.update()
    if before and not done:
        with console.stage(layering.keys[1].name) as stage:
            system = system_of(session)
            if recipe.upgrade != "none":
                stage.note(recipe.upgrade)
                system.upgrade(recipe.upgrade)
        came_to(1)
    first = max(1, done + 1 - before)
    provision.run_steps(session, console, first=first, ran=lambda number: came_to(number + before))


def _installed(session: Session, base: Base) -> list[dict[str, str]]:
    """The packages of the guest; of a distribution whose package system we do not know, what the base said."""
    from factory.errors import StepFailed

    try:
        return system_of(session).installed()
    except StepFailed:
        return list(base.facts.get("packages", []))


def _start_scrub(guest: Guest, facts: scrub.Facts, scale: float) -> None:
    """Upload the one script and start it apart from this session, which it is going to end."""
    guest.put_bytes(scrub.script(facts).encode(), scrub.SCRIPT, 0o700)
    guest.run(
        f"systemd-run --no-block --collect --quiet --unit=factory-scrub /bin/sh {scrub.SCRIPT}", timeout=60 * scale
    )


def _wait_for_scrub(machine: Machine) -> None:
    machine.wait_for_end()
    outcome = scrub.outcome(machine.console.whole())
    if outcome is None or not outcome.ok:
        failed = ", ".join(outcome.failed) if outcome else "the guest went off without its last word"
        raise BuildError(
            f"the scrub did not end well: {failed}",
            cause="An operation ended with an error in the guest; the console log has its lines",
            hint="If a step of the recipe makes a file system read-only or removes basic tools, let it not",
            output=machine.console.tail(),
            code="build.scrub",
        )


def _machine_ids(guest: Guest) -> frozenset[str]:
    """The machine-id that the guest has now, if it has one: a recipe may have emptied or removed it."""
    words = guest.read("cat /etc/machine-id 2>/dev/null").split()
    return frozenset(word for word in words if MACHINE_ID.fullmatch(word))


def _canaries(identity: Identity, machine_ids: Iterable[str], recipe: Recipe) -> tuple[canaries.Canary, ...]:
    earlier = [
        canary
        for number, pair in enumerate(identity.pairs)
        for canary in canaries.for_ssh_key(f"{'host' if number % 2 else 'login'} key of the saved guest", pair)
    ]
    return (
        *canaries.for_ssh_key("login key of the build", identity.login),
        *canaries.for_ssh_key("host key of the build", identity.host_key),
        *earlier,
        *(canaries.for_machine_id(each, "machine-id of the build") for each in sorted(machine_ids)),
        canaries.for_mac(identity.mac, "MAC address of the build"),
        canaries.for_uuid("instance-id of the build", identity.instance_id),
        canaries.for_uuid("SMBIOS UUID of the build", identity.uuid),
        canaries.for_text("host name of the build", "hostname", identity.hostname),
        *(
            canaries.for_text(f"secret {name} of the recipe", "secret", recipe.values[name])
            for name in sorted(recipe.secret_names)
            if len(recipe.values[name].encode()) >= canaries.SHORTEST
        ),
        *(
            canaries.for_text("login of this host's proxy", "secret", secret)
            for secret in mirror.proxy_secrets()
            if len(secret.encode()) >= canaries.SHORTEST
        ),
    )
