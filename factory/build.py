"""The pipeline: one stage a line. Start reading here.

recipe -> base image -> boot under libvirt with a seed -> customise over SSH -> scrub -> power off -> shrink and convert
-> verify the final bytes -> boot tests on throw-away overlays, upload side by side -> manifest -> the output appears,
and ``latest`` flips last -> the upload is completed, and imported.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from factory import (
    bases,
    boot_test,
    boot_ways,
    cache,
    disk,
    inspection,
    layers,
    manifest,
    mirror,
    preflight,
    record,
    settings,
)
from factory.checking import Known, ignoring
from factory.customise import Customised, customise
from factory.errors import BuildError, FactoryError, HostError, ImageRefused, UsageError
from factory.files import disk_of, touching
from factory.findings import Summary, failed
from factory.finish import finish
from factory.hypervisor import accelerator, kept_machine
from factory.hypervisor.hypervisor import Hypervisor
from factory.layers import Policy, Use
from factory.layers.keys import layer_keys, step_number
from factory.publish import BuildPublication, Unpublished
from factory.reaping import reap_before_a_build
from factory.renewal import unchanged
from factory.site import Site
from factory.verify import verify
from factory.workspace import Workspace, flip

if TYPE_CHECKING:
    from factory.console import Console
    from factory.plan import Plan
    from factory.publish.importer import Wishes


@dataclass(frozen=True)
class Options:
    """How to build, beside what the recipe says."""

    accelerator: str = "auto"
    connect: str = "qemu:///embed"
    boot_test: Literal["full", "quick", "none"] = "full"
    output: Path = Path("out")
    offline: bool = False
    accept_stale: bool = False
    keep: Literal["never", "on-failure", "always"] = "never"
    keep_for: float = 3600.0  # seconds that a kept machine runs
    anew: bool = False  # although an earlier image of it is good
    again: tuple[str, ...] = ()  # the words of the command line that build it again
    cold: bool = False  # start from the base, without a warm machine or a layer
    no_cache: bool = False  # run every step, whatever is cached
    if_changed: bool = False  # although the last build is old, only when its packages have other versions now
    from_step: str = ""  # run this step and all after it, whatever is cached; its number, or ``upgrade``
    publish: Wishes | None = None  # to the targets of the plan, once it is green

    @property
    def always(self) -> bool:
        """Whether to build although the same image is there."""
        return self.cold or self.no_cache or bool(self.from_step) or self.keep == "always" or self.anew


@dataclass(frozen=True)
class Built:
    """A build that ended well: its folder, its image, and what was found."""

    recipe: str
    build_id: str
    folder: Path
    image: Path
    size: int
    sha256: str
    summary: Summary
    seconds: float
    unchanged: bool = False  # it was there already


def build(plan: Plan, options: Options, console: Console) -> Built:
    """Build *plan*. What fails raises a FactoryError, leaves ``<build id>.failed`` and never touches ``latest``."""
    policy(plan, options)  # a step that is not there is told before any work
    cache.size_limit()  # and a setting that is none
    with disk_of(f"Building {plan.recipe.name}"), _publication(plan, options, console) as publication:
        built = None if options.always else _nothing_to_do(plan, options, console)
        built = built or _build(plan, options, publication, console)
        try:
            publication.conclude(built.folder)
        except FactoryError as error:
            error.folder = built.folder
            raise
    return built


def _build(plan: Plan, options: Options, publication: BuildPublication, console: Console) -> Built:
    reap_before_a_build()
    old_base = options.offline or options.accept_stale
    preflight.check(plan, options.output, options.boot_test, old_base=old_base)
    chosen = accelerator.choose(options.accelerator)
    _announce(plan, chosen, console)
    for secret in (*plan.recipe.secrets, *mirror.proxy_secrets()):
        console.redact(secret)
    workspace = Workspace.create(plan.recipe.name, plan.key, output=options.output, state=settings.state_dir())
    try:
        try:
            with (
                disk_of(f"Building {plan.recipe.name}"),
                console.log_to(workspace.partial / "build.log"),
                console.stage(plan.recipe.name) as whole,
            ):
                result = _run(plan, options, chosen, workspace, publication, console)
                whole.note(f"{result.size / 1e6:.0f} MB")
            return _commit(workspace, result, options, console)
        except FactoryError as error:
            # A lack of this host says nothing against an image that was finished before.
            spared = workspace.finished is not None and isinstance(error, HostError)
            _set_aside(workspace, options, error, keep_image=spared or isinstance(error, ImageRefused))
            raise
    except FactoryError:
        raise
    except BaseException:  # Ctrl-C, also while a failure is set aside: nothing is kept
        _break_off(workspace)
        raise


def _break_off(workspace: Workspace) -> None:
    with contextlib.suppress(HostError):  # a full disk
        kept_machine.unkeep(workspace)
        if workspace.entry.kept:
            workspace.forget_machine()
    workspace.fail()


def _publication(plan: Plan, options: Options, console: Console) -> BuildPublication:
    """What publishes beside the build; nothing does unless it was asked for."""
    if options.publish is None:
        return Unpublished()
    from factory.publish.with_build import Publication

    return Publication([target.name for target in plan.targets] or ["generic"], options.publish, console)


def _nothing_to_do(plan: Plan, options: Options, console: Console) -> Built | None:
    """The build that this one would only repeat, if it is there; ``latest`` then points to it."""
    began = time.monotonic()
    found = unchanged.find(plan, options.output, options.boot_test, accept_stale=options.accept_stale)
    if found.image is None and options.if_changed and not options.offline:
        found = unchanged.look(plan, options.output, options.boot_test, console, accept_stale=options.accept_stale)
    if found.image is None:
        if options.if_changed:
            console.say(f"{plan.recipe.name} {plan.recipe.version} is built: {found.why}.")
        return None
    folder, document = found.image.folder, found.image.manifest
    with touching(folder, "Pointing latest to a build"):
        if not found.image.latest:
            flip(folder)
    console.say(f"{plan.recipe.name} {plan.recipe.version}: nothing to do, {found.why} ({document.build_id}).")
    return Built(
        plan.recipe.name, document.build_id, folder, folder / document.image.file, document.image.size,
        document.image.sha256, document.findings, time.monotonic() - began, unchanged=True,
    )  # fmt: skip


def _run(
    plan: Plan,
    options: Options,
    chosen: accelerator.Accelerator,
    workspace: Workspace,
    publication: BuildPublication,
    console: Console,
) -> Built:
    started, began = datetime.now(UTC), time.monotonic()
    image = workspace.partial / plan.image
    with held_base(plan, options, chosen, console) as base, _hypervisor(workspace, chosen, options) as hypervisor:
        site = Site(plan, base, workspace, hypervisor, console)
        customised = customise(site, policy(plan, options))
        try:
            finish(customised.disk, image, workspace.work, console)
        except BuildError as error:
            _distrust(customised.uses, error)
            raise
        workspace.finished = image
        if options.keep != "always":
            customised.disk.unlink()
        ignored = plan.recipe.checks.ignore
        known = Known(tuple(plan.recipe.checks.allow_users), plan.recipe.requirements.disk or plan.recipe.disk)
        findings = ignoring(verify(image, customised, plan.targets, known, workspace.work, console), ignored)
        boots: tuple[manifest.BootEntry, ...] = ()
        if not failed(findings):
            publication.begin(lambda: record.artefact(site, image))
            if options.boot_test != "none":
                test = _boot_test(site, customised, image, options)
                outcome = boot_test.run(test, hypervisor, workspace.work, workspace.partial, console)
                findings += ignoring(outcome.findings, ignored)
                boots = outcome.boots
        tools = hypervisor.connection.versions()
    digest = disk.sha256(image)
    told = record.Record(site, customised, image, digest, findings, boots, options.boot_test, tools, started)
    told.write_findings()
    record.refuse_failures(findings)
    told.write_manifest()
    workspace.write_sums({image.name: digest})
    seconds = time.monotonic() - began
    return Built(
        plan.recipe.name, workspace.build_id, workspace.partial, image, image.stat().st_size, digest,
        Summary.of(findings), seconds,
    )  # fmt: skip


def _hypervisor(workspace: Workspace, chosen: accelerator.Accelerator, options: Options) -> Hypervisor:
    keep = options.keep_for if options.keep in ("on-failure", "always") else 0
    return Hypervisor(workspace.work, chosen, options.connect, owner=workspace, keep=keep)


def policy(plan: Plan, options: Options) -> Policy:
    """Which layers the build may start from. Raises UsageError when ``--from`` names no step."""
    if not options.from_step:
        return Policy(options.cold, options.no_cache)
    number = step_number(layer_keys(plan.recipe, {}), options.from_step)
    if number is None:
        raise UsageError(
            f"the recipe {plan.recipe.name} has no step {options.from_step!r}",
            hint=f"--from takes the number of a step, 1 to {len(plan.recipe.provision)}, or upgrade",
            code="usage.no-such-step",
        )
    return Policy(options.cold, options.no_cache, number)


def _distrust(uses: Sequence[Use], error: BuildError) -> None:
    """A guest that went on from a layer left a damaged file system: the layer may be why, so none of them is kept."""
    if error.code == "build.file-system" and any(use.cache == "hit" for use in uses):
        layers.forget(cache.Cache(), [use.key for use in uses])
        error.hint = f"{error.hint.rstrip('.')}. The layers of this build are dropped: build it again"


@contextlib.contextmanager
def held_base(plan: Plan, options: Options, chosen: accelerator.Accelerator, console: Console) -> Iterator[bases.Base]:
    """The base image, from the cache or made now, which stays there while the block runs."""
    with contextlib.ExitStack() as held:
        base = obtain_base(plan, options, chosen, console)
        try:
            held.enter_context(cache.Cache().hold(base.entry))
        except HostError as error:
            if error.code != "host.cache-entry-gone":
                raise
            base = obtain_base(plan, options, chosen, console)  # another build cleared it away just now
            held.enter_context(cache.Cache().hold(base.entry))
        yield base


def obtain_base(plan: Plan, options: Options, chosen: accelerator.Accelerator, console: Console) -> bases.Base:
    """The base image, from the cache or made now."""
    with console.stage("base") as stage:
        stage.note(plan.base.name)
        base = bases.obtain(
            plan.base,
            offline=options.offline,
            accept_stale=options.accept_stale,
            console=console,
            accelerator=chosen,
            connect=options.connect,
        )
        if base.cached:
            stage.cached(base.why)
    return base


def _boot_test(site: Site, customised: Customised, image: Path, options: Options) -> boot_test.BootTest:
    base, recipe = site.base, site.plan.recipe
    boot = base.facts.get("boot") or ["bios", "uefi"]
    user = ""
    # The recipe may have given the image a default user of its own.
    with contextlib.suppress(inspection.Unreadable), inspection.open_image(image, format="qcow2") as view:
        user = boot_ways.user_of(view)
    return boot_test.BootTest(
        image=image,
        default_user=user or str(base.facts.get("default_user") or "debian"),
        mode="quick" if options.boot_test == "quick" else "full",
        uefi="uefi" in boot,
        bios="bios" in boot,
        recipe=recipe,
        memory=boot_test.memory_for(recipe),
        known_identity=customised.identity,
    )


def _announce(plan: Plan, chosen: accelerator.Accelerator, console: Console) -> None:
    slow = ", so every second of the guest takes several" if chosen.name == "tcg" else ""
    console.say(f"Building {plan.recipe.name} {plan.recipe.version} with {chosen.name.upper()} ({chosen.why}){slow}.")


def _commit(workspace: Workspace, result: Built, options: Options, console: Console) -> Built:
    if options.keep == "always":
        folder = workspace.commit("--keep always", options.again)
        if workspace.entry.kept:
            console.say(f"The working files are kept in {workspace.work}; 'factory gc' removes them.")
    else:
        folder = workspace.commit()
    return replace(result, folder=folder, image=folder / result.image.name)


def _set_aside(workspace: Workspace, options: Options, error: FactoryError, *, keep_image: bool = False) -> None:
    kept = ""
    if options.keep in ("on-failure", "always"):
        with contextlib.suppress(HostError):  # a full disk, perhaps the very reason of the failure
            workspace.keep(error.code, options.again)
    if workspace.entry.kept:
        build_id = workspace.build_id
        kept = f"; 'factory retry {build_id}' goes on"
        # Once there is an image of it, the disk stays with "always" only.
        if (workspace.finished is None or options.keep == "always") and any(workspace.work.glob("*.qcow2")):
            kept = f"; the disk is kept in {workspace.work}{kept}"
        if workspace.entry.kept_machine:
            kept = (
                f". Its machine runs for {options.keep_for / 60:.0f} more minutes: 'factory ssh {build_id}' and "
                f"'factory console {build_id}' get in, 'factory retry {build_id}' goes on, 'factory gc' ends it"
            )
    folder = error.folder = workspace.fail(keep_image=keep_image)
    image = ""
    if keep_image and workspace.finished and isinstance(error, HostError):
        passed = (folder / manifest.MANIFEST).is_file()
        image = f"The image is whole{' and passed' if passed else ', but has not passed'}, and is kept as "
        image += f"{folder / workspace.finished.name}; latest does not lead to it. "
    error.hint = f"{error.hint.rstrip('.')}. " * bool(error.hint) + f"{image}Everything is in {folder}{kept}"
