"""SSH of users: no home holds keys, known hosts or settings of a client, nor a list of trusted hosts.

Authorized keys have a rule of their own. Parameter ``homes``: names directly in a home that count as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import named
from factory.reading import homes


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    for home in looked.know(homes.read).names:
        folder = f"{home}/.ssh"
        top = image.stat(folder, follow=True)
        if top and top.kind == "dir":
            for path, found in image.walk(folder):
                name = path.rpartition("/")[2]
                if found.kind == "socket":
                    yield Problem(path, f"{path}: a socket of an agent")
                elif found.kind == "file" and found.size and name not in ("authorized_keys", "authorized_keys2"):
                    yield Problem(path, f"{path}: {_kind(name)}, {found.size} bytes")
        for path, found in named(image, home, rule.parameters.get("homes", [])):
            if found.kind == "file" and found.size:
                yield Problem(path, f"{path}: hosts that are trusted, {found.size} bytes")


def _kind(name: str) -> str:
    if name.startswith("known_hosts"):
        return "hosts that the build connected to"
    if name.endswith(".pub"):
        return "a public key"
    return "a key" if name.startswith("id_") or name.endswith((".pem", ".key")) else "a file of a client"
