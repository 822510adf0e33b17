"""``factory build``: recipes become tested images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory.cli.answers import answer
from factory.cli.options import (
    Accel,
    AcceptStale,
    AsJson,
    BootTestMode,
    Connect,
    IfExists,
    Keep,
    LogFormatHere,
    Offline,
    Output,
    Recipes,
    Set,
    Target,
    keep_of,
    lasting,
    libvirt,
    seconds_of,
    settings_of,
)
from factory.cli.root import app, console_for
from factory.errors import FactoryError

if TYPE_CHECKING:
    from factory.build import Options
    from factory.console import Console
    from factory.parallel import Ended
    from factory.plan import Plan
    from factory.publish.importer import Wishes


@app.command()
def build(
    context: typer.Context,
    recipes: Recipes,
    target: Target = [],  # noqa: B006 - typer copies it
    values: Set = [],  # noqa: B006
    accel: Accel = None,
    connect: Connect = "",
    cold: Annotated[bool, typer.Option("--cold", help="Start from the base, without a warm machine.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step, whatever is cached.")] = False,
    from_step: Annotated[
        str, typer.Option("--from", metavar="STEP", help="Run this step (its number, or upgrade) and all after it.")
    ] = "",
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Build only if the archive has other versions than the last image.")
    ] = False,
    offline: Offline = False,
    accept_stale: AcceptStale = False,
    boot_test: Annotated[
        BootTestMode, typer.Option("--boot-test", help="quick: one boot; none: not at all.")
    ] = BootTestMode.full,
    keep: Annotated[
        Keep | None,
        typer.Option(
            "--keep", help="When working files stay, and a failed build's machine; default on a terminal: on-failure."
        ),
    ] = None,
    keep_for: Annotated[str, typer.Option("--keep-for", metavar="TIME", help="How long a kept machine runs.")] = "1h",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, metavar="N", help="How many at once; 0: as this host allows.")
    ] = 0,
    publish: Annotated[bool, typer.Option("--publish", help="Upload while it is tested; import when green.")] = False,
    if_exists: Annotated[
        IfExists, typer.Option("--if-exists", help="Publishing: skip takes an image of this name as it is.")
    ] = IfExists.fail,
    output: Output = Path("out"),
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write what checks and boot tests found, for CI.")
    ] = None,
    as_json: AsJson = False,
    log_format: LogFormatHere = None,
    again: Annotated[bool, typer.Option("--again", hidden=True)] = False,  # of 'factory retry'
) -> None:
    """Build and test images; prints the build directories."""
    from factory import settings
    from factory.plan import make_plan

    console = console_for(context, log_format)
    if junit is not None:
        from factory import build_report

        build_report.begin(junit)
    given = settings_of(values)  # once: NAME@FILE may be a pipe
    plans = [make_plan(recipe, settings=given, target=target) for recipe in recipes]
    from factory.build import Options
    from factory.parallel import build_all, default_jobs

    options = Options(
        accelerator=accel.value if accel else settings.value("FACTORY_ACCEL"),
        connect=libvirt(connect),
        boot_test=boot_test.value,
        output=output,
        offline=offline,
        accept_stale=accept_stale,
        cold=cold,
        no_cache=no_cache,
        keep=keep_of(keep).value,
        keep_for=seconds_of(keep_for, "--keep-for"),
        from_step=from_step,
        anew=again,
        if_changed=if_changed,
        publish=_wishes(if_exists) if publish else None,
    )
    at_once = min(jobs or default_jobs(), len(plans))
    wanted = [(plan, replace(options, again=_again(context, plan, values))) for plan in plans]
    ends = build_all(wanted, console, at_once) if at_once > 1 else _in_turn(wanted, console)
    built: list[dict[str, Any]] = []
    failure: FactoryError | None = None
    for end in ends:
        if end.built is None:
            assert end.error is not None
            built.append(
                {"recipe": end.plan.recipe.name, "status": end.error.status, "error": _safe(end.error, console)}
            )
            failure = failure or end.error
            if len(plans) > 1:
                console.error(end.error)
            continue
        result = end.built
        built.append(
            {
                "recipe": result.recipe,
                "status": 0,
                "build_id": result.build_id,
                "directory": str(result.folder.absolute()),
                "image": str(result.image.absolute()),
                "size": result.size,
                "sha256": result.sha256,
                "seconds": round(result.seconds, 1),
                "unchanged": result.unchanged,
                "findings": result.summary.model_dump(by_alias=True),
            }
        )
    console.chart()
    if len(plans) > 1:
        console.summary([["recipe", "result"], *([each["recipe"], _outcome(each)] for each in built)])
    console.close()
    if as_json:
        answer(json.dumps({"schema": 1, "builds": built}, indent=2))
    else:
        for each in built:
            if "directory" in each:
                answer(_shown(Path(each["directory"]), output))
    if junit is not None:
        try:
            build_report.write(junit, ends, lambda error: _safe(error, console))
        except FactoryError as error:
            if failure is None:
                raise
            console.error(error)
    if failure is not None:
        if len(plans) > 1:
            raise typer.Exit(failure.status)
        raise failure


AFRESH = ("--set", "--json", "--junit", "--from", "--no-cache", "--cold", "--if-changed", "--again")
"""Options that a second call does not repeat: the failed step is gone on from the layers before it."""


def _again(context: typer.Context, plan: Plan, values: list[str]) -> tuple[str, ...]:
    """The words that build *plan* again from anywhere, without the values of secrets: they are not written down."""
    words = ["build", str(plan.recipe.file)]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        option = next(iter(getattr(parameter, "opts", ())), "")
        if not option.startswith("--") or option in AFRESH:
            continue
        if option == "--output":  # also the default one: it is meant of the folder of this call
            value = Path(str(value)).absolute()
        elif value == parameter.get_default(context):
            continue
        if value is True:
            words.append(option)
        elif value not in (None, False):
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [option, str(getattr(each, "value", each))]
    for setting in values:
        if setting.partition("=")[0] not in plan.recipe.secret_names:
            words += ["--set", lasting(setting)]
    return tuple(words)


def _in_turn(wanted: list[tuple[Plan, Options]], console: Console) -> list[Ended]:
    """Build one after the other; one that fails stops no other."""
    from factory.build import build as run
    from factory.parallel import Ended, defect

    ends = []
    for plan, options in wanted:
        try:
            ends.append(Ended(plan, run(plan, options, console)))
        except FactoryError as error:
            ends.append(Ended(plan, error=error))
        except Exception as error:
            if len(wanted) == 1 or isinstance(error, BrokenPipeError):  # nobody reads what we say
                raise
            ends.append(Ended(plan, error=defect(plan, error)))
    return ends


def _shown(folder: Path, output: Path) -> Path:
    """The absolute path *folder* in the form in which its *output* was given."""
    whole = output.absolute()
    return output / folder.relative_to(whole) if folder.is_relative_to(whole) else folder


def _wishes(if_exists: IfExists) -> Wishes:
    from factory.publish.importer import Wishes

    return Wishes(if_exists=if_exists.value)


def _safe(error: FactoryError, console: Console) -> dict[str, object]:
    """*error* as data, without secrets: a step may have printed one as its last word."""
    return {key: console.safe(each) if isinstance(each, str) else each for key, each in error.as_dict().items()}


def _outcome(built: dict[str, Any]) -> str:
    if built["status"]:
        return f"failed ({built['error']['code']})"
    if built["unchanged"]:
        return f"{built['size'] / 1e6:.0f} MB, unchanged"
    return f"{built['size'] / 1e6:.0f} MB in {built['seconds']:.0f} s"
