"""Recipe -> Plan: everything resolved, and nothing done yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factory import __version__, targets
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
    chosen = tuple(targets.load(each) for each in target or recipe.targets)
    digest = recipe.digest()
    meaning = [FORMAT, __version__, digest, base.key, base.pin, [each.name for each in chosen]]
    key = hashlib.sha256(json.dumps(meaning).encode()).hexdigest()
    return Plan(recipe, digest, base, chosen, key, f"{recipe.name}-{recipe.version}.qcow2")


def describe(plan: Plan) -> list[tuple[str, str, str]]:
    """What would run, as rows of stage, what, and whether it is cached and why."""
    from factory import bases

    recipe = plan.recipe
    have = bases.cached(plan.base)
    if have is None:
        state = "to be made: it is not in the cache"
    elif plan.base.pin or bases.fresh(plan.base, have.entry):
        state = f"cached, {have.why}"
    else:
        state = f"to be made again: {have.why}, older than its max_age"
    rows = [("base", f"{plan.base.name} ({plan.base.kind})", state)]
    rows.append(("machine", f"{recipe.machine.cpus} CPUs, {recipe.machine.memory >> 20} MiB", "runs"))
    if recipe.upgrade != "none":
        rows.append(("upgrade", recipe.upgrade, "runs"))
    rows += [
        (f"step {number}", f"{step.kind}: {step.title}", "runs") for number, step in enumerate(recipe.provision, 1)
    ]
    rows += [("scrub", "all operations", "runs"), ("image", plan.image, "made"), ("boot test", "BIOS and UEFI", "runs")]
    rows += [(f"test {number}", f"{test.kind}: {test.title}", "runs") for number, test in enumerate(recipe.test, 1)]
    rows += [("target", each.title, "checked") for each in plan.targets]
    return rows


def image_of(folder: Path) -> Path | None:
    """The image of a build's output folder."""
    return next(iter(sorted(folder.glob("*.qcow2"))), None)
