"""Variables in copied files: ``@name@``, for files whose step says ``template: true``.

A name is lower-case letters, digits and ``_``. There is one pass, no expressions and no escape: a value is put in as it
is, and an ``@word@`` that is no declared variable is a fault. To keep one as it is, declare a variable for the ``@``
(``variables: {at: {default: "@"}}``) and write ``@at@word@at@``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_PLACE = re.compile("@([a-z][a-z0-9_]*)@")


def places(text: str) -> Iterator[tuple[str, int]]:
    """Each name that stands between two ``@`` in *text*, with its line (1 is the first)."""
    line, end = 1, 0
    for match in _PLACE.finditer(text):
        line += text.count("\n", end, match.start())
        end = match.start()
        yield match[1], line


def fill(text: str, values: Mapping[str, str]) -> str:
    """*text* with every ``@name@`` replaced by its value. KeyError for a name without a value."""
    return _PLACE.sub(lambda match: values[match[1]], text)
