"""SSH host keys: something makes them when a machine boots for the first time."""

from __future__ import annotations

from collections.abc import Iterator

from factory import host_key_source, sshd_config
from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import sshd


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if not looked.know(sshd.read).installed:
        raise NotApplicable("there is no sshd")
    named = [path for path in sshd_config.values(looked.image, "HostKey") if path.startswith("/")]
    reasons = host_key_source.missing(looked.image, named)
    if reasons:
        yield Problem("/etc/ssh", f"nothing makes host keys at the first boot: {'; '.join(reasons)}")
