"""Provisioners: what a recipe's ``provision`` steps do in the guest, one file a kind.

A member has ``apply(step, session, where)``: it runs the step in the guest of *session* and raises StepFailed, whose
message begins with *where* (such as ``step 2 (shell, nginx.yaml line 14)``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from factory.console import Console
from factory.provision.session import Session


def run_steps(
    session: Session, console: Console, *, first: int = 1, ran: Callable[[int], None] = lambda _: None
) -> None:
    """Run the steps of the recipe from number *first* on; each that has ended well is told to *ran*.

    The first that fails ends the build.
    """
    total = len(session.recipe.provision)
    for number, step in enumerate(session.recipe.provision, 1):
        if number < first:
            continue
        with console.stage(f"{number}/{total} {step.kind}") as stage:
            stage.note(step.title)
            member: Any = importlib.import_module(f"factory.provision.{step.kind}")
            member.apply(step, session, f"step {number} ({step.kind}, {session.recipe.file.name} line {step.line})")
        ran(number)
