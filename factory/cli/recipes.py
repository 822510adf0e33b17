"""``factory validate``, ``factory plan``, ``factory schema``: what recipes and documents say; nothing runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import Accel, AsJson, Connect, Document, Output, Recipes, Set, Target, libvirt, settings_of
from factory.cli.root import app, table


@app.command()
def validate(recipes: Recipes, values: Set = []) -> None:  # noqa: B006
    """Show every fault of every recipe at once; runs nothing."""
    from factory.errors import RecipeError
    from factory.recipe import validate as faults_of

    faults = faults_of(recipes, settings=settings_of(values) or None)
    if faults:
        raise RecipeError(faults)
    typer.echo(f"{len(recipes)} recipe{'s' if len(recipes) != 1 else ''} without a fault")


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name (recipes/<name>.yaml) or a path.")],
    target: Target = [],  # noqa: B006
    values: Set = [],  # noqa: B006
    accel: Accel = None,
    connect: Connect = "",
    output: Output = Path("out"),
    sizes: Annotated[bool, typer.Option("--sizes", help="What each thing takes in the cache.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a build would run, and what is cached and why."""
    from factory import settings
    from factory.errors import HostError
    from factory.hypervisor import accelerator, embedded
    from factory.plan import describe, make_plan

    made = make_plan(recipe, settings=settings_of(values), target=target)
    try:
        chosen = accelerator.choose(accel.value if accel else settings.value("FACTORY_ACCEL")).name
    except HostError:  # a plan may be looked at where nothing can be built
        chosen = "tcg"
    rows = describe(made, chosen, output, saves=libvirt(connect) == embedded.URI)
    if as_json:
        stages = [vars(row) for row in rows]
        typer.echo(json.dumps({"schema": 1, "recipe": made.recipe.name, "key": made.key, "stages": stages}, indent=2))
        return
    cells = [
        [row.stage, row.what, row.state, *([f"{row.size / 1e6:.0f} MB" if row.size else ""] * sizes)] for row in rows
    ]
    typer.echo(table([["stage", "what", "state", *(["size"] * sizes)], *cells]))
    if sizes:
        from factory.cache import Cache, size_limit

        taken = sum(entry.size for entry in Cache().entries())
        typer.echo(f"The cache holds {taken / 1e9:.1f} GB, at most {size_limit() / 1e9:.1f} GB (FACTORY_CACHE_LIMIT).")


@app.command()
def schema(document: Annotated[Document, typer.Argument(metavar="DOCUMENT", help="What it describes.")]) -> None:
    """Print the JSON Schema of a document, for editors."""
    from factory import schemas

    typer.echo(json.dumps(schemas.schema(document.value), indent=2))
