"""Secrets: no file holds a password, a token or the credentials of a cloud.

What the parameters name (see :mod:`factory.checks.leftover_files`), and whatever looks like a token of a well-known
service in any file of the image's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.checks.leftover_files import problems
from factory.reading import secrets


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    seen = set()
    for problem in problems(looked, rule):
        seen.add(problem.subject)
        yield problem
    for secret in looked.know(secrets.read):
        if not secret.key and secret.path not in seen:
            yield Problem(secret.path, secret.evidence, fix=without_line(secret.path, secret.line))
