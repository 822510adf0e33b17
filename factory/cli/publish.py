"""``factory publish``: an image goes into a cloud."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factory.cli.options import AsJson, IfExists, LogFormatHere, Output, given, only, seconds_of
from factory.cli.presign import Expires, UrlFile
from factory.cli.root import app, console_for
from factory.errors import UsageError

if TYPE_CHECKING:
    from factory.publish.publishing import Published


@app.command()
def publish(
    context: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(metavar="BUILD-or-IMAGE", help="A build, a recipe's name for its latest, or an image file."),
    ] = "",
    targets: Annotated[
        list[str], typer.Option("--target", "-t", metavar="T", help="The cloud; default the build's own.")
    ] = [],  # noqa: B006
    name: Annotated[str, typer.Option("--name", help="In the cloud; default NAME-VERSION, with dashes for dots.")] = "",
    description: Annotated[str, typer.Option("--description", help="Default the recipe's.")] = "",
    version: Annotated[str, typer.Option("--version", help="Default the recipe's.")] = "",
    uefi: Annotated[bool, typer.Option("--uefi", help="Machines of this image boot with UEFI.")] = False,
    vcpus: Annotated[
        int | None, typer.Option("--vcpus", min=1, help="The least a machine needs; default the recipe's, else 1.")
    ] = None,
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="Likewise: 4GiB, or 4 for the same.")] = "",
    disk: Annotated[str, typer.Option("--disk", metavar="SIZE", help="Likewise; default the image's own disk.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the request; upload nothing, call nobody.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End when the cloud has taken the request.")] = False,
    resume: Annotated[str, typer.Option("--resume", metavar="ID", help="Wait for an import that was begun.")] = "",
    if_exists: Annotated[
        IfExists, typer.Option("--if-exists", help="skip: an image of this name is taken as it is.")
    ] = IfExists.fail,
    delete_failed: Annotated[
        bool, typer.Option("--delete-failed", help="Delete an image of this name whose import failed, if it was ours.")
    ] = False,
    expires: Expires = "24h",
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long to wait for the import.")] = "12h",
    print_url: Annotated[
        bool, typer.Option("--print-url", help="Print the URL, which whoever has it can use.")
    ] = False,
    url_file: UrlFile = None,
    output: Output = Path("out"),
    as_json: AsJson = False,
    log_format: LogFormatHere = None,
) -> None:
    """Check, upload and import an image; prints the cloud's id of it."""
    from factory.publish.importer import Wishes

    wishes = Wishes(
        name=name,
        description=description,
        version=version,
        uefi=uefi,
        vcpus=vcpus or 0,
        memory=_gigabytes("--memory", memory),
        disk=_gigabytes("--disk", disk),
        if_exists=if_exists.value,
        delete_failed=delete_failed,
        wait=0 if no_wait else seconds_of(timeout, "--timeout"),
    )
    target = only(targets)
    life = seconds_of(expires, "--expires")
    _agree(subject, resume, given(context))
    console = console_for(context, log_format)
    from factory.publish import publishing
    from factory.publish.gate import artefact_of

    if resume:
        published = publishing.resume(resume, target, wishes, console)
    else:
        artefact = artefact_of(subject, output, console)
        where = target or _own_target(artefact.folder)
        if dry_run:
            planned = publishing.plan(artefact, where, wishes, console, life=life, show_url=print_url)
            console.close()
            typer.echo(json.dumps({"schema": 1, "request": planned.data}, indent=2) if as_json else planned.text)
            return
        published = publishing.publish(
            artefact, where, wishes, console, life=life, url_file=url_file, show_url=print_url
        )
    console.close()
    _print(published, as_json=as_json, print_url=print_url)


WITH_RESUME = {"--resume", "--target", "--no-wait", "--timeout", "--output", "--json", "--log-format"}


def _agree(subject: str, resume: str, options: set[str]) -> None:
    """Raise UsageError for options that say different things, or nothing together. *options* are those given."""
    fault = ""
    if bool(subject) == bool(resume):
        fault = "name one thing to publish, or the id of an import to wait for"
    elif resume and (more := sorted(options - WITH_RESUME)):
        fault = f"--resume only waits for an import that was begun, so {', '.join(more)} can do nothing"
    elif {"--no-wait", "--timeout"} <= options:
        fault = "--no-wait waits for nothing, so --timeout can do nothing"
    elif {"--dry-run", "--url-file"} <= options:
        fault = "--dry-run writes nothing, so --url-file can do nothing; --print-url shows the URL"
    if fault:
        raise UsageError(
            fault,
            hint="Write 'factory publish BUILD --target mgc', or 'factory publish --resume ID'",
            code="usage.command-line",
        )


def _print(published: Published, *, as_json: bool, print_url: bool) -> None:
    url = published.url.secret if published.url and print_url else ""
    if as_json:
        data = {"publication": published.brought.as_dict(), "object": published.stored and vars(published.stored)}
        typer.echo(json.dumps({"schema": 1, **data, **({"url": url} if url else {})}, indent=2))
        return
    typer.echo(published.brought.id or published.brought.name)
    if url:
        typer.echo(url)


def _own_target(folder: Path | None) -> str:
    """The target of a build that has exactly one."""
    from factory.manifest import read_manifest

    found = read_manifest(folder).targets if folder else ()
    if len(found) != 1:
        raise UsageError(
            "it is not said which cloud the image goes to",
            cause=f"The build names {', '.join(found)}" if found else "",
            hint="Write '--target mgc'",
            code="usage.target",
        )
    return found[0]


def _gigabytes(option: str, text: str) -> int:
    """The cloud's whole GB in *text*: ``4``, ``4GB``, ``4GiB``, ``1536MiB`` (2). 0 when nothing is asked for."""
    from factory.units import GIB, parse_size

    if not text:
        return 0
    bare = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:GB)?\s*", text, re.IGNORECASE)
    try:
        size = int(bare[1]) * GIB if bare else parse_size(text)
    except ValueError as error:
        raise _wrong(option, text, str(error)) from None
    if size <= 0:
        raise _wrong(option, text, "must be more than nothing")
    return -(-size // GIB)


def _wrong(option: str, text: str, why: str) -> UsageError:
    return UsageError(
        f"{option} {text[:40]!r} {why}",
        hint="'factory publish --help' shows how it is used",
        code="usage.command-line",
    )
