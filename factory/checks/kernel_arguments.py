"""Kernel command line: no entry has arguments of an installer, of a repair, of a fixed network or of another cloud.

*forbidden* are regular expressions for a whole argument, *unwanted* those that only deserve a warning. Entries for
repairs may ask for a single user and a plain screen, as Ubuntu's do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_words
from factory.checks.console import is_rescue
from factory.reading import boot_entries, grub_defaults

_REPAIR = re.compile(
    r"single|[1sS]|-s|emergency|recovery|rescue|nomodeset|rd\.break.*|systemd\.unit=(?:rescue|emergency)\.target"
)
_DEFAULTS = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT", "cmdline")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    levels = [(re.compile("|".join(rule.parameters.get(name, ())) or r"(?!)"), name == "unwanted")
              for name in ("forbidden", "unwanted")]  # fmt: skip
    entries = looked.know(boot_entries.read).entries
    lines = [(entry.path, entry.line, entry.options, is_rescue(entry)) for entry in entries]
    settings = grub_defaults.read(looked.image)
    lines += [(s.path, s.line, s.options, False) for name, s in settings.items() if name in _DEFAULTS]
    for path, line, options, rescue in lines:
        for option in options:
            if rescue and _REPAIR.fullmatch(option):
                continue
            for expression, warn in levels:
                if expression.fullmatch(option):
                    yield Problem(path, f"{path}:{line}: {option}", warn, without_words(option))
    yield Note(f"{len(entries)} boot entries have none of them")
