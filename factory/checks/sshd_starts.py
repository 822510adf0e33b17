"""SSH: sshd is installed and starts at boot, as a service or by a socket, whatever the default boot entry says.

It starts only with a configuration in which it knows every word, and with the account for its part without rights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_words
from factory.leftovers import matching, text
from factory.reading import accounts, boot_entries, openrc, sshd, sshd_words, systemd, unit_start
from factory.reading.sshd import Sshd

_KEEPS_OFF = re.compile(
    r"single|s|S|1|rescue|emergency|systemd\.unit=(?!(multi-user|graphical|default)\.target$).+|rd\.break(=.*)?|"
    r"systemd\.mask=sshd?(\.service)?|init=(?!(/sbin/init|/usr/sbin/init|/(usr/)?lib/systemd/systemd)$).+"
)
PRIVILEGES = "sshd"
ANEW = (
    "Put the distribution's own file back (Debian: cp /usr/share/openssh/sshd_config /etc/ssh/; else reinstall openssh)"
)
_RECORDS = tuple(f"{top}/userdb/{PRIVILEGES}.user" for top in ("/etc", "/usr/lib"))
_MORE_ACCOUNTS = ("/usr/lib/passwd", "/var/lib/extrausers/passwd")  # of images whose /etc is made anew
_SYSUSERS = tuple(f"{top}/sysusers.d/*.conf" for top in ("/etc", "/usr/lib", "/usr/local/lib"))
_MADE = re.compile(rf"^(u!?\s+\"?{PRIVILEGES}\"?(\s|$)|{PRIVILEGES}:)", re.MULTILINE)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = looked.know(sshd.read)
    if not found.starts:
        fix = None if looked.know(systemd.read).present else _of_openrc(looked)
        if unit_start.FAILS in found.why_not:
            fix = "Mend the unit or its drop-in as the evidence says; systemd-analyze verify NAME tells what it lacks"
        yield Problem("sshd", found.why_not, fix=fix)
        return
    yield from _configuration(looked, found)
    for entry in looked.know(boot_entries.read).entries:
        words = [word for word in entry.options if _KEEPS_OFF.fullmatch(word)]
        if words and entry.default:
            told = f"{entry.path}:{entry.line}: {' '.join(words)} keeps it from starting"
            yield Problem(entry.path, told, fix=without_words(" ".join(words)))
    yield Note(f"{found.starts} starts it")


def _configuration(looked: Looked, found: Sshd) -> Iterator[Problem]:
    """What makes sshd end as soon as it has started."""
    if not looked.image.exists(found.config):
        yield Problem(found.config, f"{found.config} is not there, and sshd does not start without it", fix=ANEW)
    for line in found.lines:
        if line.path.startswith("/") and (fault := sshd_words.fault(looked.image, line)):
            yield Problem(line.path, f"{line.evidence} ({fault}: sshd does not start)", fix=line.removed)
    if found.value("UsePrivilegeSeparation", "yes") != "no" and not _separated(looked):
        told = f"{accounts.PASSWD}: there is no account {PRIVILEGES}, without which sshd does not start"
        yield Problem(accounts.PASSWD, told, fix=f"useradd -r -M -d /run/sshd -s /usr/sbin/nologin {PRIVILEGES}")


def _separated(looked: Looked) -> bool:
    """Whether there is the account for sshd's part without rights, or will be before sshd starts."""
    if PRIVILEGES in looked.know(accounts.read).names or any(map(looked.image.exists, _RECORDS)):
        return True
    files = [*_MORE_ACCOUNTS, *(path for path, _ in matching(looked.image, *_SYSUSERS))]
    return any(_MADE.search(text(looked.image, path) or "") for path in files)


def _of_openrc(looked: Looked) -> str | None:
    """What starts it under OpenRC; None where there is none."""
    if not looked.know(openrc.read).present:
        return None
    return ("" if looked.know(sshd.read).installed else "apk add openssh && ") + "rc-update add sshd default"
