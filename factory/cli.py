"""The command line: verbs, exit statuses, and the only place that prints an error and exits.

Results go to standard output; progress, logs and errors to standard error. Heavy modules are imported by the verb
that needs them, so that ``factory --help`` stays quick.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from factory import __version__
from factory.errors import FactoryError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from factory.console import Console

app = typer.Typer(
    name="factory",
    help="Turn a recipe into a tested virtual-machine image that a cloud imports without surprises.",
    epilog="Exit status: 0 ok, 2 recipe or usage wrong, 3 this host lacks something, 4 the build failed, "
    "5 built but a check or boot test failed, 6 publishing failed, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
bases_app = typer.Typer(help="The base images: list, build NAME, update.", no_args_is_help=True, rich_markup_mode=None)
images_app = typer.Typer(help="The images built here: list, show.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bases_app, name="bases")
app.add_typer(images_app, name="images")


class LogFormat(StrEnum):
    """How progress is written."""

    text = "text"
    json = "json"


class Accelerator(StrEnum):
    """What runs the guests."""

    auto = "auto"
    kvm = "kvm"
    tcg = "tcg"


class BootTestMode(StrEnum):
    """How much is booted."""

    full = "full"
    quick = "quick"
    none = "none"


class Keep(StrEnum):
    """When working files stay."""

    on_failure = "on-failure"
    always = "always"
    never = "never"


class Document(StrEnum):
    """The documents that have a JSON Schema."""

    recipe = "recipe"
    manifest = "manifest"
    findings = "findings"


Recipes = Annotated[list[str], typer.Argument(metavar="RECIPE...", help="Names (recipes/<name>.yaml) or paths.")]
Target = Annotated[
    list[str], typer.Option("--target", "-t", metavar="T", help="The cloud, in place of the recipe's targets.")
]
Set = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A value for a variable of the recipe.")]
Accel = Annotated[Accelerator | None, typer.Option("--accel", help="kvm refuses to fall back to tcg.")]
Connect = Annotated[str, typer.Option("--connect", metavar="URI", help="libvirt; default qemu:///embed, no daemon.")]
Offline = Annotated[bool, typer.Option("--offline", help="Take bases from the cache only.")]
AcceptStale = Annotated[bool, typer.Option("--accept-stale", help="Take a base although it is older than its max_age.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="In place of out.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"factory {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="json: one event a line.")] = LogFormat.text,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    global _log_format
    _log_format = context.obj = log_format.value


LogFormatHere = Annotated[LogFormat | None, typer.Option("--log-format", help="json: one event a line.")]


def _console(context: typer.Context, log_format: LogFormat | None = None) -> Console:
    from factory.console import Console

    console = Console.create("json" if (log_format or context.obj) in ("json", LogFormat.json) else "text")
    global _current
    _current = console
    return console


_current: Console | None = None
_log_format: Literal["text", "json"] = "text"


@app.command()
def build(
    context: typer.Context,
    recipes: Recipes,
    target: Target = [],  # noqa: B006 - typer copies it
    values: Set = [],  # noqa: B006
    accel: Accel = None,
    connect: Connect = "",
    _cold: Annotated[bool, typer.Option("--cold", help="Start from the base, without a warm machine.")] = False,
    _no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step, whatever is cached.")] = False,
    offline: Offline = False,
    accept_stale: AcceptStale = False,
    boot_test: Annotated[
        BootTestMode, typer.Option("--boot-test", help="quick: one boot; none: not at all.")
    ] = BootTestMode.full,
    keep: Annotated[Keep, typer.Option("--keep", help="When the working files of a build stay.")] = Keep.never,
    output: Output = Path("out"),
    as_json: AsJson = False,
    log_format: LogFormatHere = None,
) -> None:
    """Build and test images; prints the build directories."""
    from factory import settings
    from factory.plan import make_plan

    console = _console(context, log_format)
    plans = [make_plan(recipe, settings=_settings(values), target=target) for recipe in recipes]
    from factory.build import Options
    from factory.build import build as run

    options = Options(
        accelerator=accel.value if accel else settings.value("FACTORY_ACCEL"),
        connect=_libvirt(connect),
        boot_test=boot_test.value,
        output=output,
        offline=offline,
        accept_stale=accept_stale,
        keep=keep.value,
    )
    built: list[dict[str, Any]] = []
    failure: FactoryError | None = None
    for plan in plans:
        try:
            result = run(plan, options, console)
        except FactoryError as error:
            built.append({"recipe": plan.recipe.name, "status": error.status, "error": _safe(error, console)})
            failure = failure or error
            if len(plans) > 1:
                console.error(error)
            continue
        built.append(
            {
                "recipe": result.recipe,
                "status": 0,
                "build_id": result.build_id,
                "directory": str(result.folder),
                "image": str(result.image),
                "size": result.size,
                "sha256": result.sha256,
                "seconds": round(result.seconds, 1),
                "findings": result.summary.model_dump(by_alias=True),
            }
        )
    console.chart()
    if len(plans) > 1:
        console.summary([["recipe", "result"], *([each["recipe"], _outcome(each)] for each in built)])
    console.close()
    if as_json:
        typer.echo(json.dumps({"schema": 1, "builds": built}, indent=2))
    else:
        for each in built:
            if "directory" in each:
                typer.echo(each["directory"])
    if failure is not None:
        if len(plans) > 1:
            raise typer.Exit(failure.status)
        raise failure


def _libvirt(connect: str) -> str:
    """The address of libvirt; one that is not of this host is refused before any work is done."""
    from factory import settings
    from factory.hypervisor.connection import require_local

    uri = connect or settings.value("FACTORY_CONNECT")
    require_local(uri)
    return uri


def _safe(error: FactoryError, console: Console) -> dict[str, object]:
    """*error* as data, without secrets: a step may have printed one as its last word."""
    return {key: console.safe(each) if isinstance(each, str) else each for key, each in error.as_dict().items()}


def _outcome(built: dict[str, Any]) -> str:
    if built["status"]:
        return f"failed ({built['error']['code']})"
    return f"{built['size'] / 1e6:.0f} MB in {built['seconds']:.0f} s"


def _settings(values: list[str]) -> dict[str, str]:
    found = {}
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or not name:
            raise UsageError(
                "--set wants NAME=VALUE", hint="Write --set greeting=hello", code="usage.set"
            )  # the value may be a secret: not shown
        found[name] = text
    return found


@app.command()
def validate(recipes: Recipes, values: Set = []) -> None:  # noqa: B006
    """Show every fault of every recipe at once; runs nothing."""
    from factory.errors import RecipeError
    from factory.recipe import validate as faults_of

    faults = faults_of(recipes, settings=_settings(values) or None)
    if faults:
        raise RecipeError(faults)
    typer.echo(f"{len(recipes)} recipe{'s' if len(recipes) != 1 else ''} without a fault")


@app.command()
def plan(recipe: str, target: Target = [], values: Set = [], as_json: AsJson = False) -> None:  # noqa: B006
    """Show what a build would run, and what is cached and why; runs nothing."""
    from factory.console import summary
    from factory.plan import describe, make_plan

    made = make_plan(recipe, settings=_settings(values), target=target)
    rows = describe(made)
    if as_json:
        stages = [{"stage": stage, "what": what, "state": state} for stage, what, state in rows]
        typer.echo(json.dumps({"schema": 1, "recipe": made.recipe.name, "key": made.key, "stages": stages}, indent=2))
    else:
        typer.echo(summary([["stage", "what", "state"], *rows]))


@app.command()
def test(
    context: typer.Context,
    image: Path,
    recipe: Annotated[str, typer.Option("--recipe", "-r", metavar="R", help="Run this recipe's tests too.")] = "",
    user: Annotated[str, typer.Option("--user", help="The image's default user, when it cannot be read from it.")] = "",
    boot_test: Annotated[BootTestMode, typer.Option("--boot-test", help="quick: one boot.")] = BootTestMode.full,
    values: Set = [],  # noqa: B006
    accel: Accel = None,
    connect: Connect = "",
    logs: Annotated[Path | None, typer.Option("--logs", metavar="DIR", help="Keep the console logs there.")] = None,
    as_json: AsJson = False,
    log_format: LogFormatHere = None,
) -> None:
    """Boot any image as a cloud would, on overlays, and look whether it works."""
    from factory import settings
    from factory.boot_any import test_image
    from factory.findings import Finding

    console = _console(context, log_format)
    loaded = None
    if recipe:
        from factory.recipe import load_recipe

        loaded = load_recipe(recipe, settings=_settings(values))
    outcome, document = test_image(
        image,
        recipe=loaded,
        user=user,
        mode="quick" if boot_test is BootTestMode.quick else "full",
        accelerator=accel.value if accel else settings.value("FACTORY_ACCEL"),
        connect=_libvirt(connect),
        logs=logs,
        console=console,
    )
    console.close()
    if as_json:
        from factory.manifest import text

        typer.echo(text(document), nl=False)
    else:
        rows = [[finding.status, finding.rule, finding.subject, _first_line(finding)] for finding in outcome.findings]
        from factory.console import summary

        typer.echo(summary([["", "rule", "subject", "evidence"], *rows]))
    if outcome.failed:
        from factory.errors import ImageRefused

        bad: Finding = outcome.failed[0]
        raise ImageRefused(
            f"{len(outcome.failed)} of {len(outcome.findings)} findings refuse {image.name}",
            cause=f"{bad.rule}, {bad.subject}: {_first_line(bad)}",
            hint=bad.fix,
        )


def _first_line(finding: Any) -> str:
    return str(finding.evidence).split("\n", 1)[0][:200]


@app.command()
def schema(document: Document) -> None:
    """Print the JSON Schema of a document, for editors."""
    from factory import schemas

    typer.echo(json.dumps(schemas.schema(document.value), indent=2))


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
    """Remove what crashed runs left: processes, working files, half-made bases. Living builds are not touched."""
    from factory import bases, settings
    from factory.hypervisor import embedded
    from factory.workspace import reap

    console = _console(context)
    removed = [*reap(settings.state_dir(), kept=True), *embedded.reap(), *map(str, bases.reap(console))]
    console.close()
    if as_json:
        typer.echo(json.dumps({"schema": 1, "removed": removed}, indent=2))
    else:
        typer.echo("\n".join(removed) if removed else "There was nothing to remove.")


@bases_app.command("list")
def bases_list(as_json: AsJson = False) -> None:
    """The bases that recipes may name, and what is cached."""
    from factory import bases
    from factory.console import summary

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
    typer.echo(summary([["name", "kind", "what", "state"], *rows]))


def _make_base(context: typer.Context, name: str, accel: Accelerator | None, connect: str, *, update: bool) -> None:
    from factory import bases, settings
    from factory.hypervisor import accelerator

    console = _console(context)
    definition = bases.resolve(name)
    with console.stage("base") as stage:
        stage.note(definition.name)
        base = bases.obtain(
            definition,
            update=update,
            console=console,
            accelerator=accelerator.choose(accel.value if accel else settings.value("FACTORY_ACCEL")),
            connect=_libvirt(connect),
        )
        if base.cached:
            stage.cached(base.why)
    console.close()
    typer.echo(base.reference)


@bases_app.command("build")
def bases_build(context: typer.Context, name: str, accel: Accel = None, connect: Connect = "") -> None:
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


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: clean up as for Ctrl-C."""


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(signal.Signals(number).name)


