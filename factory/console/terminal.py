"""What is behind a stream: whether it can draw, how wide it is, and which characters it knows."""

from __future__ import annotations

import os

from factory.console.plain import SafeStream


def draws(stream: SafeStream) -> bool:
    """Whether a terminal that can move its cursor is behind *stream*."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def columns(stream: SafeStream) -> int:
    """How many columns tables and charts may take there."""
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80
    return max(width - 1, 10) if width else 80  # some terminals of CI do not know how wide they are


def width_of_output() -> int | None:
    """How many columns standard output has; None when it is no terminal, or one that does not know."""
    try:
        return os.get_terminal_size(1).columns or None
    except OSError:
        return None


def ascii_only(stream: SafeStream) -> bool:
    """Whether the locale is without UTF-8. Python itself turns to UTF-8 in the C locale; the terminal does not."""
    names = ["LC_ALL", "LC_CTYPE", "LANG"]
    if os.environ.get("LC_CTYPE") == "C.UTF-8" and not os.environ.get("LC_ALL"):
        names = ["LANG"]  # Python's own coercion of the C locale (PEP 538), or the same as LANG
    locale = next((value for name in names if (value := os.environ.get(name))), "C")
    return "utf" not in locale.lower() or "utf" not in stream.encoding.lower()
