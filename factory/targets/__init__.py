"""Targets: what each cloud takes, as data: one YAML file a cloud, and in ``rules/`` the rules that all of them share.

A target's own ``rules`` change a shared one (severity, parameters, ...), turn it ``off``, or add one of its own.
"""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from factory.errors import UsageError
from factory.targets.model import Change, Limits, Rule, Target

__all__ = ["Change", "Rule", "Target", "load", "names", "rules"]

FOLDER = Path(__file__).parent
Model = TypeVar("Model", bound=BaseModel)


def names() -> list[str]:
    """The targets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Target:
    """The target *name*; raises UsageError when there is none."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        raise UsageError(
            f"there is no target {name!r}",
            cause=f"Did you mean {near[0]}?" if near else "",
            hint=f"Known are {', '.join(names())}",
            code="usage.target",
        )
    return _load(name)


def rules(target: Target) -> tuple[Rule, ...]:
    """Every rule of *target*, in the order of their ids. Raises UsageError for data that is no rule."""
    found = {rule.id: rule for rule in _shared()}
    path = FOLDER / f"{target.name}.yaml"
    for name, data in target.rules.items():
        shared = found.pop(name, None)
        if data == "off":
            if shared is None:
                raise _wrong(path, f"{name} is turned off, and there is no such rule")
        elif shared is None:
            found[name] = _checked(Rule, {"id": name, **data}, path)
        else:
            found[name] = _changed(shared, _checked(Change, data, path))
    return tuple(found[name] for name in sorted(found))


def _changed(rule: Rule, change: Change) -> Rule:
    new = change.model_dump(exclude_none=True)
    if "parameters" in new:
        new["parameters"] = rule.parameters | new["parameters"]
    return rule.model_copy(update=new)


@functools.cache
def _load(name: str) -> Target:
    from factory.yamlfile import load_plain

    path = FOLDER / f"{name}.yaml"
    target = _checked(Target, load_plain(path), path)
    if target.name != name:
        raise _wrong(path, f"its name is {target.name}")
    return target.model_copy(update={"limits": target.limits.model_copy(update=_limits(name))})


def _limits(name: str) -> dict[str, int]:
    """The limits of the target *name* that the setting FACTORY_TARGET_LIMITS moves: ``mgc.file_size=25GB,...``."""
    from factory import settings

    found: dict[str, int] = {}
    for part in filter(None, settings.value("FACTORY_TARGET_LIMITS").replace(" ", "").split(",")):
        place, _, text = part.partition("=")
        target, _, limit = place.partition(".")
        try:
            value = Limits.model_validate({limit: text})
        except ValidationError as error:
            raise UsageError(
                f"FACTORY_TARGET_LIMITS: {part!r} is no limit",
                cause=error.errors()[0]["msg"],
                hint="Write it as 'FACTORY_TARGET_LIMITS=mgc.file_size=25GB'",
                code="usage.setting",
            ) from None
        if target == name:
            found[limit] = getattr(value, limit)
    return found


@functools.cache
def _shared() -> tuple[Rule, ...]:
    from factory.yamlfile import load
    from factory.yamltree import plain

    found: dict[str, Rule] = {}
    for path in sorted(FOLDER.glob("rules/*.yaml")):
        for data in plain(load(path).root):
            rule = _checked(Rule, data, path)
            if rule.id in found:
                raise _wrong(path, f"{rule.id} is there twice")
            found[rule.id] = rule
    return tuple(found.values())


def _checked(model: type[Model], data: Any, path: Path) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        name = data.get("id", "") if isinstance(data, dict) else ""
        raise _wrong(path, f"{name} {'.'.join(map(str, first['loc']))}: {first['msg']}".strip()) from None


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(f"{path.name}: {what}", hint="Mend the file", code="usage.target-data")
