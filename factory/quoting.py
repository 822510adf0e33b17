"""Words of a file in a message: quoted, shortened, and with everything escaped that a terminal would act on."""

from __future__ import annotations

import shlex


def quote(text: str, limit: int = 60) -> str:
    """*text* in quotes, shortened to *limit* characters, control characters escaped."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "'" + escape(short) + "'"


def quoted(word: str) -> str:
    """*word* as one word of a shell; as ``$'...'``, which bash reads, when it has what a terminal would act on."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + escape(word.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def escape(text: str) -> str:
    """*text* with control, invisible and direction-changing characters as ``\\x1b`` or ``\\u202e``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
