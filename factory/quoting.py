"""Words of a file in a message: quoted, shortened, and with everything escaped that a terminal would act on."""

from __future__ import annotations

import os
import shlex


def quote(text: str, limit: int = 60) -> str:
    """*text* in quotes, shortened to *limit* characters, control characters escaped."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "'" + escape(short) + "'"


def quoted(word: str) -> str:
    """*word* as one word of a shell; as ``$'...'``, which bash reads, when it has what a terminal would act on.

    What cannot be shown stands there byte by byte: a name of the guest need not be UTF-8.
    """
    if word.isprintable():
        return shlex.quote(word)
    word = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(c if c.isprintable() else _in_bytes(c) for c in word) + "'"


def _in_bytes(character: str) -> str:
    try:
        data = os.fsencode(character)
    except UnicodeEncodeError:  # half of a pair, which is in no name that Python has read
        data = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in data)


def escape(text: str) -> str:
    """*text* with control, invisible and direction-changing characters as ``\\x1b`` or ``\\u202e``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
