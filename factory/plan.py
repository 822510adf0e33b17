"""Recipe -> Plan: everything resolved, and nothing done yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from factory import __version__, own_sources, targets
from factory.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from factory.bases import Definition

FORMAT = 1  # raise it when the same recipe and base give another image


@dataclass(frozen=True)
class Plan:
    """What a build of *recipe* will do. *key* changes when the outcome would; *image* is the published file's name."""

    recipe: Recipe
    digest: str
    base: Definition
    targets: tuple[targets.Target, ...]
    key: str
    image: str


def make_plan(name: str, *, settings: Mapping[str, str] | None = None, target: Sequence[str] = ()) -> Plan:
    """Resolve the recipe *name*. Raises RecipeError or UsageError, with every fault at once."""
    from factory import bases

    recipe = load_recipe(name, settings=dict(settings or {}))
    base = bases.resolve(recipe.base, recipe.folder)
    chosen = tuple(targets.load(each) for each in dict.fromkeys(target or recipe.targets))
    digest = recipe.digest()
    # Without a target, the rules of generic are kept. What the settings move of a target is in no file of ours.
    asked = [each.model_dump(mode="json") for each in chosen or (targets.load("generic"),)]
    meaning = [FORMAT, __version__, own_sources.digest(), digest, base.key, base.pin, len(chosen), asked]
    key = hashlib.sha256(json.dumps(meaning).encode()).hexdigest()
    return Plan(recipe, digest, base, chosen, key, f"{recipe.name}-{recipe.version}.qcow2")


@dataclass(frozen=True)
class Row:
    """One thing that a build would do: *state* is for people; *cache* is ``hit``, ``miss`` or ``none``, and *why*.

    *key* names what its result depends on; *size* is what it takes in the cache, in bytes.
    """

    stage: str
    what: str
    state: str
    cache: str = "none"
    why: str = ""
    key: str = ""
    size: int = 0


def describe(plan: Plan, accelerator: str, output: Path, *, saves: bool = True) -> list[Row]:
    """What would run with *accelerator*, and whether it is cached and why. Nothing is changed.

    Below *output* are the earlier builds; *saves* is whether machines can be saved as layers.
    """
    from factory.renewal import unchanged

    found = unchanged.find(plan, output, "full")
    rows = _stages(plan, accelerator, saves)
    if found.image is None:
        return [Row("build", plan.image, f"runs: {found.why}", "miss", found.why, plan.key), *rows]
    state = f"nothing to do, {found.why} ({found.image.manifest.build_id})"
    there = Row("build", plan.image, state, "hit", found.why, plan.key)
    return [there, *(row if row.cache == "hit" else replace(row, state="not needed") for row in rows)]


def _stages(plan: Plan, accelerator: str, saves: bool) -> list[Row]:
    """What a build would go through that does not end at once."""
    from factory import bases

    recipe = plan.recipe
    have = bases.cached(plan.base)
    if have is None and plan.base.pin and plan.base.kind == "scratch":
        state, hit = "cannot be made again: it is pinned, and not in the cache", "miss"
    elif have is None:
        state, hit = "to be made: it is not in the cache", "miss"
    elif plan.base.pin or bases.fresh(plan.base, have.entry):
        state, hit = f"cached, {have.why}", "hit"
    else:
        state, hit = f"to be made again: {have.why}, older than its max_age", "miss"
    rows = [Row("base", f"{plan.base.name} ({plan.base.kind})", state, hit, state, size=have.size if have else 0)]
    rows += _points(plan, have.sha256 if have and hit == "hit" else "", accelerator, saves)
    rows += [
        Row("scrub", "all operations", "runs"),
        Row("image", plan.image, "made"),
        Row("boot test", "BIOS and UEFI", "runs"),
    ]
    rows += [Row(f"test {number}", f"{test.kind}: {test.title}", "runs") for number, test in enumerate(recipe.test, 1)]
    rows += [Row("target", each.title, "checked") for each in plan.targets]
    return rows


def _points(plan: Plan, base_sha256: str, accelerator: str, saves: bool) -> list[Row]:
    """The boot, the upgrade and the steps, each with what becomes of its layer."""
    from factory.layers import Policy
    from factory.layers.layering import survey

    recipe = plan.recipe
    whats = {"boot": f"{recipe.machine.cpus} CPUs, {recipe.machine.memory >> 20} MiB", "upgrade": recipe.upgrade}
    names = {"boot": "machine"}
    total = len(recipe.provision)
    for number, step in enumerate(recipe.provision, 1):
        names[f"{number}/{total} {step.kind}"] = f"step {number}"
        whats[f"{number}/{total} {step.kind}"] = f"{step.kind}: {step.title}"
    _, start = survey(recipe, base_sha256, accelerator, Policy(), saves=saves)
    return [
        Row(
            names.get(use.name, use.name),
            whats.get(use.name, ""),
            f"cached, {use.why}" if use.cache == "hit" else f"runs: {use.why}",
            use.cache,
            use.why,
            use.key,
            use.size,
        )
        for use in start.uses
    ]


def image_of(folder: Path) -> Path | None:
    """The image of a build's output folder."""
    return next(iter(sorted(folder.glob("*.qcow2"))), None)
