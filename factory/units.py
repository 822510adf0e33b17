"""Sizes (``4GiB``) and durations (``24h``) as people write them, to whole bytes and whole seconds and back.

Sizes are in binary units only: ``GB`` and ``G`` mean 10^9 to some and 2^30 to others, so they are refused.
Every function raises ValueError with a sentence for people.
"""

from __future__ import annotations

import re

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

_SIZES = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}\s*[smhdw]\s*)+|[0-9]{1,9}")
_PART = re.compile(r"([0-9]+)\s*([a-z]?)")


def parse_size(text: str) -> int:
    """Bytes in *text*: ``4GiB``, ``1.5 TiB``, ``512MiB``; a bare number is bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a size such as 4GiB")
    number, unit = match[1], match[2].lower()
    if unit not in _SIZES:
        letter = unit[:1]
        if letter in "kmgt" and unit in (letter, letter + "b", letter + "ib"):
            raise ValueError(f"must be in KiB, MiB, GiB or TiB: write {number}{letter.upper()}iB")
        raise ValueError("must be in KiB, MiB, GiB or TiB, such as 4GiB")
    whole, _, decimals = number.partition(".")
    parts: int = 10 ** len(decimals)
    size, rest = divmod(int(whole + decimals) * _SIZES[unit], parts)
    if rest:
        raise ValueError("must come to a whole number of bytes")
    return size


def format_size(size: int) -> str:
    """*size* in bytes, exactly, in the biggest unit that leaves a whole number: ``4GiB``, ``1536MiB``, ``1000B``."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def parse_duration(text: str) -> int:
    """Seconds in *text*: ``90s``, ``24h``, ``1h30m``, ``7d``; a bare number is seconds."""
    lowered = text.strip().lower()
    if not _DURATION.fullmatch(lowered):
        raise ValueError("must be a duration such as 90s, 30m, 24h or 7d")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(lowered))


def format_duration(seconds: int) -> str:
    """*seconds*, exactly: ``24h``, ``1h30m``, ``7d``, ``0s``."""
    if not seconds:
        return "0s"
    text = ""
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _SECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text
