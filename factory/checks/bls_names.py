"""Names of boot entries: none carries the machine id of the build, which sorts wrongly against those of an instance.

Entries by the Boot Loader Specification are named TOKEN-RELEASE.conf. The token of an image is ffff... (as in Red
Hat's own images), or what /etc/kernel/entry-token says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.leftovers import text

_FOLDERS = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")
_MACHINE = re.compile(r"[0-9a-f]{32}")
_NEUTRAL = "f" * 32


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    token = (text(image, "/etc/kernel/entry-token") or "").strip()
    fine = {_NEUTRAL, token}
    paths = [path for folder in _FOLDERS for path in image.glob(f"{folder}/*.conf")]
    folders = [path for top in ("/boot", "/boot/efi", "/efi") for path in image.glob(f"{top}/[0-9a-f]*")]
    for path in paths:
        match = _MACHINE.match(path.rpartition("/")[2])
        if match and match[0] not in fine:
            yield Problem(path, f"{path} is named after the machine {match[0]}")
    for path in folders:
        found = image.stat(path)
        name = path.rpartition("/")[2]
        if found and found.kind == "dir" and _MACHINE.fullmatch(name) and name not in fine:
            yield Problem(path, f"{path} is named after a machine")
    if not paths:
        raise NotApplicable("no boot entry by the Boot Loader Specification")
    yield Note(f"{len(paths)} entries, none of them named after a machine")
