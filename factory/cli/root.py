"""The command line's own object, which the verbs register with, and the console of this run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from factory import __version__
from factory.cli.options import LogFormat

if TYPE_CHECKING:
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
images_app = typer.Typer(help="The images built here: list, show, prune.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bases_app, name="bases")
app.add_typer(images_app, name="images")

_current: Console | None = None
_log_format: Literal["text", "json"] = "text"


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


def console_for(context: typer.Context, log_format: LogFormat | None = None) -> Console:
    """The console of this run, made now in the format that the verb or the whole command line asks for."""
    from factory import mirror
    from factory.console import Console

    console = Console.create("json" if (log_format or context.obj) in ("json", LogFormat.json) else "text")
    for secret in mirror.proxy_secrets():
        console.redact(secret)
    global _current
    _current = console
    return console


def call(arguments: list[str]) -> None:
    """Run a command line. Typer's own ``main`` would swallow an interrupt, and any broken pipe."""
    command = typer.main.get_command(app)
    with command.make_context("factory", arguments) as context:
        command.invoke(context)


def last_console() -> Console:
    """The console to tell an error on: the one of this run, or a new one when no verb made any."""
    from factory.console import Console

    return _current or Console.create(_log_format)


def close_console() -> None:
    """Leave the terminal as it was."""
    if _current is not None:
        _current.close()


def table(rows: Sequence[Sequence[str]]) -> str:
    """*rows* as a table, the first one its head: as wide as the terminal, or with a line for each row for programs."""
    from factory.console import summary
    from factory.console.terminal import width_of_output

    return summary(rows, width=width_of_output())


def first_line(finding: Any) -> str:
    """The first line of a finding's evidence, for one row of a table."""
    return str(finding.evidence).split("\n", 1)[0][:200]
