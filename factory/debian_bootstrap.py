"""The root file system of a Debian base by mmdebstrap: the packages of a release, from a signed archive, as a tar."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from factory import apt_pins, debian_files, http, mirror
from factory.console import Console
from factory.errors import BaseError, CommandFailed, HostError
from factory.files import touching
from factory.processes import abandoned, mark
from factory.run import AS_NAMESPACE_ROOT, find, run

PREFIX = "image-factory-"
PINS = "etc/apt/preferences.d/factory-base"  # only while the base is made, as are
AUTHORITIES = "etc/apt/apt.conf.d/90factory-base"
MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")
LEFT_BY_MMDEBSTRAP = ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap")


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
    temporary = tree.with_name("temporary.tar")
    only_now = {PINS: debian_files.File(apt_pins.preferences(missing))} if missing else {}
    argv: list[str | Path] = ["mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(packages)}"]
    argv += [f"--mode={'root' if os.geteuid() == 0 else 'unshare'}"]
    argv += ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"]
    argv += [f"--keyring={source.keyring}", f"--setup-hook=tar-in {temporary} /", f"--essential-hook=tar-in {early} /"]
    argv += _merged_usr(suite)
    argv += [f'--customize-hook=cd "$1" && rm -f {shlex.join([PINS, AUTHORITIES, *LEFT_BY_MMDEBSTRAP])}']
    argv += [suite, tree, *mirror.source_lines(suite, source.uri, source.security_uri)]
    tree.unlink(missing_ok=True)
    with _place(tree.parent) as place:
        if bundle := http.ca_file():
            with touching(bundle, "Reading certificates"):
                trusted = Path(shutil.copy(bundle, place / "authorities.pem"))
            trusted.chmod(0o644)
            only_now[AUTHORITIES] = debian_files.File(f'Acquire::https::CAInfo "{trusted}";\n')
        temporary.write_bytes(debian_files.archive(only_now))
        run(
            [*_apart(), *argv],
            reason="to build a base image from the Debian archive",
            env={"TMPDIR": str(place)},
            timeout=3600,
        )


def _merged_usr(suite: str) -> list[str]:
    """/bin, /sbin and /lib as links, as the release's installer makes them; what mmdebstrap has not is left to apt."""
    setup = MERGED_USR / "setup00.sh"
    if suite == "bullseye":  # without a package that wants it
        purge = '--customize-hook=chroot "$1" dpkg --purge usr-is-merged'  # a dummy of the hook
        return [f"--setup-hook={setup}", purge] if setup.is_file() else []
    return [f"--hook-dir={MERGED_USR}"] if suite == "bookworm" and setup.is_file() else []


def _apart() -> list[str]:
    """Root's mmdebstrap mounts into the tree: in name spaces of its own, all that ends with it, killed or not.

    The ordinary user's makes such name spaces itself.
    """
    argv = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    if os.geteuid() != 0:
        return []
    find("mmdebstrap", reason="to build a base image from the Debian archive")  # unshare's own words would be poorer
    # A container may forbid it; mmdebstrap then does without mounts, too.
    allowed = run([*argv, "true"], reason="to keep mounts from this host", package="util-linux", allowed=range(256))
    return argv if allowed.status == 0 else []


@contextlib.contextmanager
def _place(work: Path) -> Iterator[Path]:
    """Where mmdebstrap unpacks. Root of a user name space cannot pass our private folders, so that is elsewhere."""
    if os.geteuid() == 0:
        yield work
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{mark()}-"))
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a work folder, with the files in it that a user name space's root made."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() != 0:
        run([*AS_NAMESPACE_ROOT, "rm", "-rf", folder], reason="to remove an unfinished base", allowed=range(256))


def reap(*, dry_run: bool = False) -> list[Path]:
    """Remove the places of runs that were killed; says which. With *dry_run* only the latter."""
    ours = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*-*-*"):
        with contextlib.suppress(OSError):  # removed by another process just now
            status = path.lstat()
            if status.st_uid == os.geteuid() and abandoned(path.name, written=status.st_mtime):
                ours.append(path)
    for path in () if dry_run else ours:
        remove(path)
    return ours


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
