"""SSH host keys: none is there, of any type, also where sshd_config or another SSH server wants them.

Empty files count: sshd takes them for keys, and does not start. So do those of a server in an initramfs.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.drivers import MADE_ANEW, readable
from factory.leftovers import matching, size
from factory.reading import sshd


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    patterns = list(rule.parameters.get("files", []))
    for keyword in ("HostKey", "HostCertificate"):
        for line in looked.know(sshd.read).deciding(keyword) + looked.know(sshd.read).each(keyword):
            path = line.words[0] if line.words else ""
            if path.startswith("/") and not any(character in path for character in "*?["):
                patterns += [path, f"{path}.pub", f"{path}-cert.pub"]
    seen = set()
    for pattern in dict.fromkeys(patterns):
        for path, found in matching(image, pattern):
            if path not in seen:
                seen.add(path)
                yield Problem(path, f"{path}: {size(found)}")
    for archive in readable(looked):
        for name in archive.host_keys:
            fix = f"Remove the key from where {name} was taken from, then {MADE_ANEW}"
            yield Problem(archive.path, f"{archive.path}: {name}, a host key in the initramfs", fix=fix)
