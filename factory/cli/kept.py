"""``factory ssh``, ``factory console``, ``factory retry``: builds that were kept when they failed."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from factory.cli.options import Set, read_once, settings_of
from factory.cli.root import app, call, console_for

Build = Annotated[str, typer.Argument(metavar="[BUILD]", help="A build id or a recipe's name; without: the last kept.")]


@app.command(context_settings={"allow_interspersed_args": False})
def ssh(
    build: Build = "",
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND...]", help="Run this in the guest, in place of a shell.")
    ] = None,
) -> None:
    """Log in to the machine of a failed build that was kept."""
    from factory import kept, run

    words = command or []
    if words[:1] == ["--"]:  # as one may write before a command with options
        words = words[1:]
    run.become(kept.ssh_words(kept.find(build), words), reason="to log in to a machine", package="openssh-client")


@app.command()
def console(
    build: Build = "",
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until the machine ends.")] = True,
) -> None:
    """Show and follow the serial console of a build that was kept."""
    from factory import kept

    for text in kept.console_of(kept.find(build), follow=follow):
        typer.echo(text, nl=False)


@app.command()
def retry(
    context: typer.Context,
    build: Build = "",
    values: Set = [],  # noqa: B006
) -> None:
    """Build a kept recipe again, as it was called. Steps that were done are taken from their layers."""
    from factory import kept, ledger, settings
    from factory.plan import make_plan

    entry = kept.find(build)
    words = kept.again(entry, [read_once(value) for value in values])
    plan = make_plan(words[1], settings=settings_of([*kept.settings_in(words)]))  # before what is kept goes
    ledger.drop(settings.state_dir(), entry)
    console = console_for(context)
    for secret in plan.recipe.secrets:
        console.redact(secret)
    console.say(f"Again: factory {shlex.join(console.safe(word) for word in words)}")
    # What failed was begun although an earlier image may be good: that one is no answer now either.
    call(["--log-format", context.obj, *words, "--again"])  # it reads the options of the whole command line anew
