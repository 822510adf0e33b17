"""``factory images``: what was built here."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from factory.cli.options import AsJson, Output
from factory.cli.root import images_app


@images_app.command("list")
def images_list(output: Output = Path("out"), as_json: AsJson = False) -> None:
    """The builds below out, newest last."""
    from factory import images
    from factory.console import summary

    found = images.builds(output)
    if as_json:
        typer.echo(json.dumps({"schema": 1, "images": [each.as_dict() for each in found]}, indent=2))
    else:
        typer.echo(
            summary([["recipe", "version", "build", "size", "tested", "latest"], *(each.row() for each in found)])
        )


@images_app.command("show")
def images_show(build: str, output: Output = Path("out")) -> None:
    """The manifest of a build: a build id, a recipe's name for its latest, or a directory."""
    from factory import images
    from factory.manifest import text

    typer.echo(text(images.show(build, output)), nl=False)
