"""The end of cloud-init's work in a guest, and how it went.

``cloud-init status --wait`` is not used where systemd runs: each look of it starts Python, four seconds of an emulated
processor, taken from the very boot that is waited for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from factory.guest import Guest

# cloud-init writes the result as its last act. When the system is up and there is none, none will come.
WAIT = """
while [ ! -e /run/cloud-init/result.json ]; do
  case "$(systemctl is-system-running 2>/dev/null)" in
    initializing | starting) sleep 0.5 ;;
    "" | offline | unknown) cloud-init status --wait >/dev/null 2>&1; break ;;
    *) break ;;
  esac
done
"""


@dataclass(frozen=True)
class Ended:
    """How it went: *finished* when there is a result, *errors* are those of cloud-init's own stages."""

    finished: bool
    errors: tuple[str, ...]


def wait(guest: Guest, *, timeout: float, alive: Callable[[], bool]) -> None:
    """Until cloud-init has ended, or will never begin; *timeout* in seconds. Raises MachineError."""
    guest.run(WAIT, check=False, timeout=timeout, alive=alive)


def ended(guest: Guest) -> Ended:
    """What cloud-init, which has ended, left in *guest* as its result. Raises MachineError."""
    text = guest.read("cat /run/cloud-init/result.json")
    try:
        document: Any = json.loads(text)
        return Ended(True, tuple(str(error) for error in document["v1"]["errors"]))
    except (ValueError, KeyError, TypeError):
        return Ended(False, ())
