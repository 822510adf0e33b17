"""Owners of the system: what decides who is root belongs to root, and nobody else can write it.

An image that was packed by an ordinary user (mke2fs -d, tar) has its user's number on every file. sudo and sshd then
refuse to work, and the first user of an instance, who gets that number, owns the system. *paths* are looked at,
through symbolic links; *secret* ones are not to be read by all either. Members of root's own group count as root.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.quoting import quoted

_GROUP, _OTHERS, _READ = 0o020, 0o002, 0o004


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    secret = set(rule.parameters.get("secret", []))
    seen = 0
    for path in sorted({path for pattern in rule.parameters["paths"] for path in image.glob(pattern)} | {"/"}):
        found = image.stat(path, follow=True)
        if found is None or found.kind not in ("file", "dir"):
            continue
        seen += 1
        mode = f"{path}: mode {found.mode:04o}"
        safe = found.mode & ~(_GROUP | _OTHERS) & ~(0o007 if path in secret else 0)
        fix = f"chown root {quoted(path)} && chmod {safe:04o} {quoted(path)}"
        if found.uid != 0:
            yield Problem(path, f"{path} belongs to user number {found.uid}, not to root", fix=fix)
        elif found.mode & _OTHERS:
            yield Problem(path, f"{mode}: every user can write it", fix=fix)
        elif path in secret and found.mode & _READ:
            yield Problem(path, f"{mode}: every user can read it", fix=fix)
        elif found.mode & _GROUP and found.gid != 0:
            # A folder for a group of the administrator's is unusual, and no way in by itself.
            yield Problem(path, f"{mode}: group number {found.gid} can write it", warn=found.kind == "dir", fix=fix)
    yield Note(f"{seen} files and folders belong to root, and nobody else can write them")
