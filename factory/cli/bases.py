"""``factory bases``: the base images."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from factory.cli.options import Accel, Accelerator, AsJson, Connect, libvirt
from factory.cli.root import bases_app, console_for, table


@bases_app.command("list")
def bases_list(as_json: AsJson = False) -> None:
    """The bases that recipes may name, and what is cached."""
    from factory import bases

    found = [(definition, bases.cached(definition)) for definition in bases.catalogue()]
    if as_json:
        data = [
            {
                "name": definition.name,
                "kind": definition.kind,
                "title": definition.title,
                "cached": base is not None,
                "digest": base.sha256 if base else None,
                "size": base.size if base else None,
                "created": base.created.isoformat() if base else None,
            }
            for definition, base in found
        ]
        typer.echo(json.dumps({"schema": 1, "bases": data}, indent=2))
        return
    rows = [
        [
            definition.name,
            definition.kind,
            definition.title,
            f"{base.why}, {base.size / 1e6:.0f} MB, sha256:{base.sha256[:12]}…" if base else "not cached",
        ]
        for definition, base in found
    ]
    typer.echo(table([["name", "kind", "what", "state"], *rows]))


def _make_base(context: typer.Context, name: str, accel: Accelerator | None, connect: str, *, update: bool) -> None:
    from factory import bases, settings
    from factory.hypervisor import accelerator

    console = console_for(context)
    definition = bases.resolve(name)
    with console.stage("base") as stage:
        stage.note(definition.name)
        base = bases.obtain(
            definition,
            update=update,
            console=console,
            accelerator=accelerator.choose(accel.value if accel else settings.value("FACTORY_ACCEL")),
            connect=libvirt(connect),
        )
        if base.cached:
            stage.cached(base.why)
    console.close()
    typer.echo(base.reference)


@bases_app.command("build")
def bases_build(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As 'factory bases list' has it, or a path.")],
    accel: Accel = None,
    connect: Connect = "",
) -> None:
    """Make or fetch one base, unless a fresh one is cached; prints its pinned name."""
    _make_base(context, name, accel, connect, update=False)


@bases_app.command("update")
def bases_update(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Without names: all that are cached.")
    ] = None,
    accel: Accel = None,
    connect: Connect = "",
) -> None:
    """Make or fetch bases anew."""
    from factory import bases

    chosen = names or [each.name for each in bases.catalogue() if bases.cached(each)]
    if not chosen:
        typer.echo("No base is cached.", err=True)
    for name in chosen:
        _make_base(context, name, accel, connect, update=True)
