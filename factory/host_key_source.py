"""What makes SSH host keys when a machine boots for the first time, told from its image.

Either cloud-init's ssh module does, for every new instance, or an enabled systemd unit that runs ssh-keygen. Debian and
Ubuntu have no such unit; on Fedora and its kin the unit yields to an enabled cloud-init; SUSE's sshd runs one itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from factory.leftovers import text
from factory.reading import cloud_init, systemd

if TYPE_CHECKING:
    from factory.inspection import Image

_SSHD = ("/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd")
_STANDARD = re.compile(r"/etc/ssh/ssh_host_([a-z0-9]+)_key")
_TYPES = ("rsa", "ecdsa", "ed25519")  # what cloud-init makes unless told otherwise, and so does ssh-keygen -A
_UNITS = "/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"
_EXEC = ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecCondition")
_KEYGEN = re.compile(r"ssh-keygen\s+-A|sshd-keygen|sshd-gen-keys-start|dpkg-reconfigure.*openssh-server")
_YIELDS = "cloud-init.target"
_GENERATORS = (
    "/usr/lib/systemd/system-generators/cloud-init-generator",
    "/lib/systemd/system-generators/cloud-init-generator",
)


def missing(image: Image, named: Sequence[str] = ()) -> list[str]:
    """Why nothing makes host keys; empty when something does, or when there is no sshd.

    *named* are the files that sshd_config names as host keys: at least one must be among those that are made.
    """
    if not any(image.exists(path) for path in _SSHD):
        return []
    standard = [match[1] for path in named if (match := _STANDARD.fullmatch(path))]
    if named and not standard:
        return [f"sshd_config names only {', '.join(named)}, and nothing makes that"]
    enabled = cloud_init_disabled(image) == ""
    if any(_runs(image, enabled)) or _openrc(image):
        return []
    reasons = _cloud_init(image, standard or _TYPES)
    return ["no enabled unit runs ssh-keygen", *reasons] if reasons else []


def cloud_init_disabled(image: Image) -> str:
    """Why cloud-init does not run at boot; empty when it does."""
    if not image.exists("/usr/bin/cloud-init"):
        return "cloud-init is not installed"
    if image.exists("/etc/cloud/cloud-init.disabled"):
        return "/etc/cloud/cloud-init.disabled switches cloud-init off"
    for unit in ("cloud-init.target", "cloud-init.service", "cloud-init-network.service", "cloud-init-local.service"):
        found = image.stat(f"/etc/systemd/system/{unit}")
        if found and found.kind == "symlink" and image.readlink(f"/etc/systemd/system/{unit}") == "/dev/null":
            return f"{unit} is masked"
    stages = ("cloud-init.service", "cloud-init-network.service", "cloud-init-main.service")
    units = systemd.read(image)
    if units.present and any(map(units.started, stages)):
        return ""
    places = [f"{folder}/cloud-init.target.wants" for folder in _UNITS]
    if any(image.exists(f"{place}/{unit}") for place in places for unit in stages):
        return "" if any(map(image.exists, _GENERATORS)) else "cloud-init has no generator that would start it"
    if image.glob("/etc/runlevels/*/cloud-init*"):
        return ""
    return "no unit of cloud-init is enabled"


def _cloud_init(image: Image, types: Sequence[str]) -> list[str]:
    """Why cloud-init makes no host keys of *types*; empty when it does."""
    if reason := cloud_init_disabled(image):
        return [reason]
    settings, faults = cloud_init.merged(image)
    reasons = []
    if "ssh" not in cloud_init.modules(settings, "cloud_init_modules"):
        reasons.append("cloud_init_modules of cloud-init lacks ssh")
    made = settings.get("ssh_genkeytypes", list(_TYPES))
    if not isinstance(made, list) or not set(types) & set(map(str, made)):
        reasons.append(f"ssh_genkeytypes of cloud-init has none of {', '.join(types)}")
    if settings.get("ssh_keys"):
        reasons.append("ssh_keys of cloud-init gives every machine the same host keys")
    if cloud_init.true(settings, "manual_cache_clean"):
        reasons.append("manual_cache_clean keeps cloud-init from knowing a new instance")
    return [*reasons, *faults] if reasons else []  # cloud-init leaves a broken file out and takes the others


def _runs(image: Image, yields: bool) -> Iterator[str]:
    """The units that run ssh-keygen at boot; *yields*: cloud-init is enabled."""
    units = systemd.read(image)
    for name in units.enabled() if units.present else ():
        unit = units.unit(name)
        if unit is None or not any(_KEYGEN.search(each.value) for key in _EXEC for each in unit.get("Service", key)):
            continue
        conditions = [each.value for each in unit.get("Unit", "ConditionPathExists")]
        if yields and any(value.startswith("!") and value.endswith(_YIELDS) for value in conditions):
            continue
        yield name


def _openrc(image: Image) -> bool:
    """Whether OpenRC's init script makes them, which a setting of it can forbid."""
    if "ssh-keygen -A" not in (text(image, "/etc/init.d/sshd") or ""):
        return False
    settings = text(image, "/etc/conf.d/sshd") or ""
    return not re.search(r"^\s*sshd_disable_keygen=[\"']?(yes|true|on|1)\b", settings, re.MULTILINE | re.IGNORECASE)
