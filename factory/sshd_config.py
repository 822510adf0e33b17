"""The words that sshd's configuration gives to a keyword, read from an image or, by a shell command, in a guest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from factory.leftovers import matching, text

if TYPE_CHECKING:
    from factory.inspection import Image

FILES = ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf", "/usr/etc/ssh/sshd_config")


def values(image: Image, keyword: str) -> list[str]:
    """Every word that follows *keyword* in any file, whether or not a later line or a Match block would have a say."""
    found: list[str] = []
    for path, _ in matching(image, *FILES):
        for line in (text(image, path) or "").splitlines():
            match = re.match(rf"\s*{keyword}(?:\s*=\s*|\s+)(.*)", line, re.IGNORECASE)
            if match:
                found += match[1].split("#")[0].replace('"', " ").split()
    return found


def shell(keyword: str) -> str:
    """A command that prints the same words in a guest, one a line."""
    letters = "".join(f"[{letter.upper()}{letter.lower()}]" for letter in keyword)
    return (
        f"""cat {" ".join(FILES)} 2>/dev/null | sed -n 's/^[[:space:]]*{letters}[[:space:]=][[:space:]=]*//p' | """
        """sed 's/#.*//' | tr -s '" \\t' '\\n' | grep ."""
    )
