"""``factory doctor`` and ``factory gc``: this host."""

from __future__ import annotations

import json

import typer

from factory.cli.options import AsJson
from factory.cli.root import app, console_for


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show what this host can do, and how to mend what it cannot."""
    from factory import doctor as examination

    checks = examination.examine()
    if as_json:
        typer.echo(json.dumps({"schema": 1, "checks": [vars(check) for check in checks]}, indent=2))
    else:
        from factory.console import summary

        typer.echo(summary([["", "what", "found", "fix"], *([c.state, c.what, c.found, c.fix] for c in checks)]))
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(3)


@app.command()
def gc(context: typer.Context, as_json: AsJson = False) -> None:
    """Remove what crashed runs left: processes, working files, kept machines. Living builds are not touched."""
    from factory.reaping import reap

    console = console_for(context)
    removed = reap(console)
    console.close()
    if as_json:
        typer.echo(json.dumps({"schema": 1, "removed": removed}, indent=2))
    else:
        typer.echo("\n".join(removed) if removed else "There was nothing to remove.")
