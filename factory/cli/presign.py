"""``factory presign``: a fresh URL for an image that is in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import AsJson, Output, only, seconds_of
from factory.cli.root import app, console_for
from factory.errors import UsageError

Expires = Annotated[
    str, typer.Option("--expires", metavar="DURATION", help="How long the URL lives, such as 24h or 3d.")
]
UrlFile = Annotated[
    Path | None, typer.Option("--url-file", metavar="FILE", help="Write the URL there, for this account only (0600).")
]


@app.command()
def presign(
    context: typer.Context,
    build: Annotated[str, typer.Argument(metavar="BUILD", help="A build's directory or id, a recipe, or an image.")],
    targets: Annotated[
        list[str],
        typer.Option(
            "--target",
            "-t",
            metavar="T",
            help="The cloud that will fetch it; default that of its last publication, else the build's, else generic.",
        ),
    ] = [],  # noqa: B006
    expires: Expires = "24h",
    head: Annotated[bool, typer.Option("--head", help="Sign for HEAD, which a URL for GET does not allow.")] = False,
    url_file: UrlFile = None,
    output: Output = Path("out"),
    as_json: AsJson = False,
) -> None:
    """Print a fresh URL for an uploaded image. Whoever has it may read the image until it ends."""
    from factory.publish import artefacts, signing

    console = console_for(context)
    target, seconds = only(targets), seconds_of(expires, "--expires")
    if url_file:
        signing.check_place(url_file)
    artefact = artefacts.of(artefacts.find(build, output), failure=UsageError)
    if not target:
        artefact, target = signing.where_published(artefact, console)
    url = signing.fresh(artefact, target, seconds, console, head=head)
    console.say(f"It ends at {url.expires:%Y-%m-%d %H:%M:%S} UTC" + (f": {url.note}." if url.note else "."))
    console.close()
    if url_file:
        signing.write(url_file, url)
    data = {"schema": 1, "expires": url.expires.isoformat(), "method": url.method, "note": url.note}
    if as_json:
        typer.echo(json.dumps(data if url_file else data | {"url": url.secret}, indent=2))
    elif not url_file:
        typer.echo(url.secret)
