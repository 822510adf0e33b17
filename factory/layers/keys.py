"""The keys of layers: what the guest depends on at each point of a build, as digests.

A key is made of the key before it and of all that its own step uses, so it names the whole way from the base to that
point. The parts are kept apart too, for they tell why a key is another one than the last time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory import mirror
from factory.errors import RecipeError
from factory.recipe.digest import file_digest
from factory.recipe.steps import CopyStep, PackagesStep, ShellStep
from factory.renewal.unchanged import CLOUD_INIT_FETCHES, PACKAGES_KEEP

if TYPE_CHECKING:
    from factory.recipe import Recipe
    from factory.recipe.steps import Step

LAYER_FORMAT = 3
"""Raise it when an older layer may not be used any more."""

PROXY_LOGIN = "the guest is told this host's proxy with its password, so neither it nor what follows is kept"


@dataclass(frozen=True)
class LayerKey:
    """One point of a build: after the boot (*name* ``boot``), after the upgrade, after a step (``2/5 copy``).

    *keep* is how many seconds what was fetched counts as current (None: nothing was fetched); *barred* says why no
    layer may be kept from here on, and is empty when one may.
    """

    name: str
    key: str
    parts: Mapping[str, str]
    keep: float | None = None
    barred: str = ""


def layer_keys(recipe: Recipe, machine: Mapping[str, str]) -> tuple[LayerKey, ...]:
    """The points of a build of *recipe*, in order; *machine* is what the booted base depends on."""
    fetching = CLOUD_INIT_FETCHES & set(recipe.cloud_init)
    found = [_next(None, "boot", dict(machine), keep=PACKAGES_KEEP if fetching else None)]
    repositories = _repositories(recipe)
    if recipe.upgrade != "none":
        upgrade = {"its kind": recipe.upgrade} | repositories
        found.append(_next(found[-1], "upgrade", upgrade, keep=PACKAGES_KEEP, barred=_tells_a_password()))
    elif repositories:
        found.append(_next(found[-1], "repositories", repositories, barred=_tells_a_password()))
    total = len(recipe.provision)
    for number, step in enumerate(recipe.provision, 1):
        keep, barred = _limits(recipe, step)
        found.append(_next(found[-1], f"{number}/{total} {step.kind}", _parts(recipe, step), keep=keep, barred=barred))
    return tuple(found)


def step_number(keys: tuple[LayerKey, ...], name: str) -> int | None:
    """The index of the point that a user calls *name*: a step's number, or ``upgrade``; None when there is none."""
    for index, each in enumerate(keys[1:], 1):
        if name in (each.name, each.name.split("/")[0]):
            return index
    return None


def changed(now: LayerKey, before: Mapping[str, str]) -> list[str]:
    """Which parts of *now* are others than *before*."""
    names = [name for name in now.parts if before.get(name) != now.parts[name]]
    return [*names, *(f"{name}, which is gone" for name in before if name not in now.parts)]


def altered(recipe: Recipe, point: LayerKey) -> list[str]:
    """Which parts of *point* are others by now than when its key was made: only the recipe's files can be."""
    number = point.name.split("/")[0]
    try:
        if number.isdigit():
            parts = _parts(recipe, recipe.provision[int(number) - 1])
        else:
            parts = {} if point.name == "boot" else _repositories(recipe)
    except RecipeError:  # one is gone
        return [part for part in point.parts if part.startswith(("the file ", "the key "))]
    return [part for part, digest in _digests(parts).items() if point.parts.get(part) != digest]


def _next(
    before: LayerKey | None, name: str, parts: Mapping[str, str], *, keep: float | None = None, barred: str = ""
) -> LayerKey:
    digests = _digests(parts)
    kind = name.split(" ")[-1]  # its number is no part of what a step does
    key = _digest([LAYER_FORMAT, before.key if before else "", kind, digests])
    return LayerKey(name, key, digests, keep, barred or (before.barred if before else ""))


def _digests(parts: Mapping[str, str]) -> dict[str, str]:
    return {part: hashlib.sha256(value.encode()).hexdigest() for part, value in parts.items()}


def _repositories(recipe: Recipe) -> dict[str, str]:
    if not recipe.repositories:
        return {}
    keys = {
        f"the key {repository.key}": file_digest(recipe, repository.key)
        for repository in recipe.repositories
        if repository.key
    }
    # The name of the recipe is in the names of the sources that are written into the image.
    meaning = [recipe.name, [repository.model_dump(mode="json") for repository in recipe.repositories]]
    return {"the repositories": json.dumps(meaning)} | keys


def _tells_a_password() -> str:
    """Why no layer is kept once the guest's package manager is set up: its memory would hold the proxy's password."""
    return PROXY_LOGIN if mirror.proxy_logins() else ""


def _limits(recipe: Recipe, step: Step) -> tuple[float | None, str]:
    """For how long the result of *step* may be used, and why not at all."""
    sees = isinstance(step, ShellStep) or (isinstance(step, CopyStep) and step.template)
    if sees and recipe.secret_names:
        return None, "it sees a secret, so neither it nor what follows is kept"
    if isinstance(step, PackagesStep):
        return PACKAGES_KEEP, _tells_a_password()
    if isinstance(step, ShellStep):
        always = "it says 'refresh: always'" if step.refresh == 0 else ""
        return float(step.refresh) if step.refresh else None, always or _tells_a_password()
    return None, ""


def _parts(recipe: Recipe, step: Step) -> dict[str, str]:
    # How long a result may be used, and how long a step may take, change nothing in it.
    unimportant = {"refresh", "timeout"}
    meaning: Any = step.model_dump(mode="json")
    fields = meaning[step.kind]
    if isinstance(fields, dict):
        meaning = {step.kind: {name: value for name, value in fields.items() if name not in unimportant}}
    parts = {"its text": json.dumps(meaning, sort_keys=True)}
    source = step.source if isinstance(step, CopyStep) else step.script if isinstance(step, ShellStep) else None
    if source:
        parts[f"the file {source}"] = file_digest(recipe, source, step.line)
    if isinstance(step, ShellStep) or (isinstance(step, CopyStep) and step.template):
        parts |= {
            f"the variable {name}": value for name, value in recipe.values.items() if name not in recipe.secret_names
        }
    return parts


def _digest(meaning: object) -> str:
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
