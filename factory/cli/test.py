"""``factory test``: the boot test of any image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.answers import answer
from factory.cli.options import Accel, AsJson, Boots, Connect, LogFormatHere, Set, libvirt, settings_of
from factory.cli.root import app, console_for, first_line, table


@app.command()
def test(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Any disk image.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", metavar="R", help="Run this recipe's tests too.")] = "",
    user: Annotated[str, typer.Option("--user", help="The image's default user, when it cannot be read from it.")] = "",
    boot_test: Annotated[Boots, typer.Option("--boot-test", help="quick: one boot.")] = Boots.full,
    values: Set = [],  # noqa: B006
    accel: Accel = None,
    connect: Connect = "",
    logs: Annotated[Path | None, typer.Option("--logs", metavar="DIR", help="Keep the console logs there.")] = None,
    as_json: AsJson = False,
    log_format: LogFormatHere = None,
) -> None:
    """Boot any image as a cloud would, and look whether it works. The file itself is never changed."""
    from factory import settings
    from factory.boot_any import test_image
    from factory.errors import UsageError
    from factory.findings import Finding

    console = console_for(context, log_format)
    loaded, given = None, settings_of(values)
    if given and not recipe:
        raise UsageError(
            "--set gives a value to a variable of a recipe, and no recipe is named",
            hint="Name it with --recipe, or leave --set out",
            code="usage.set",
        )
    if recipe:
        from factory.recipe import load_recipe

        loaded = load_recipe(recipe, settings=given)
        for secret in loaded.secrets:
            console.redact(secret)
    outcome, document = test_image(
        image,
        recipe=loaded,
        user=user,
        mode=boot_test.value,
        accelerator=accel.value if accel else settings.value("FACTORY_ACCEL"),
        connect=libvirt(connect),
        logs=logs,
        console=console,
    )
    console.close()
    if as_json:
        from factory.manifest import text

        answer(text(document), newline=False)
    else:
        rows = [[finding.status, finding.rule, finding.subject, first_line(finding)] for finding in outcome.findings]
        answer(table([["", "rule", "subject", "evidence"], *rows]))
    if outcome.failed:
        from factory.errors import ImageRefused

        bad: Finding = outcome.failed[0]
        raise ImageRefused(
            f"{len(outcome.failed)} of {len(outcome.findings)} findings refuse {image.name}",
            cause=bad.line,
            hint="" if logs else "'--logs DIR' keeps the consoles of the boots",
            command=bad.fix,
        )
