"""No way to boot gives the kernel certain words, such as one that overrules cloud-init's choice of a datasource.

Parameter ``words``: patterns of words (``ds=*``) that no boot entry may have.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, without_words
from factory.quoting import quoted
from factory.reading import boot_entries, next_command_line


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    entries = looked.know(boot_entries.read).entries
    if not entries:
        raise NotApplicable("no boot entry was found")
    patterns = tuple(rule.parameters["words"])
    told = set()
    for entry in entries:
        found = [word for word in entry.options if any(fnmatchcase(word, pattern) for pattern in patterns)]
        if found and entry.evidence not in told:
            told.add(entry.evidence)
            shown = f"{entry.path}:{entry.line}: {' '.join(found)}"
            yield Problem(entry.path, shown, fix=without_words(" ".join(found)))
    for path, place, words in looked.know(next_command_line.read):
        if found := [word for word in words if any(fnmatchcase(word, pattern) for pattern in patterns)]:
            shown = f"{place} (for the boot entries that are made next)"
            yield Problem(path, shown, warn=True, fix=f"Take {' '.join(found)} out of {quoted(path)}")
    yield Note(f"{len(entries)} boot entries have none of {' '.join(patterns)}")
