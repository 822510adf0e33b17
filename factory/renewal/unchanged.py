"""Nothing to do: a tested build of the same key is there already, and nothing that it depends on has changed since."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from factory import bases, images
from factory.cache_entry import ahead
from factory.errors import FactoryError, HostError
from factory.recipe.steps import PackagesStep, ShellStep

if TYPE_CHECKING:
    from factory.console import Console
    from factory.images import Image
    from factory.plan import Plan
    from factory.recipe import Recipe

PACKAGES_KEEP = 24 * 3600
"""Seconds for which what an archive gave counts as current."""

CLOUD_INIT_FETCHES = frozenset({"bootcmd", "runcmd", "packages", "apt", "yum_repos", "snap"})
"""What in ``cloud_init`` may fetch something."""


@dataclass(frozen=True)
class Unchanged:
    """What was found: the *image* to use again, or None; *why* in words for people."""

    image: Image | None
    why: str


def keeps(recipe: Recipe) -> float | None:
    """For how many seconds a build of *recipe* stays current; None when nothing in it grows old."""
    limits = [
        float(step.refresh) for step in recipe.provision if isinstance(step, ShellStep) and step.refresh is not None
    ]
    steps = any(isinstance(step, PackagesStep) for step in recipe.provision)
    if recipe.upgrade != "none" or steps or CLOUD_INIT_FETCHES & set(recipe.cloud_init):
        limits.append(PACKAGES_KEEP)
    return min(limits, default=None)


def look(plan: Plan, output: Path, boot_test: str, console: Console, *, accept_stale: bool = False) -> Unchanged:
    """As :func:`find`, for a nightly run: a build that is too old, or whose base is, still counts when the archive
    would bring nothing new.

    Says of what is new what it is. What cannot be told counts as new.
    """
    recipe = plan.recipe
    if recipe.secret_names:
        return find(plan, output, boot_test)
    same = [each for each in images.builds(output, recipe.name) if each.manifest.key == plan.key]
    same = [each for each in same if _tested(each, boot_test) and _whole(each) and not ahead(each.manifest.started)]
    if not same:
        return find(plan, output, boot_test)
    newest = same[-1]
    age = time.time() - newest.manifest.started.timestamp()
    fetches = [step.refresh for step in recipe.provision if isinstance(step, ShellStep) and step.refresh is not None]
    if fetches and age > min(fetches):
        return Unchanged(None, f"a step that fetches ran {bases.age(age)} ago")
    if (CLOUD_INIT_FETCHES - {"packages"}) & set(recipe.cloud_init) and age > PACKAGES_KEEP:
        return Unchanged(None, f"what cloud-init fetched is {bases.age(age)} old")
    # Of packages the index is asked below; of everything else nobody.
    asked = {"boot"} if CLOUD_INIT_FETCHES & set(recipe.cloud_init) == {"packages"} else set()
    past = [
        name for name in _too_old(newest) if name not in asked and name.split(" ")[-1] not in ("upgrade", "packages")
    ]
    if past:
        return Unchanged(None, _told(past))
    try:
        asks = plan.base.kind != "scratch" and not accept_stale  # of one made here, the archive tells below
        base = bases.current(plan.base, console) if asks else bases.cached(plan.base)
    except FactoryError as error:
        return Unchanged(None, f"it cannot be told whether the base changed ({error.message})")
    if plan.base.kind != "scratch" and (base is None or base.sha256 != newest.manifest.base.digest):
        return Unchanged(None, "the base has changed since the last build")
    try:
        new = _news(plan, newest, base, console)
    except FactoryError as error:
        return Unchanged(None, f"it cannot be told whether packages changed ({error.message})")
    if new:
        more = f" and {len(new) - 5} more" if len(new) > 5 else ""
        return Unchanged(None, f"there are other versions of {', '.join(new[:5])}{more}")
    return Unchanged(newest, f"no package has another version than in the build of {bases.age(age)} ago")


def _news(plan: Plan, image: Image, base: bases.Base | None, console: Console) -> list[str]:
    """Packages of *image* that a build would install in another version; see :mod:`factory.renewal.package_news`."""
    from factory.renewal import package_news

    recipe = plan.recipe
    if plan.base.kind != "scratch":
        steps = any(isinstance(step, PackagesStep) for step in recipe.provision)
        if recipe.upgrade == "none" and not steps and "packages" not in recipe.cloud_init:
            return []
        raise HostError("only the index of Debian's own archive is asked", code="host.cannot-tell")
    # A base that would be made anew brings the newest of its own packages too; so does one that was, since this image.
    of_base: set[str] = set()
    if base and base.sha256 == image.manifest.base.digest and (plan.base.pin or bases.fresh(plan.base, base.entry)):
        of_base = {str(each["name"]) for each in base.facts.get("packages", [])}
    return package_news.news(recipe, plan.base.suite, image.manifest.packages, of_base, console)


def find(plan: Plan, output: Path, boot_test: str, *, accept_stale: bool = False) -> Unchanged:
    """The newest tested build below *output* that a build of *plan* would only repeat.

    It has the same key and the same base, was tested at least as *boot_test* asks, no rule refused it, and what its
    steps fetched is not too old. A recipe with secrets is always built: their values are kept nowhere to compare.
    """
    recipe = plan.recipe
    if recipe.secret_names:
        return Unchanged(None, "the recipe has secrets, whose values are kept nowhere to compare")
    same = [each for each in images.builds(output, recipe.name) if each.manifest.key == plan.key]
    if not same:
        return Unchanged(None, "no build of this recipe with these files, variables and targets is there")
    base = bases.cached(plan.base)
    if base is None or not (plan.base.pin or accept_stale or bases.fresh(plan.base, base.entry)):
        return Unchanged(None, "the base is to be made anew")
    same = [each for each in same if each.manifest.base.digest == base.sha256]
    if not same:
        return Unchanged(None, "the base has changed since the last build")
    same = [each for each in same if _tested(each, boot_test) and _whole(each)]
    if not same:
        return Unchanged(None, "no earlier build is whole and was tested as this one is to be")
    if keeps(recipe) is not None:
        same = [each for each in same if not ahead(each.manifest.started)]
        if not same:
            return Unchanged(None, "the last build is dated in the future: this host's clock was wrong then, or is now")
    newest = same[-1]
    limit, age = keeps(recipe), time.time() - newest.manifest.started.timestamp()
    if limit is not None and age > limit:
        return Unchanged(None, f"what the last build fetched is {bases.age(age)} old")
    if past := _too_old(newest):
        return Unchanged(None, _told(past))
    return Unchanged(newest, f"unchanged since the build of {bases.age(age)} ago")


def _too_old(image: Image) -> list[str]:
    """The steps of *image* whose result is too old by now: it may be much older than the build, when layers had it."""
    now = datetime.now(UTC)
    return [stage.name for stage in image.manifest.stages if stage.expires is not None and stage.expires < now]


def _told(steps: list[str]) -> str:
    return f"what {steps[0]} fetched in the last build, or before it, is too old"


def _tested(image: Image, boot_test: str) -> bool:
    enough = {"none": ("none", "quick", "full"), "quick": ("quick", "full"), "full": ("full",)}
    return image.manifest.boot_test in enough[boot_test] and not image.manifest.findings.fail


def _whole(image: Image) -> bool:
    try:
        return (image.folder / image.manifest.image.file).stat().st_size == image.manifest.image.size
    except OSError:
        return False
