"""SSH: sshd is installed and starts at boot, as a service or by a socket, whatever the default boot entry says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_words
from factory.reading import boot_entries, openrc, sshd, systemd

_KEEPS_OFF = re.compile(
    r"single|s|S|1|rescue|emergency|systemd\.unit=(?!(multi-user|graphical|default)\.target$).+|rd\.break(=.*)?|"
    r"systemd\.mask=sshd?(\.service)?|init=(?!(/sbin/init|/usr/sbin/init|/(usr/)?lib/systemd/systemd)$).+"
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = looked.know(sshd.read)
    if not found.starts:
        yield Problem("sshd", found.why_not, fix=None if looked.know(systemd.read).present else _of_openrc(looked))
        return
    for entry in looked.know(boot_entries.read).entries:
        words = [word for word in entry.options if _KEEPS_OFF.fullmatch(word)]
        if words and entry.default:
            told = f"{entry.path}:{entry.line}: {' '.join(words)} keeps it from starting"
            yield Problem(entry.path, told, fix=without_words(" ".join(words)))
    yield Note(f"{found.starts} starts it")


def _of_openrc(looked: Looked) -> str | None:
    """What starts it under OpenRC; None where there is none."""
    if not looked.know(openrc.read).present:
        return None
    return ("" if looked.know(sshd.read).installed else "apk add openssh && ") + "rc-update add sshd default"
