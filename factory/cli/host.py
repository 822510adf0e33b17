"""``factory doctor`` and ``factory gc``: this host."""

from __future__ import annotations

import json
import shutil
from typing import Annotated

import typer

from factory.cli.answers import answer
from factory.cli.options import AsJson
from factory.cli.root import app, console_for


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show what this host can do, and how to mend what it cannot."""
    from factory import doctor as examination

    checks = examination.examine()
    if as_json:
        answer(json.dumps({"schema": 1, "checks": [vars(check) for check in checks]}, indent=2))
    else:
        from factory.doctor.page import page

        answer(page(checks, shutil.get_terminal_size((0, 0)).columns or None))
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(3)


@app.command()
def gc(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what crashed runs left, and what was kept. Living builds are not touched.

    That is processes, machines, working files, half-made bases and uploads that nobody goes on with.
    """
    from factory.reaping import reap

    console = console_for(context)
    removed = reap(console, dry_run=dry_run)
    console.close()
    if as_json:
        typer.echo(json.dumps({"schema": 1, "removed": removed, "dry_run": dry_run}, indent=2))
    else:
        typer.echo("\n".join(removed) if removed else "There was nothing to remove.")
