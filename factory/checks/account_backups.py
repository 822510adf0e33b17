"""Backups of the account databases: none keeps a password, or an account that has been deleted.

One without either harms nobody. Parameter ``files``: patterns of their paths.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import matching, size
from factory.reading import accounts


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    known = looked.know(accounts.read)
    names = known.names | {group.name for group in known.groups}
    seen = set()
    for pattern in rule.parameters.get("files", []):
        for path, found in matching(image, pattern):
            if path in seen or found.kind != "file" or not found.size:
                continue
            seen.add(path)
            lines = [(place, fields) for place, fields in accounts.lines(image, path, 2)]
            kept = [place for place, fields in lines if accounts.kind(fields[1]) in ("usable", "kept")]
            gone = [f"{place}: {fields[0]}" for place, fields in lines if fields[0] not in names]
            if kept:
                yield Problem(path, f"{kept[0]}: a password is kept ({len(kept)} in all)")
            elif gone:
                yield Problem(path, f"{gone[0]} is no account any more ({len(gone)} in all)")
            else:
                yield Note(f"{path}: {size(found)}, without a password or a deleted account")
