"""The root file system of a Debian base by mmdebstrap: the packages of a release, from a signed archive, as a tar."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from factory import apt_pins, debian_files, mirror
from factory.console import Console
from factory.errors import BaseError, CommandFailed, HostError
from factory.run import run

PINS = "etc/apt/preferences.d/factory-base"  # only while the base is made


def bootstrap(suite: str, source: mirror.Mirror, packages: Sequence[str], tree: Path, console: Console) -> list[str]:
    """Write the root file system with *packages* and all they need to *tree*, a tar.

    A mirror may lack a package that its signed index names. The release's next older version is taken then, and the
    missing ones are returned (``name=version``) and told. Raises BaseError and HostError.
    """
    missing: dict[str, str] = {}
    while True:
        try:
            _mmdebstrap(suite, source, packages, tree, missing)
        except CommandFailed as error:
            output = error.output
            lacking = apt_pins.missing(output)
            if len(missing) >= apt_pins.TRIES or lacking.items() <= missing.items():
                raise explained(suite, source, output) from error
            missing |= lacking
            named = ", ".join(f"{name} {version}" for name, version in lacking.items())
            console.warn(f"The mirror {source.uri} lacks {named}, which its index names: taking the older version")
            continue
        return [f"{name}={version}" for name, version in sorted(missing.items())]


def _mmdebstrap(
    suite: str, source: mirror.Mirror, packages: Sequence[str], tree: Path, missing: dict[str, str]
) -> None:
    early = tree.with_name("early.tar")
    early.write_bytes(debian_files.archive(debian_files.EARLY))
    pins = tree.with_name("pins.tar")
    pins.write_bytes(debian_files.archive({PINS: debian_files.File(apt_pins.preferences(missing))} if missing else {}))
    argv: list[str | Path] = ["mmdebstrap", "--variant=apt", "--format=tar", f"--include={','.join(packages)}"]
    argv += [f"--mode={'root' if os.geteuid() == 0 else 'unshare'}"]
    argv += ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"]
    argv += [f"--keyring={source.keyring}", f"--setup-hook=tar-in {pins} /", f"--essential-hook=tar-in {early} /"]
    argv += [f'--customize-hook=rm -f "$1"/{PINS}']
    argv += [suite, tree, *mirror.source_lines(suite, source.uri, source.security_uri)]
    environment = {"TMPDIR": str(tree.parent)} if os.geteuid() == 0 else {}
    tree.unlink(missing_ok=True)
    run(argv, reason="to build a base image from the Debian archive", env=environment, timeout=3600)


def explained(suite: str, source: mirror.Mirror, output: str) -> BaseError | HostError:
    """What mmdebstrap's *output* means for people."""
    if re.search(r"404 +Not Found", output):
        return BaseError(
            f"the Debian archive names packages of {suite} that it does not have",
            cause=f"The mirror {source.uri} ({source.source}) is being updated, or the release has moved away",
            hint="Try again in an hour, or name another mirror in FACTORY_MIRROR",
            output=output,
            code="base.archive-incomplete",
        )
    if re.search(
        r"Could not resolve|Failed to fetch|Could not connect|Connection (?:failed|refused|timed out)", output
    ):
        return BaseError(
            f"the Debian archive did not answer while {suite} was built",
            cause=f"The mirror is {source.uri} (from {source.source})",
            hint="Check the network and http_proxy, or name another mirror in FACTORY_MIRROR",
            output=output,
            code="base.archive-unreachable",
        )
    if "unshare" in output and os.geteuid() != 0:
        return HostError(
            "mmdebstrap may not use user name spaces here",
            cause="An ordinary user builds a base through them",
            hint="Add this user to /etc/subuid and /etc/subgid (usermod --add-subuids 100000-165535 --add-subgids "
            "100000-165535 $USER), and allow unprivileged user name spaces",
            output=output,
            code="host.user-namespaces",
        )
    if "No space left" in output:
        return HostError(
            "the disk filled up while the base was built",
            hint="Free some space, or set FACTORY_STATE elsewhere",
            output=output,
            code="host.disk-space",
        )
    return BaseError(
        f"mmdebstrap could not build {suite}",
        cause="Its last lines are below",
        hint="A mirror in the middle of an update is the common cause: try again, or set FACTORY_MIRROR",
        output=output,
        code="base.bootstrap",
    )
