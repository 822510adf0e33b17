"""Files that only the machine of the build could have made: each has content and a path that a pattern names.

Parameters: ``files`` and ``homes`` (below every home) map glob patterns to what the file is; ``empty`` lists those of
which an empty file counts, ``warn`` those of which a file is only a warning. ``lines`` is a list: each line that the
expression ``matches`` fits, in its ``files`` and ``homes`` and in files named as in ``anywhere`` (in the image's own
folders) and not as in ``samples``, is a problem, named by the group that fits and mended by ``fix``. Lines are told by
number and length only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import blank, matching, size
from factory.reading import homes, own_files

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.inspection.answers import FileStat

LIMIT = 4 << 20  # bytes of a file whose lines are looked at
LINE = 4096  # characters of a line: no expression may take long over one that is made for it


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    yield from problems(looked, rule)


def problems(looked: Looked, rule: Rule) -> Iterator[Problem]:
    """What the parameters describe, each path once."""
    image, given = looked.image, rule.parameters
    empty, warned = given.get("empty", []), given.get("warn", [])
    seen: set[str] = set()
    in_homes = given.get("homes") or any("homes" in lines for lines in given.get("lines", []))
    known = looked.know(homes.read) if in_homes else homes.Homes({})
    wanted = [(key, key, value) for key, value in given.get("files", {}).items()]
    for key, value in given.get("homes", {}).items():
        wanted += [(key, pattern, value) for pattern in known.below([key])]
    for key, pattern, value in wanted:
        for path, found in matching(image, pattern):
            if path not in seen and _counts(image, path, found, key in empty):
                seen.add(path)
                yield Problem(path, f"{path}: {value}, {size(found)}", warn=key in warned)
    for lines in given.get("lines", []):
        patterns = list(lines.get("files", []))
        patterns += known.below(lines.get("homes", []))
        paths = [path for pattern in patterns for path, _ in matching(image, pattern)]
        samples = re.compile("|".join(map(translate, lines.get("samples", []))) or r"(?!)")
        for name in lines.get("anywhere", []):
            wanted_name = re.compile(translate(name))
            names = [(path, path.rpartition("/")[2]) for path, _ in looked.know(own_files.read)]
            paths += [path for path, own in names if wanted_name.match(own) and not samples.match(own)]
        for path in dict.fromkeys(paths):
            yield from _lines(image, path, lines)


def _lines(image: Image, path: str, lines: dict[str, Any]) -> Iterator[Problem]:
    wanted = re.compile(lines["matches"], re.IGNORECASE)
    target = image.stat(path, follow=True)
    if target is None or target.kind != "file":
        return
    content = image.read(path, limit=LIMIT).decode("utf-8", "replace").replace("\0", "\n")  # as databases end words
    for number, line in enumerate(content.splitlines(), 1):
        if match := wanted.search(line, 0, LINE):
            what = next((name for name, value in match.groupdict().items() if value), "setting").replace("_", " ")
            told = f"{path}:{number}: a {what} in a line of {len(line)} characters"
            yield Problem(path, told, fix=lines.get("fix") or without_line(path, number))


def _counts(image: Image, path: str, found: FileStat, empty: bool) -> bool:
    """Whether a file says anything: a symbolic link counts by what it points to, and not when that is not there.

    A table of nothing but zero bytes, as of logins that never were, says nothing.
    """
    target = image.stat(path, follow=True) if found.kind == "symlink" else found
    if target is None or target.kind != "file" or not target.size:
        return target is not None and target.kind == "file" and empty
    return target.size > LIMIT or not blank(image, path)
