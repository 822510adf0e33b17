"""``factory validate``, ``factory plan``, ``factory schema``: what recipes and documents say; nothing runs."""

from __future__ import annotations

import json

import typer

from factory.cli.options import AsJson, Document, Recipes, Set, Target, settings_of
from factory.cli.root import app


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
def plan(recipe: str, target: Target = [], values: Set = [], as_json: AsJson = False) -> None:  # noqa: B006
    """Show what a build would run, and what is cached and why; runs nothing."""
    from factory.console import summary
    from factory.plan import describe, make_plan

    made = make_plan(recipe, settings=settings_of(values), target=target)
    rows = describe(made)
    if as_json:
        stages = [{"stage": stage, "what": what, "state": state} for stage, what, state in rows]
        typer.echo(json.dumps({"schema": 1, "recipe": made.recipe.name, "key": made.key, "stages": stages}, indent=2))
    else:
        typer.echo(summary([["stage", "what", "state"], *rows]))


@app.command()
def schema(document: Document) -> None:
    """Print the JSON Schema of a document, for editors."""
    from factory import schemas

    typer.echo(json.dumps(schemas.schema(document.value), indent=2))
