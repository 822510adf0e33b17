"""The command line: exit statuses, and the only place that prints an error and exits. Each verb is a module.

Results go to standard output; progress, logs and errors to standard error. Heavy modules are imported by the verb
that needs them, so that ``factory --help`` stays quick.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from factory import interrupts, libraries
from factory.errors import FactoryError, HostError, UsageError
from factory.files import DISK, disk_of
from factory.quoting import quote

try:
    import typer

    # isort: off - they register their verbs in the order in which "factory --help" lists them
    from factory.cli import (
        bases,  # noqa: F401
        build,  # noqa: F401
        check,  # noqa: F401
        host,  # noqa: F401
        images,  # noqa: F401
        kept,  # noqa: F401
        presign,  # noqa: F401
        publish,  # noqa: F401
        recipes,  # noqa: F401
        test,  # noqa: F401
    )
    from factory.cli.answers import drop, unread
    from factory.cli.root import call, close_console, last_console

    # isort: on
except ImportError as missing:  # before there is a console to tell it on
    told = libraries.lacking(missing)
    sys.stderr.write(f"error: {told} [{told.code}]\n")
    raise SystemExit(3) from None


def main() -> None:
    """Run the command line; the exit status says how it ended."""
    _open_what_is_closed()
    interrupts.install()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale without UTF-8 is no reason to fail
    status = 0
    try:
        call(sys.argv[1:])
    except typer.Exit as end:
        status = end.exit_code
    except FactoryError as error:
        status = _show(error)
    except ImportError as error:
        status = _show(libraries.lacking(error))
    except KeyboardInterrupt:
        _interrupted("interrupted; everything is cleaned up")
        status = interrupts.STATUS
    except BrokenPipeError:
        if not unread():
            close_console()
            raise
    except Exception as error:  # noqa: BLE001 - raised again unless it is the command line's own
        status = _usage(error)
    sys.exit(status)


def _open_what_is_closed() -> None:
    """Who started us may have closed a standard stream (``2>&-``); no file of ours may come to stand in its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _show(error: FactoryError) -> int:
    console = last_console()
    console.close()
    console.error(error)
    return error.status


def _usage(error: Exception) -> int:
    """The command line's own errors; anything else is a defect and shows its traceback."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG and isinstance(error.filename, str):
        return _show(
            UsageError(
                f"{quote(error.filename, 200)} is too long for the name of a file",
                hint="Check the path",
                code="usage.command-line",
            )
        )
    if isinstance(error, OSError) and error.errno in DISK:
        try:
            sys.stdout.flush()
        except OSError:
            drop()
        try:
            with disk_of("Writing"):
                raise error
        except HostError as told:
            return _show(told)
    show, context = getattr(error, "show", None), getattr(error, "ctx", None)
    if show is None or not hasattr(error, "format_message"):
        close_console()
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        show(file=sys.stderr)
        return 2
    text = " ".join(str(error.format_message()).replace("Value error, ", "").split())
    path = context.command_path if context else "factory"
    hint = f"'{path} --help' shows how it is used"
    if path == "factory" and text.startswith("No such option"):
        text = text.partition(" (")[0]  # what it takes for likely is not: the option belongs to a verb
        hint = f"The options of a verb stand behind it, as in 'factory plan nginx --sizes'; {hint}"
    return _show(UsageError(text, hint=hint, code="usage.command-line"))


def _interrupted(text: str) -> None:
    console = last_console()
    console.close()
    if console.tells_events:
        console.say(text)
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