def main() -> None:
    """Run the command line; the exit status says how it ended."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale without UTF-8 is no reason to fail
    status = 0
    try:
        _run(sys.argv[1:])
    except typer.Exit as end:
        status = end.exit_code
    except FactoryError as error:
        status = _show(error)
    except KeyboardInterrupt:
        _close()
        _note("interrupted; everything is cleaned up")
        status = 130
    except BrokenPipeError:
        if not _unread():
            _close()
            raise
    except Exception as error:  # noqa: BLE001 - raised again unless it is the command line's own
        status = _usage(error)
    sys.exit(status)


def _run(arguments: list[str]) -> None:
    """Typer's own ``main`` would swallow an interrupt, and any broken pipe."""
    command = typer.main.get_command(app)
    with command.make_context("factory", arguments) as context:
        command.invoke(context)


def _unread() -> bool:
    """Whether it is our standard output that nobody reads any more; then nothing more is written to it."""
    poll = select.poll()
    poll.register(1, 0)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left must not fail again at the end of the process
    return True


def _show(error: FactoryError) -> int:
    from factory.console import Console

    console = _current or Console.create(_log_format)
    console.close()
    console.error(error)
    return error.status


def _usage(error: Exception) -> int:
    """The command line's own errors; anything else is a defect and shows its traceback."""
    show, context = getattr(error, "show", None), getattr(error, "ctx", None)
    if show is None or not hasattr(error, "format_message"):
        _close()
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        show(file=sys.stderr)
        return 2
    text = str(error.format_message()).replace("Value error, ", "")
    path = context.command_path if context else "factory"
    return _show(UsageError(text, hint=f"'{path} --help' shows how it is used", code="usage.command-line"))


def _close() -> None:
    if _current is not None:
        _current.close()


def _note(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
