"""``factory check``: any image against the rules of a cloud, offline."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factory.cli.answers import answer
from factory.cli.root import app, table
from factory.errors import FactoryError, HostError, ImageRefused, UsageError

if TYPE_CHECKING:
    from factory.findings import Finding, Findings
    from factory.targets import Rule, Target


SHOWN = 4 << 30  # bytes; what is larger is seen to be read


class Format(StrEnum):
    """How findings are written; the members of factory/report."""

    text = "text"
    json = "json"
    junit = "junit"
    sarif = "sarif"


@app.command()
def check(
    image: Annotated[
        Path | None, typer.Argument(metavar="[IMAGE]", help="Any disk image, or an .oci or tar.gz archive of one.")
    ] = None,
    target: Annotated[
        list[str], typer.Option("--target", "-t", metavar="T", help="The cloud; may be repeated; default mgc.")
    ] = [],  # noqa: B006
    report: Annotated[
        Format, typer.Option("--format", case_sensitive=False, help="How the findings are written.")
    ] = Format.text,
    ignore: Annotated[
        list[str], typer.Option("--ignore", metavar="RULE=REASON", help="Accept what a rule finds; kept on record.")
    ] = [],  # noqa: B006
    allow_user: Annotated[
        list[str], typer.Option("--allow-user", metavar="NAME", help="An account that the image may have.")
    ] = [],  # noqa: B006
    explain: Annotated[
        str, typer.Option("--explain", metavar="RULE", help="Say what a rule wants, and why; all: list them.")
    ] = "",
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be, in a copy; needs --output.")] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="NEW", help="The repaired copy.")] = None,
) -> None:
    """Check an image offline against a cloud's rules. It is only read, never booted."""
    from factory import targets

    wanted = [targets.load(name) for name in dict.fromkeys(target or ["mgc"])]
    rules = {rule.id: rule for each in wanted for rule in targets.rules(each)}
    if explain:
        typer.echo(_explanation(explain, report, rules, wanted), nl=False)
        return
    ignored = _ignored(ignore, rules)
    path = _file(image)
    if fix != (output is not None):
        raise UsageError(
            "--fix and --output belong together",
            hint="Write 'factory check --fix IMAGE --output NEW'; the image itself is never changed",
            code="usage.output",
        )
    if output is not None and not output.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {output.absolute().parent} for the copy",
            hint="Make it first",
            command=f"mkdir -p {shlex.quote(str(output.absolute().parent))}",
            code="usage.output",
        )
    document, failure = _checked(path, wanted, ignored, allow_user)
    if output is not None and failure is None:
        from factory.fixing import fix as repair

        try:
            for line in repair(path, wanted[0], document.findings, output):
                typer.echo(line, err=True)
        except UsageError:
            raise
        except FactoryError as error:
            failure = error if isinstance(error, HostError | ImageRefused) else _not_repaired(path, error)
        else:
            path = output
            document, failure = _checked(path, wanted, ignored, allow_user)
    from factory import report as reports

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    answer(reports.write(report.value, reports.Report(document, rules, colour)), newline=False)
    if failure is not None:
        raise failure
    from factory.findings import failed

    bad = failed(document.findings)
    if bad:
        raise ImageRefused(
            f"{len(bad)} of {len(document.findings)} findings refuse {path.name}: {', '.join(_rules(bad))}",
            cause=bad[0].line,
            hint=f"'factory check --explain {bad[0].rule}' says more",
            command=bad[0].fix.strip(),
        )


def _not_repaired(path: Path, error: FactoryError) -> ImageRefused:
    """A repair that a program of this host, or the image itself, did not let end: no build failed here."""
    return ImageRefused(
        f"{path.name} could not be repaired",
        cause=f"{error.message.rstrip('.')}. {error.cause}".strip(),
        hint=error.hint,
        output=error.output,
        command=error.command,
    )


