"""Text from outside made safe to show: no control characters, no escape sequences, no secrets.

What a guest, a server or a program prints is hostile: it may move the cursor, set the window title, reverse the
reading order or repeat a password it was given. Everything that reaches the terminal or ``build.log`` passes here.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import unicodedata
from urllib.parse import quote

LONGEST_LINE = 2000  # characters of one line that are kept
SHORTEST_SECRET = 4  # characters; hiding anything shorter would blank ordinary words
HIDDEN = "***"

# ECMA-48: CSI, then the string sequences (OSC, DCS, SOS, PM, APC) with their end, then two-character escapes.
# A string sequence without an end loses its introducer only, so that it cannot hide the rest of the line.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)


def clean(line: str) -> str:
    """One line without escape sequences, control, invisible and direction-changing characters.

    Of a progress line that is drawn over with carriage returns, the last state stays.
    A line longer than :data:`LONGEST_LINE` is cut and says so.
    """
    if not line.isprintable():
        line = _ESCAPE.sub("", line).expandtabs(8)
        line = next((part for part in reversed(re.split(r"[\r\n]", line)) if part.strip()), "")
        line = "".join(_shown(character) for character in line)
    if len(line) > LONGEST_LINE:
        line = f"{line[:LONGEST_LINE]}... ({len(line) - LONGEST_LINE} more characters)"
    return line.rstrip()


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    category = unicodedata.category(character)
    if category in ("Zs", "Zl", "Zp"):
        return " "
    return "" if category in ("Cc", "Cf") else "\N{REPLACEMENT CHARACTER}"


class Redactor:
    """Replaces secrets by ``***``, also where they are quoted for a URL, JSON or a shell, or are in base64."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> str:
        """Hide *secret* from now on. Returns why it cannot be hidden, or an empty text when it is.

        Of a secret with several lines (a private key) each line is hidden by itself, because text is shown by lines.
        """
        lines = [stripped for line in secret.splitlines() if (stripped := line.strip())]
        taken = [line for line in lines if len(line) >= SHORTEST_SECRET and not line.startswith("-----")]
        if not taken:
            return f"it is shorter than {SHORTEST_SECRET} characters" if secret else ""
        forms = {form for line in taken for form in _forms(line)}
        forms |= set(_forms(secret))
        # The longest first, else the rest of a secret that begins with another one would show.
        self._forms |= {form for form in forms if "\n" not in form and len(form) >= SHORTEST_SECRET}
        self._pattern = re.compile("|".join(re.escape(form) for form in sorted(self._forms, key=len, reverse=True)))
        return ""

    def __call__(self, text: str) -> str:
        """*text* without the secrets."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def _forms(secret: str) -> list[str]:
    encoded = base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode("ascii").rstrip("=")
    plain = [secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    shell = shlex.quote(secret)
    quoted = [shell[1:-1]] if shell != secret else []
    url = quote(secret, safe="", errors="replace")
    return [*plain, *quoted, url, encoded, *(clean(form) for form in plain)]
