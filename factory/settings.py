"""Settings: the environment, then ``config.toml`` in the platform's config folder, then the default.

The command line beats them all and is passed as arguments, so it never passes through here.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from factory.errors import UsageError
from factory.quoting import quote

DEFAULTS: dict[str, str] = {
    "FACTORY_ACCEL": "auto",
    "FACTORY_CONNECT": "qemu:///embed",
    "FACTORY_MIRROR": "",
    "FACTORY_CACHE": "",
    "FACTORY_STATE": "",
    "FACTORY_CACHE_LIMIT": "40GiB",
    "FACTORY_TARGET_LIMITS": "",
    "FACTORY_CA_BUNDLE": "",
    "FACTORY_S3_ENDPOINT": "",
    "FACTORY_S3_REGION": "",
    "FACTORY_S3_BUCKET": "",
    "FACTORY_S3_CA_BUNDLE": "",
    "FACTORY_S3_PREFIX": "",
    "FACTORY_S3_ADDRESSING": "",
    "FACTORY_S3_STORAGE_CLASS": "",
    "FACTORY_S3_CHECKSUMS": "when_required",
    "FACTORY_MGC_API_URL": "",
}


PURPOSES: dict[str, str] = {
    "FACTORY_ACCEL": "what runs the guests",
    "FACTORY_CONNECT": "the libvirt that runs them",
    "FACTORY_MIRROR": "the Debian archive, in place of the one that this host uses",
    "FACTORY_CACHE": "where bases and layers lie, in place of the usual folder",
    "FACTORY_STATE": "where running builds work, in place of the usual folder",
    "FACTORY_CACHE_LIMIT": "how large the cache may grow",
    "FACTORY_TARGET_LIMITS": "limits of a cloud that have moved",
    "FACTORY_CA_BUNDLE": "certificates to trust, in place of those of this host",
    "FACTORY_S3_ENDPOINT": "to publish: the object storage, when the target has none of its own",
    "FACTORY_S3_REGION": "to publish: its region, when it is not the usual one of the target",
    "FACTORY_S3_BUCKET": "to publish: the bucket that images go to",
    "FACTORY_S3_CA_BUNDLE": "to publish: certificates of a store with an authority of its own",
    "FACTORY_S3_PREFIX": "to publish: folders before each key",
    "FACTORY_S3_ADDRESSING": "to publish: whether the bucket stands in the path or in the host",
    "FACTORY_S3_STORAGE_CLASS": "to publish: the storage class of the image",
    "FACTORY_S3_CHECKSUMS": "to publish: checksums that only some stores understand",
    "FACTORY_MGC_API_URL": "to publish: another API than that of Magalu Cloud itself",
}
"""What each setting is for, for people who have not set it."""


@dataclass(frozen=True)
class Setting:
    """A setting's value and where it came from: ``environment``, the path of config.toml, or ``default``."""

    name: str
    value: str
    origin: str


def setting(name: str) -> Setting:
    """The setting *name* (such as ``FACTORY_MIRROR``; ``mirror`` in config.toml)."""
    value = os.environ.get(name, "")
    if value:
        return Setting(name, value, "environment")
    path = config_file()
    configured = _read(path).get(name.removeprefix("FACTORY_").lower())
    if configured is not None:
        return Setting(name, str(configured), str(path))
    return Setting(name, DEFAULTS[name], "default")


def value(name: str) -> str:
    """The value of the setting *name*; empty when it is not set and has no default."""
    return setting(name).value


def config_file() -> Path:
    """Where config.toml would be."""
    import platformdirs

    try:
        return Path(platformdirs.user_config_dir("image-factory")) / "config.toml"
    except RuntimeError:  # no home folder, as in a container with a user of no name
        return Path("/nonexistent/image-factory/config.toml")


def cache_dir() -> Path:
    """Bases and layers: ``FACTORY_CACHE``, else the platform's cache folder (root: /var/cache/image-factory)."""
    return _folder("FACTORY_CACHE", "/var/cache/image-factory", "user_cache_dir")


def state_dir() -> Path:
    """Ledger and working files: ``FACTORY_STATE``, else the platform's state folder (root: /var/lib/image-factory)."""
    return _folder("FACTORY_STATE", "/var/lib/image-factory", "user_state_dir")


def _folder(name: str, for_root: str, for_user: str) -> Path:
    chosen = value(name)
    if chosen:
        return expanded(chosen).absolute()
    if os.geteuid() == 0:
        return Path(for_root)
    import platformdirs

    try:
        return Path(getattr(platformdirs, for_user)("image-factory"))
    except RuntimeError:
        raise UsageError(
            f"there is no place for what {name} is: this user has no home folder",
            cause=f"HOME is not set, and the user {os.geteuid()} is not in /etc/passwd",
            hint=f"Set HOME, or {name} to a folder that this user may write to",
            code="usage.no-home",
        ) from None


def expanded(path: str) -> Path:
    """*path* with a ``~`` at its start replaced by the home folder; as it is when that is not known."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - the one of Path raises


@cache
def _read(path: Path) -> dict[str, object]:
    try:
        read = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint="Mend or remove the file", code="usage.config"
        ) from error
    known = [name.removeprefix("FACTORY_").lower() for name in DEFAULTS]
    if unknown := sorted(read.keys() - set(known)):
        import difflib

        near = difflib.get_close_matches(unknown[0].lower().removeprefix("factory_"), known, n=1)
        raise UsageError(
            f"{path} has no setting {quote(unknown[0])}",
            hint=(f"Did you mean {near[0]}? " if near else "") + f"The settings are {', '.join(known)}",
            code="usage.config",
        )
    return read