def _checked(
    path: Path, wanted: list[Target], ignored: dict[str, str], allow_users: list[str]
) -> tuple[Findings, FactoryError | None]:
    """The findings on the file *path*; of what this host lacks both the finding and the error."""
    from factory import checking, checks, libraries
    from factory.findings import Findings

    digest: str | None = None
    failure: FactoryError | None = None
    try:
        digest = _digest(path, wanted)
        known = checking.Known(allow_users=tuple(allow_users), sha256=digest)
        findings = checking.ignoring(checking.check(path, wanted, known), ignored)
    except (HostError, ImportError) as error:
        failure = error if isinstance(error, HostError) else libraries.lacking(error)
        findings = [checks.unseen(None, str(failure), failure.command or failure.hint)]
    document = {
        "schema": 1,
        "image": path.name.encode("utf-8", "replace").decode(),
        "sha256": digest,
        "target": ",".join(each.name for each in wanted),
        "findings": tuple(findings),
    }
    return Findings.model_validate(document), failure


def _digest(path: Path, wanted: list[Target]) -> str | None:
    """The sha256 of the file *path*; on a terminal a long one shows how far it is."""
    from factory import checking, files
    from factory.console import Console

    with files.touching(path, "Reading an image"):
        long = sys.stderr.isatty() and path.stat().st_size > SHOWN
    console = Console.create() if long else Console.quiet()
    try:
        with console.stage("sha256") as stage:
            return checking.digest(path, wanted, stage)
    finally:
        console.close()


def _file(image: Path | None) -> Path:
    if image is None:
        raise UsageError(
            "no image is named", hint="Write 'factory check IMAGE', or '--explain RULE'", code="usage.command-line"
        )
    from factory import given_file

    return given_file.require(image)


def _ignored(words: list[str], rules: dict[str, Rule]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, _, reason = word.partition("=")
        if not reason.strip():
            raise UsageError(
                f"--ignore {word} gives no reason", hint="Write --ignore RULE='why it is fine'", code="usage.ignore"
            )
        found |= dict.fromkeys(_named(name, rules), reason.strip())
    return found


def _named(name: str, rules: dict[str, Rule]) -> tuple[str, ...]:
    """The ids of the rules that *name* means, which may be another name that they cover."""
    from factory import rule_names

    names = rule_names.of_rules(rules.values())
    if name.upper() not in names:
        near = difflib.get_close_matches(name.upper(), names, n=1)
        raise UsageError(
            f"there is no rule {name!r}",
            cause=f"Did you mean {near[0]}?" if near else "",
            hint="'factory check --explain all' lists the rules",
            code="usage.rule",
        )
    return names[name.upper()]


def _rules(findings: list[Finding]) -> list[str]:
    return list(dict.fromkeys(finding.rule for finding in findings))


def _explanation(name: str, form: Format, rules: dict[str, Rule], wanted: list[Target]) -> str:
    """What ``--explain`` prints of the rule *name*, or of all."""
    from factory import checks

    every = name.strip().lower() == "all"
    asked = list(rules.values()) if every else [rules[each] for each in _named(name.strip(), rules)]
    if form is Format.json:
        listed = [each.model_dump(mode="json") | {"looks_at": checks.about(each.check)} for each in asked]
        document = {"schema": 1, "target": ",".join(each.name for each in wanted), "rules": listed}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if form is not Format.text:
        raise UsageError(
            f"--explain writes no {form.value}",
            hint="Write '--format json' or nothing",
            code="usage.command-line",
        )
    if every:
        rows = [[each.id, each.severity, each.title] for each in asked]
        return table([["rule", "severity", "what holds when it is kept"], *rows]) + "\n"
    return "\n".join(_explained(each, wanted) for each in asked)


def _explained(rule: Rule, wanted: list[Target]) -> str:
    from factory import checks

    facts = [
        ("rule", f"{rule.id}: {rule.title}"),
        ("also named", ", ".join(rule.covers)),
        ("target", ", ".join(each.name for each in wanted)),
        ("severity", rule.severity),
        ("looks at", checks.about(rule.check)),
        ("parameters", ", ".join(f"{name}: {value}" for name, value in rule.parameters.items())),
        ("why", rule.why),
        ("fix", rule.fix.strip().replace("{subject}", "PATH").replace("\n", "\n" + " " * 13)),
        ("source", rule.source),
        ("verified on", rule.verified_on),
    ]
    return "".join(f"{name + ':':<13}{value}\n" for name, value in facts if value)
