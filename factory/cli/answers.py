"""Answers on standard output, which may have nobody who reads it any more (``| head``)."""

from __future__ import annotations

import os
import select

import typer


def answer(text: object, *, newline: bool = True) -> None:
    """Print *text* as the answer of a verb that has a verdict too, which is due whether or not the answer is read."""
    try:
        typer.echo(text, nl=newline)
    except BrokenPipeError:
        if not unread():
            raise


def unread() -> bool:
    """Whether it is our standard output that nobody reads any more; then nothing more is written to it."""
    poll = select.poll()
    poll.register(1, 0)
    if not poll.poll(0):
        return False
    drop()
    return True


def drop() -> None:
    """What standard output still holds must not fail again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
