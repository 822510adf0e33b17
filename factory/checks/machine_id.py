"""The machine-id: /etc/machine-id is an empty file, and D-Bus holds no copy from which an old id would come back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_words
from factory.leftovers import size, text
from factory.reading import boot_entries, systemd

ID, DBUS = "/etc/machine-id", "/var/lib/dbus/machine-id"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    found = image.stat(ID, follow=True)
    has_systemd = looked.know(systemd.read).present
    if found is None:
        if has_systemd:
            link = image.stat(ID)
            what = f"a link to {image.readlink(ID)}, which is not there" if link else "not there"
            yield Problem(ID, f"{ID} is {what}: systemd takes the first boot for an installation and applies presets")
    elif found.kind != "file":
        yield Problem(ID, f"{ID} is a {found.kind}")
    else:
        word = (text(image, ID) or "").strip()
        if word == "uninitialized":
            yield Problem(ID, f"{ID}:1: uninitialized: the first boot enables services by presets", warn=True)
        elif re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F-]{36}", word):
            yield Problem(ID, f"{ID}:1: an id of {len(word)} digits, which every machine would have")
        elif found.size and not word:
            yield Problem(ID, f"{ID}: {size(found)} of blanks, and should be empty", warn=True)
        elif found.size:
            yield Problem(ID, f"{ID} is not empty: {size(found)}")
        else:
            yield Note(f"{ID} is an empty file")
    for entry in looked.know(boot_entries.read).entries:
        if any(re.fullmatch(r"[0-9a-fA-F]{32}", value) for value in entry.option("systemd.machine_id")):
            told = f"{entry.path}:{entry.line}: systemd.machine_id= gives every machine one id"
            yield Problem(entry.path, told, fix=without_words("systemd.machine_id"))
    copy = image.stat(DBUS)
    if copy is None:
        return
    if copy.kind == "symlink":
        real = image.stat(DBUS, follow=True)
        if real and found and (real.partition, real.inode) != (found.partition, found.inode) and real.size:
            yield Problem(DBUS, f"{DBUS} -> {image.readlink(DBUS)}, which holds another id")
    elif copy.kind == "file" and copy.size:
        yield Problem(DBUS, f"{DBUS}: an id of its own ({size(copy)}), which becomes every machine's")
