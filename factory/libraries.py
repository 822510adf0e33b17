"""A Python library that is missing or does not fit: a fault of this host, never of a recipe or an image.

Only the standard library is imported here, so that it can be told whatever is missing.
"""

from __future__ import annotations

from factory.errors import HostError


def lacking(error: ImportError) -> HostError:
    """What to tell of *error*. Raises it again when it is a module of the factory itself: that is a defect."""
    if (error.name or "").split(".")[0] == "factory":
        raise error
    return told(f"{type(error).__name__}: {error}")


def told(what: str) -> HostError:
    """The error for *what* went wrong when libraries were loaded."""
    return HostError(
        "the Python libraries of this checkout are not those that it needs",
        cause=f"{what}. The checkout is newer than its .venv, most likely",
        hint="Run 'make setup' in the checkout",
        code="host.library-missing",
    )
