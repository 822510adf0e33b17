"""The settings and credentials that are set, where they come from, and what the others are for."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
from collections.abc import Iterator
from types import ModuleType

from factory import http, settings, targets
from factory.doctor.row import Check
from factory.errors import UsageError
from factory.publish import store_settings, transport
from factory.quoting import escape

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "to publish: the key of the object storage; a profile of AWS does too",
    "AWS_SECRET_ACCESS_KEY": "to publish: its other half",
    "AWS_PROFILE": "to publish: the profile of AWS that has the key",
    "MGC_OBJ_KEY_ID": "to publish to Magalu Cloud: the key of its object storage",
    "MGC_OBJ_KEY_SECRET": "to publish to Magalu Cloud: its other half",
    "MGC_API_KEY": "to publish to Magalu Cloud: the key of its API; a profile of mgc does too",
}
"""Variables of the environment. What they hold is never shown."""


def examine() -> Iterator[Check]:
    """A row for each setting and credential, set or not."""
    supplied = _supplied()
    for name in settings.DEFAULTS:
        found = settings.setting(name)
        if found.origin == "default" and name in supplied:
            yield _row(name, supplied[name])
        elif found.value:
            # An address may hold a password by mistake.
            text = " ".join(http.shown(word) if word.startswith("http") else word for word in found.value.split())
            yield _row(name, f"{text} ({'the default' if found.origin == 'default' else f'from {found.origin}'})")
        else:
            yield _row(name, f"not set ({settings.PURPOSES[name]})")
    for name in sorted(os.environ.keys() - settings.DEFAULTS.keys()):
        if name.startswith("FACTORY_"):
            near = difflib.get_close_matches(name, settings.DEFAULTS, n=1)
            fix = f"Did you mean {near[0]}?" if near else "README.md lists the settings"
            yield Check("warn", escape(name), "set (from environment), but no setting has this name", fix, "setting")
    for name, purpose in CREDENTIALS.items():
        yield _row(name, "set (from environment)" if os.environ.get(name) else f"not set ({purpose})")


def publishing() -> list[str]:
    """What is set that only publishing needs: somebody means to publish."""
    names = [name for name in settings.DEFAULTS if name.startswith(("FACTORY_S3_", "FACTORY_MGC_"))]
    chosen = [name for name in names if settings.setting(name).origin != "default"]
    return chosen + [name for name in CREDENTIALS if name.startswith("MGC_") and os.environ.get(name)]


def target() -> transport.Transport | None:
    """The target that the credentials of this host are for: of its store, else of its cloud; None: nothing tells."""
    ways = [transport.load(name) for name in targets.names()]
    for way in ways:
        if way.key_id_variable and os.environ.get(way.key_id_variable):
            return way
    return next((way for way in ways if (look := getattr(importer(way.importer), "set_up", None)) and look()), None)


def importer(name: str) -> ModuleType | None:
    """The importer called *name*; None when there is none."""
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.import_module(f"factory.publish.{name}")
    return None


def _supplied() -> dict[str, str]:
    """What targets supply for settings that are not set, each with its target; by the name of the setting."""
    found: dict[str, list[str]] = {}
    for name in targets.names():
        way = transport.load(name)
        more = getattr(importer(way.importer), "supplied", dict)
        try:
            values: dict[str, str] = store_settings.supplied(way) | more()
        except UsageError:  # what is set is for another target
            continue
        for each, value in values.items():
            found.setdefault(each, []).append(f"{value} (from target {name})")
    return {each: ", ".join(values) for each, values in found.items()}


def _row(name: str, found: str) -> Check:
    return Check("ok", name, found, about="setting")
