"""``factory images``: what was built here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import AsJson, Output, given
from factory.cli.root import images_app, table


@images_app.command("list")
def images_list(context: typer.Context, output: Output = Path("out"), as_json: AsJson = False) -> None:
    """The builds below out, newest last."""
    from factory import images

    _look_at(output, context)
    found = images.builds(output)
    if as_json:
        typer.echo(json.dumps({"schema": 1, "images": [each.as_dict() for each in found]}, indent=2))
    else:
        typer.echo(table([["recipe", "version", "build", "size", "tested", "latest"], *(each.row() for each in found)]))


@images_app.command("show")
def images_show(
    build: Annotated[
        str, typer.Argument(metavar="BUILD", help="A build id, a recipe's name for its latest, or a directory.")
    ],
    output: Output = Path("out"),
) -> None:
    """The manifest of a build."""
    from factory import images
    from factory.manifest import text

    typer.echo(text(images.show(build, output)), nl=False)


@images_app.command("prune")
def images_prune(
    context: typer.Context,
    recipes: Annotated[list[str] | None, typer.Argument(metavar="[RECIPE...]", help="Only of these.")] = None,
    keep: Annotated[int, typer.Option("--keep", min=0, metavar="N", help="So many of each recipe stay.")] = 3,
    older_than: Annotated[str, typer.Option("--older-than", metavar="30d", help="Younger ones stay too.")] = "0s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    output: Output = Path("out"),
    as_json: AsJson = False,
) -> None:
    """Remove old builds and print their folders. The newest of each recipe, and its latest, stay."""
    from factory import pruning, settings
    from factory.errors import UsageError
    from factory.units import parse_duration

    try:
        seconds = parse_duration(older_than)
    except ValueError as error:
        raise UsageError(f"--older-than {older_than!r} {error}", code="usage.command-line") from None
    _look_at(output, context)
    old = pruning.old_builds(output, settings.state_dir(), recipes=recipes or (), keep=keep, seconds=seconds)
    if not dry_run:
        pruning.remove(old)
    if as_json:
        removed = [{"directory": str(each.folder), "bytes": each.size} for each in old]
        typer.echo(json.dumps({"schema": 1, "removed": removed, "dry_run": dry_run}, indent=2))
        return
    for each in old:
        typer.echo(each.folder)
    size = sum(each.size for each in old) / 1e6
    done = "would be removed" if dry_run else "removed"
    typer.echo(
        f"{len(old)} build{'' if len(old) == 1 else 's'} {done}, {size:.0f} MB." if old else "Nothing to remove.",
        err=True,
    )


def _look_at(output: Path, context: typer.Context) -> None:
    """Raise UsageError when *output* was named and is not there; the usual one may not be there yet."""
    from factory.errors import UsageError

    if output.is_dir():
        return
    if "--output" in given(context):
        raise UsageError(
            f"there is no folder {output}",
            hint="Check --output; without it the builds in out are meant",
            code="usage.no-such-folder",
        )
    typer.echo(f"Nothing has been built here yet: there is no folder {output}.", err=True)
