"""Which disks LVM may look at: the filters of an lvm.conf, judged by names that disks have on other machines."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMENT = re.compile(r"^([^\"#\n]*)#.*$", re.MULTILINE)
_FILTER = re.compile(r"(?:^|(?<=[\s{]))((?:global_)?filter)\s*=\s*\[?", re.MULTILINE)
_WORD = re.compile(r"[\s,]*\"([^\"\n]*)\"")
_HARD = re.compile(r"[*+?{]")
MOST = 8  # of what repeats in one expression: a guest may have made it so that it takes for ever


@dataclass(frozen=True)
class Filter:
    """One setting: *accepted* holds, for each expression in order, whether it lets a disk in."""

    line: int
    name: str
    expressions: tuple[tuple[bool, str], ...]

    @property
    def shown(self) -> str:
        """The setting, for a finding."""
        words = ", ".join(f'"{"a" if accepts else "r"}|{form}|"' for accepts, form in self.expressions)
        return f"{self.name} = [ {words} ]"

    def accepts(self, disk: str) -> bool:
        """Whether LVM looks at *disk*, a path in /dev: the first expression that fits it decides.

        One that Python does not understand, or that may take long, is taken to fit if it lets disks in.
        """
        for accepts, form in self.expressions:
            try:
                hard = len(_HARD.findall(form)) > MOST or re.search(r"\)[*+?{]", form)
                fits = accepts if hard else re.search(form, disk) is not None
            except (re.error, RecursionError, OverflowError):
                fits = accepts
            if fits:
                return accepts
        return True


def filters(text: str) -> list[Filter]:
    """The filters that are set in an lvm.conf."""
    bare = _COMMENT.sub(r"\1", text)  # the numbers of the lines stay
    found = []
    for match in _FILTER.finditer(bare):
        forms, at = [], match.end()
        while word := _WORD.match(bare, at):
            at = word.end()
            if form := _form(word[1]):
                forms.append(form)
        found.append(Filter(bare.count("\n", 0, match.start(1)) + 1, match[1], tuple(forms)))
    return found


def _form(word: str) -> tuple[bool, str] | None:
    """``a|form|`` or ``r|form|``, with any character or a pair of brackets around the expression."""
    if len(word) < 3 or word[0] not in "ar":
        return None
    last = {"(": ")", "[": "]", "{": "}"}.get(word[1], word[1])
    return word[0] == "a", word[2:].rpartition(last)[0]
