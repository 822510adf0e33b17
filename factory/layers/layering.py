"""The layers of one build: where it starts, which it keeps beside its work, and what it tells of them.

Measured under emulation: to boot takes 43 s and more, to save a guest with its memory 1 s, to go on from it 3 s. So a
layer is memory and disk, never a disk alone. It is written into the cache by a thread of its own while the guest works
on. A step that is quicker than its layer is run again instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from factory import __version__, cache, disk, layers, own_sources, seed
from factory.errors import BuildError, FactoryError, HostError
from factory.hypervisor import identity as form_of
from factory.hypervisor.domain import Disk, MachineSpec
from factory.layers import Identity, Policy, Start, Use
from factory.layers.keys import LayerKey, altered, layer_keys

if TYPE_CHECKING:
    from factory.hypervisor.machine import Machine
    from factory.recipe import Recipe
    from factory.site import Site

NOT_SAVED = "a daemon's libvirt keeps no layers"
WORTH = 2.0  # seconds of work that are worth a layer


def machine_parts(recipe: Recipe, base_sha256: str, accelerator: str) -> dict[str, str]:
    """What the booted base depends on, by name."""
    pair = seed.KeyPair("private", "ssh-ed25519 public")
    given = seed.build_seed(
        hostname="factory-000000", instance_id="id", login=pair, host_key=pair, extra=recipe.cloud_init
    )
    spec = spec_of(recipe, accelerator, Path("/disk"), Path("/seed"))
    return {
        "the base": base_sha256,
        "the size of the disk": str(recipe.disk),
        "cloud_init": given.user_data + given.meta_data + given.network_config,
        "the machine": form_of.form(spec),
        "the processor": form_of.processor(),
        "the factory": f"{__version__} {own_sources.digest(*own_sources.IN_THE_GUEST)}",
        **form_of.programs(),
    }


def spec_of(recipe: Recipe, accelerator: str, overlay: Path, iso: Path) -> MachineSpec:
    """The machine of a build, without what is its own; the paths are those of its disks."""
    return MachineSpec(
        name="build",
        uuid=form_of.PLACEHOLDER,
        mac="52:54:00:00:00:00",
        ssh_port=1,
        console=Path("/console"),
        accelerator="kvm" if accelerator == "kvm" else "tcg",
        disks=(Disk(overlay, "qcow2"), Disk(iso, "raw", readonly=True)),
        cpus=recipe.machine.cpus,
        memory=recipe.machine.memory,
        network="user" if recipe.machine.network == "user" else "none",
    )


def survey(
    recipe: Recipe, base_sha256: str, accelerator: str, policy: Policy, *, saves: bool = True
) -> tuple[tuple[LayerKey, ...], Start]:
    """The points of a build of *recipe*, and where it would start; nothing is changed. For ``factory plan``.

    *saves* is whether its machines can be saved, which those of a daemon's libvirt cannot.
    """
    keys = layer_keys(recipe, machine_parts(recipe, base_sha256, accelerator))
    if not saves:
        return keys, _all_missed(keys, NOT_SAVED)
    store = cache.Cache()
    history = layers.read_history(layers.history_path(store, recipe.file))
    return keys, layers.choose(store, keys, policy, history)


def _all_missed(keys: Sequence[LayerKey], why: str) -> Start:
    return Start(uses=tuple(Use(each.name, each.key, "miss", why) for each in keys))


def _changed(recipe: Recipe, what: str) -> BuildError:
    return BuildError(
        f"{what} changed while it was built",
        cause="What is in the guest may be the old content, the new one or a part of it, so nothing of it is kept",
        hint=f"Build it again, and leave the files of {recipe.file.name} alone until their steps have run",
        code="build.recipe-changed",
    )


class Layering:
    """The layers of the build in *workspace*. Use it in a ``with``: its end waits for what is still being written."""

    def __init__(self, site: Site, policy: Policy) -> None:
        recipe, hypervisor = site.plan.recipe, site.hypervisor
        self.store = cache.Cache(warn=site.console.warn)
        self.keys = layer_keys(recipe, machine_parts(recipe, site.base.sha256, hypervisor.accelerator.name))
        if recipe.digest() != site.plan.digest:  # the base may have taken minutes since
            raise _changed(recipe, f"a file of the recipe {recipe.name}")
        self._recipe = recipe
        self._console = site.console
        self._work = site.workspace.work
        self._base = hypervisor.enclosure.path(site.base.path)
        self._history = layers.history_path(self.store, recipe.file)
        self._active = hypervisor.saves
        self._came_to = 0
        self._without: dict[str, str] = {}
        self._since = time.monotonic()
        self._writer = ThreadPoolExecutor(1, "layers")
        self._written: list[tuple[str, Future[tuple[cache.Entry, cache.Entry]]]] = []
        self._reached: dict[str, float] = {}  # when a build came to each point, by key; seconds since 1970
        if self._active:
            self.start = layers.choose(self.store, self.keys, policy, layers.read_history(self._history))
            # Else the next build would go on from them when this one fails, behind the step that failed.
            layers.forget(self.store, layers.refused(self.keys, policy))
        else:
            self.start = _all_missed(self.keys, NOT_SAVED)

    def __enter__(self) -> Layering:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown(wait=True)
        made = 0
        for name, written in self._written:
            try:
                made += len(written.result())
            except FactoryError as error:
                self._console.say(f"No layer was kept after {name}: {error.message}.")
        layers.write_history(self._history, self.keys[: self._came_to], self._without)
        if made:
            try:
                self.store.trim()
            except (FactoryError, OSError) as error:  # the next build's work; this one has its own end
                self._console.say(f"The cache was not trimmed: {error}.")

    def give_up(self, error: Exception) -> None:
        """The layer to start from was of no use: the build starts cold, and the layer is dropped if it may be why."""
        reason = error.message if isinstance(error, FactoryError) else str(error)
        self._console.say(f"The saved guest cannot be used ({self._console.safe(reason)}): booting cold.")
        of_this_host = isinstance(error, HostError | OSError)  # a full disk, perhaps: the layer is as good as before
        if self.start.layer and not of_this_host:
            layers.drop(self.store, self.start.layer)
        self.start = _all_missed(self.keys, "the saved guest could not be used")

    def begun(self) -> None:
        """The guest is there: what comes from now on is work that a layer can save."""
        self._came_to = self.start.index + 1
        self._reached = dict(self.start.layer.reached) if self.start.layer else {}
        self._since = time.monotonic()

    def came_to(
        self,
        index: int,
        machine: Machine,
        identity: Identity,
        seed_size: int,
        lists_at: float,
        sources: str,
        why_shut: Callable[[], str] = lambda: "",
    ) -> None:
        """The point *index* of the build is reached: keep a layer of it, if that is allowed and worth it.

        *why_shut* says why no later build could log in to the guest as it is now; empty when one could.

        Raises BuildError when a file that was used for it is not what its key says any more.
        """
        key = self.keys[index]
        if others := altered(self._recipe, key):
            raise _changed(self._recipe, ", ".join(others))
        self._came_to = index + 1
        self._reached[key.key] = time.time()
        worked = time.monotonic() - self._since
        if not self._active or key.barred:
            return
        if 0 < index < len(self.keys) - 2 and worked < WORTH:
            self._without[key.key] = f"it took {worked:.1f} s, less than to keep it"
            return
        if shut := self._console.safe(why_shut()):
            self._without[key.key] = f"root could not log in to it: {shut}"
            self._console.say(f"No layer is kept after {key.name}: root could not log in to it, because {shut}.")
            return
        facts = layers.facts_of(
            identity,
            machine=machine.spec.uuid,
            seed_size=seed_size,
            lists_at=lists_at,
            sources=sources,
            reached=self._reached,
        )
        memory = self._work / f"layer-{index}.memory"
        try:
            disk.require_space(self._work, self._recipe.machine.memory, "a layer")
            frozen = machine.checkpoint(memory, self._work / f"disk-{index}.qcow2")
        except FactoryError as error:
            memory.unlink(missing_ok=True)  # the half of it would fill the disk until the build ends
            self._active = False
            why = ": ".join(self._console.safe(words) for words in (error.message, error.cause) if words)
            self._console.say(f"No layers are kept: {why}")
            return
        writing = self._writer.submit(layers.keep, self.store, key.key, frozen, memory, self._base, facts, self._work)
        self._written.append((key.name, writing))
        self._since = time.monotonic()

    @property
    def uses(self) -> Sequence[Use]:
        """Of every point whether it was there, why not, and when what was fetched there is too old."""
        return tuple(
            replace(
                use,
                why=f"{use.why}; {self._without[use.key]}" if use.key in self._without else use.why,
                expires=None if key.keep is None or key.key not in self._reached else self._reached[key.key] + key.keep,
            )
            for use, key in zip(self.start.uses, self.keys, strict=True)
        )
