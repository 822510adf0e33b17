"""The only place that starts programs on this host.

Always an argv list, the C locale, a closed standard input, and the allowed exit statuses named.
A failure carries a line that can be pasted into a shell, and the end of what the program printed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from factory import processes
from factory.errors import CommandFailed, HostError

AS_NAMESPACE_ROOT = ("unshare", "--user", "--map-root-user", "--map-auto", "--")
"""Before an argv: an ordinary user is root there, over files of that user's own subordinate ids."""
RUN_AS = "The line below is how it was run"
TAIL = 4000  # characters of output kept in an error

_PASSED = frozenset(
    (
        *("HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD"),
        *("SOURCE_DATE_EPOCH", "APT_CONFIG", "GNUPGHOME"),
    )
)
_FETCHING = frozenset(("apt-get", "mmdebstrap"))
_PROXIES = frozenset(("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"))


@dataclass(frozen=True)
class Completed:
    """A program that ended: its argv, exit status, what it printed and how long it took (seconds)."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    seconds: float


def find(program: str, *, reason: str, package: str = "") -> str:
    """The path of *program*, or a HostError that says what it is needed for and which package has it."""
    search = _search_path()
    path = shutil.which(program, path=search)
    if path is None:
        raise HostError(
            f"{program} is not installed, and it is needed {reason}",
            hint=f"Run 'make setup', or install the package {package or program}",
            code="host.tool-missing",
        )
    return path


def _search_path() -> str:
    """Where programs are: an ordinary user's PATH lacks the sbin folders on Debian."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def environment(extra: Mapping[str, str] | None = None, *, argv: Sequence[str | Path] = ()) -> dict[str, str]:
    """The environment of a child: what any program may know of ours, the C locale with UTF-8 for names, and *extra*.

    Named is what passes and not what is held back: a credential may have any name, and programs that read hostile
    disks are among the children. The proxies, which can hold a password, are for an *argv* that fetches.
    """
    fetches = not _FETCHING.isdisjoint(map(str, argv))
    proxies = {name: value for name, value in os.environ.items() if fetches and name.lower() in _PROXIES}
    ours = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "PATH": _search_path(), processes.VARIABLE: processes.mark()}
    return _passed() | proxies | ours | dict(extra or {})


def _passed() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith("XDG_")}


def run(
    argv: Sequence[str | Path],
    *,
    reason: str,
    package: str = "",
    allowed: Sequence[int] = (0,),
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    limits: Sequence[str] = (),
) -> Completed:
    """Run a program to its end. *reason* completes "it is needed ..."; *timeout* is in seconds.

    *limits* are options of prlimit, for a program that reads what may be hostile.

    Raises HostError when the program is absent and CommandFailed when it fails or takes too long.
    """
    words = [find(str(argv[0]), reason=reason, package=package), *map(str, argv[1:])]
    shown = shlex.join(map(str, argv))
    within = [find("prlimit", reason=reason, package="util-linux"), *limits] if limits else []
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*within, *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            cwd=cwd,
            env=environment(env, argv=argv),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"{words[0]} did not end within {timeout:.0f} s",
            hint=RUN_AS,
            command=shown,
            output=_text(error.stderr)[-TAIL:],
            code="build.command-timeout",
        ) from None
    completed = Completed(
        tuple(words), done.returncode, _text(done.stdout), _text(done.stderr), time.monotonic() - start
    )
    return _judged(completed, shown, allowed)


def stream(
    argv: Sequence[str | Path],
    *,
    on_output: Callable[[str], None],
    reason: str,
    package: str = "",
    allowed: Sequence[int] = (0,),
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """As :func:`run`, and *on_output* gets each piece of standard output (maybe part of a line) as it comes.

    The program is killed when this call is left for any reason: an interrupt, or an error of *on_output*.
    """
    words = [find(str(argv[0]), reason=reason, package=package), *map(str, argv[1:])]
    shown = shlex.join(map(str, argv))
    begin = time.monotonic()
    pieces: list[bytes] = []
    with tempfile.TemporaryFile() as errors, selectors.DefaultSelector() as selector:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=cwd,
            env=environment(env, argv=argv),
        )
        try:
            assert child.stdout is not None
            selector.register(child.stdout, selectors.EVENT_READ)
            while True:
                left = None if timeout is None else begin + timeout - time.monotonic()
                if left is not None and (left <= 0 or not selector.select(left)):
                    raise CommandFailed(
                        f"{words[0]} did not end within {timeout:.0f} s",
                        hint=RUN_AS,
                        command=shown,
                        code="build.command-timeout",
                    )
                piece = os.read(child.stdout.fileno(), 65536)
                if not piece:
                    break
                pieces.append(piece)
                on_output(_text(piece))
            child.wait()
        finally:
            end(child)
        errors.seek(0)
        completed = Completed(
            tuple(words), child.returncode, _text(b"".join(pieces)), _text(errors.read()), time.monotonic() - begin
        )
    return _judged(completed, shown, allowed)


def start(
    argv: Sequence[str | Path],
    *,
    reason: str,
    package: str = "",
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """A program to talk with through pipes on its standard input and output; *env* is its environment, and our mark.

    The caller ends it with :func:`end`. *pass_fds* are the descriptors that it inherits.
    """
    words = [find(str(argv[0]), reason=reason, package=package), *map(str, argv[1:])]
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        env={processes.VARIABLE: processes.mark(), **(env or {})},
        cwd="/",
        bufsize=0,
    )


def become(argv: Sequence[str], *, reason: str, package: str = "") -> NoReturn:
    """Let a program take our place, with our terminal and the user's locale: the user talks to it from now on."""
    program = find(argv[0], reason=reason, package=package)
    locale = {name: value for name, value in os.environ.items() if name.startswith(("LC_", "LANG"))}
    sys.stdout.flush()
    os.execve(program, [argv[0], *argv[1:]], _passed() | {"PATH": _search_path()} | locale)  # noqa: S606 - argv, no shell


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill *child* if it still runs, reap it and close our ends of its pipes."""
    if child.poll() is None:
        child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # a write that never got through
                pipe.close()


def _judged(completed: Completed, shown: str, allowed: Sequence[int]) -> Completed:
    if completed.status not in allowed:
        raise CommandFailed(
            f"{Path(completed.argv[0]).name} ended with status {completed.status}{_signal(completed.status)}",
            cause=_last_line(completed.stderr or completed.stdout),
            hint=RUN_AS,
            command=shown,
            output=(completed.stderr or completed.stdout)[-TAIL:],
        )
    return completed


def _signal(status: int) -> str:
    """The signal that ended a program, such as SIGXCPU at the limit of its time."""
    with contextlib.suppress(ValueError):
        return f" ({signal.Signals(-status).name})"
    return ""


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
