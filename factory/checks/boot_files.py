"""Boot entries: there is one, and the kernel and initramfs that each loads are where its boot loader looks."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import boot_entries


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = looked.know(boot_entries.read)
    if not found.entries:
        read = f" in {', '.join(found.files)}" if found.files else ""
        yield Problem("image", f"no boot entry for Linux was found{read}")
        return
    told = set()
    for entry in found.entries:
        for file in (entry.kernel, *entry.initrds):
            if not file.there and (file.path, entry.default) not in told:
                told.add((file.path, entry.default))
                which = "the default entry" if entry.default else f"entry {entry.title or entry.id!r}"
                # Another entry may be chosen by hand; the default is what a cloud boots.
                yield Problem(file.path, f"{entry.path}:{entry.line}: {which} loads it, and it is not there",
                              warn=not entry.default)  # fmt: skip
    for missing in found.missing:
        if not missing.what.startswith("default entry"):
            where = f"{missing.path}:{missing.line}"
            yield Problem(missing.path, f"{where}: {missing.what}: not on this disk", warn=True)
    default = next((entry for entry in found.entries if entry.default), found.entries[0])
    yield Note(
        f"{len(found.entries)} boot entries; the default is {default.path}:{default.line}: {default.kernel.path}"
    )
