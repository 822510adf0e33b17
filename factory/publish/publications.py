"""The ledger of imports: what was asked of a cloud and not brought to its end, so that a later run takes it up.

One file an import, ``FACTORY_STATE/publications/<digest of api, name and sha256>.json``, written before the cloud is
asked for the first time. It holds no URL and no key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from factory import settings
from factory.files import make_folder, touching, write_whole

if TYPE_CHECKING:
    from factory.console import Console

State = Literal["asked", "importing", "active", "failed"]


@dataclass(frozen=True)
class Publication:
    """An import of the bytes *sha256* under *name* by *api*. *id* is the cloud's; empty while it has not told it.

    *state*: asked (the request may have arrived), importing, active or failed; *status* is the cloud's own last word.
    """

    target: str
    api: str
    name: str
    sha256: str
    state: State = "asked"
    id: str = ""
    status: str = ""
    fields: dict[str, Any] | None = None  # of the request, without the URL
    endpoint: str = ""
    bucket: str = ""
    key: str = ""
    folder: str = ""  # of the build on this host, whose manifest tells of it; empty for a bare image
    told: bool = False  # whether the store tells of it: what lies beside the image is up, and latest.json points to it
    began: str = ""
    changed: str = ""

    @property
    def unfinished(self) -> bool:
        """Whether the cloud may still be at it, or the store does not tell of it yet."""
        return self.state in ("asked", "importing") or (self.state == "active" and not self.told)

    @property
    def age(self) -> float:
        """Seconds since it changed last."""
        try:
            return abs((datetime.now(UTC) - datetime.fromisoformat(self.changed)).total_seconds())
        except (TypeError, ValueError):
            return float("inf")

    def write(self, **changes: Any) -> Publication:
        """Write it with *changes* and return that. Raises HostError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        changed = replace(self, **changes, began=self.began or now, changed=now)
        path = _path(changed.api, changed.name, changed.sha256)
        with touching(path.parent, "Making the folder of publications"):
            make_folder(settings.state_dir(), 0o711)
            make_folder(path.parent, 0o700)
        write_whole(path, (json.dumps(asdict(changed), indent=2) + "\n").encode(), mode=0o600)
        return changed


def find(api: str, name: str, sha256: str) -> Publication | None:
    """The publication of these bytes under this name, if there was one."""
    return _read(_path(api, name, sha256))


def by_id(image: str) -> Publication | None:
    """The publication that the cloud calls *image*, the newest of several."""
    found = [each for each in publications() if image and each.id == image]
    return max(found, key=lambda each: each.changed, default=None)


def of_bytes(sha256: str) -> Publication | None:
    """The publication of these bytes, the newest of several."""
    found = [each for each in publications() if each.sha256 == sha256]
    return max(found, key=lambda each: each.changed, default=None)


def under_way(seconds: float) -> set[Path]:
    """The folders of the builds whose import has not ended, of those that changed within so many *seconds*."""
    return {Path(each.folder) for each in publications() if each.folder and each.unfinished and each.age < seconds}


def told(image: str) -> None:
    """Note that the store tells of the image with this id. Raises HostError."""
    record = by_id(image)
    if record is not None and not record.told:
        record.write(told=True)


def publications() -> list[Publication]:
    """All that can be read, the oldest first."""
    found = [each for path in _folder().glob("*.json") if (each := _read(path)) is not None]
    return sorted(found, key=lambda each: (each.began, each.name))


@contextlib.contextmanager
def alone(api: str, name: str, console: Console) -> Iterator[None]:
    """Of several processes of this host only one at a time asks *api* for an image called *name*."""
    from factory.locking import lock

    digest = hashlib.sha256(f"{api}\n{name}".encode()).hexdigest()[:24]
    with lock(_folder() / f"{digest}.lock", what=f"the publication of {name}", console=console):
        yield


def _folder() -> Path:
    return settings.state_dir() / "publications"


def _path(api: str, name: str, sha256: str) -> Path:
    return _folder() / f"{hashlib.sha256(f'{api}{chr(10)}{name}{chr(10)}{sha256}'.encode()).hexdigest()[:24]}.json"


def _read(path: Path) -> Publication | None:
    try:
        return Publication(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
