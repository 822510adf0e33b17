"""SELinux or AppArmor is as the distribution has it: not switched off in a file or for the kernel.

Fedora and its kin enforce; elsewhere a weaker setting may be the distribution's own, so it is only a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_words
from factory.reading import boot_entries
from factory.reading.lines import content_of, shell

CONFIG = "/etc/selinux/config"
WORDS = ("selinux=0", "enforcing=0", "apparmor=0", "security=none")
ENFORCING = ("rhel", "fedora", "centos")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    release = shell("/etc/os-release", content_of(looked.image, "/etc/os-release"))
    kin = {word for key in ("ID", "ID_LIKE") if key in release for word in release[key].value.split()}
    mode = shell(CONFIG, content_of(looked.image, CONFIG)).get("SELINUX")
    for entry in looked.know(boot_entries.read).entries:
        if found := [word for word in entry.options if word in WORDS]:
            told = f"{entry.path}:{entry.line}: {' '.join(found)}"
            yield Problem(entry.path, told, fix=without_words(" ".join(found)))
    if mode is None:
        yield Note("no file of SELinux, and no boot entry switches anything off")
    elif mode.value.lower() != "enforcing":
        yield Problem(CONFIG, mode.place, warn=not kin & set(ENFORCING))
    else:
        yield Note(mode.place)
