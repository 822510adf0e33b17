"""Names of boot entries: none has a machine-id in it, which the machines made from the image do not have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import text

FOLDERS = ("/boot", "/boot/efi", "/efi")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    token = (text(image, "/etc/kernel/entry-token") or "").strip()
    allowed = {token, "f" * 32}
    for folder in FOLDERS:
        for path in image.glob(f"{folder}/loader/entries/*.conf"):
            name = re.match(r".*/([0-9a-f]{32})-", path)
            if name and name[1] not in allowed:
                yield Problem(path, f"{path}: entries of later kernels have another id, and sort beside it")
        for path in image.glob(f"{folder}/*"):
            name = re.fullmatch(r".*/([0-9a-f]{32})", path)
            if name and name[1] not in allowed:
                yield Problem(path, f"{path}: kernels are kept below an id that no machine will have")
