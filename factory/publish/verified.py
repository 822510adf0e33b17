"""What was verified in a store, noted on this host, so that an object whose ETag says nothing is read back only once.

One file an object, ``FACTORY_STATE/verified/<digest of its address>.json``. It holds no URL and no key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from factory import settings
from factory.errors import FactoryError
from factory.files import make_folder, touching, write_whole


def note(address: str, etag: str, sha256: str) -> None:
    """Note that the object at *address*, which has the ETag *etag* now, has these bytes. Never raises FactoryError."""
    path = _path(address)
    with contextlib.suppress(FactoryError), touching(path.parent, "Making the folder of what was verified"):
        make_folder(settings.state_dir(), 0o711)
        make_folder(path.parent, 0o700)
        write_whole(path, json.dumps({"address": address, "etag": etag, "sha256": sha256}).encode(), mode=0o600)


def noted(address: str, etag: str, sha256: str) -> bool:
    """Whether the object at *address* was verified to have these bytes, and is still the same one by its ETag."""
    try:
        known = json.loads(_path(address).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(etag) and known == {"address": address, "etag": etag, "sha256": sha256}


def _path(address: str) -> Path:
    return settings.state_dir() / "verified" / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.json"
