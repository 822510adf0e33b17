"""Whether a service that systemd is to start can start: what it runs and what it requires must be there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from factory.reading.systemd import Systemd
from factory.reading.unit_file import Unit

if TYPE_CHECKING:
    from factory.inspection import Image

FAILS = " fails: "
"""Between a unit's name and the reason, in what :func:`why_not` says."""
_NOT_IN_IMAGES = ("/run/", "/proc/", "/sys/", "/dev/", "/var/run/")


def why_not(image: Image, units: Systemd, unit: Unit) -> str:
    """Why *unit*, a service, fails although it is started, as far as an image tells; "" when nothing speaks against it.

    What a unit requires counts only as services and sockets, which no generator makes under names that others require.
    """
    said = unit.name + FAILS
    if not unit.get("Service", "ExecStart") and unit.last("Service", "Type") != "oneshot":
        return f"{said}{unit.path} has no ExecStart="
    for key in ("ExecCondition", "ExecStartPre", "ExecStart"):
        for setting in unit.get("Service", key):
            bare = setting.value.lstrip("@-:+!|")
            program = _first(bare)
            optional = "-" in setting.value[: len(setting.value) - len(bare)]
            if not optional and _missing(image, program):
                return f"{said}{setting.path}:{setting.line}: {key}={setting.value} ({program} is not there)"
    for setting in unit.get("Service", "EnvironmentFile"):
        if not setting.value.startswith("-") and not set(setting.value) & set("*?[") and _missing(image, setting.value):
            return f"{said}{setting.path}:{setting.line}: EnvironmentFile={setting.value} (is not there)"
    for key in ("Requires", "BindsTo", "Requisite"):
        for setting in unit.get("Unit", key):
            for name in setting.value.split():
                if "%" in name or not name.endswith((".service", ".socket")):
                    continue
                why = units.why_not(name)
                if units.masked(name) or why.startswith("there is no "):
                    return f"{said}{setting.path}:{setting.line}: {key}={setting.value} ({why})"
    return ""


def _missing(image: Image, path: str) -> bool:
    """Whether a file that must be in the image is not; what only a machine knows is not missing."""
    certain = path.startswith("/") and not path.startswith(_NOT_IN_IMAGES) and not set(path) & set("$%")
    return certain and not image.exists(path)


def _first(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return words[0] if words else ""
