"""The accounts of a guest as its image holds them, and where their homes are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import text

if TYPE_CHECKING:
    from factory.inspection import Image

_MEMORY = ("/dev/", "/proc/", "/run/", "/sys/")
HUMAN = range(1000, 60000)  # user ids that distributions give to people


@dataclass(frozen=True)
class Account:
    """A line of passwd. *password* is its second field, or the one in shadow; ``*`` when it points there in vain."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    password: str

    @property
    def locked(self) -> bool:
        """Whether no password opens it, and no hash is kept behind the lock that unlocking would bring back."""
        return self.password in ("*", "!", "!!", "!*", "*LK*", "!*LK*")


def accounts(image: Image) -> list[Account]:
    """Every account, in the order of passwd. Lines that are no account (NIS) are left out."""
    shadow = {fields[0]: fields[1] for line in _lines(image, "/etc/shadow") if len(fields := line.split(":")) > 1}
    found = []
    for line in _lines(image, "/etc/passwd"):
        fields = line.split(":")
        if len(fields) < 7 or not fields[2].isdigit() or not fields[3].isdigit():
            continue
        name, hashed, uid, gid, _, home, shell = fields[:7]
        if hashed == "x":
            hashed = shadow.get(name, "*")
        found.append(Account(name, int(uid), int(gid), home, shell, hashed))
    return found


def homes(image: Image) -> list[str]:
    """Every directory that is or may be a home: those in passwd, /root, /home/* and /etc/skel; "" is the root itself.

    What lies in a machine's memory (the account sys has the home /dev) is none.
    """
    named = [account.home.rstrip("/") for account in accounts(image) if account.home.startswith("/")]
    candidates = ["", "/root", "/etc/skel", *image.glob("/home/*"), *named]
    found = []
    for home in dict.fromkeys(candidates):
        status = image.stat(home or "/", follow=True)
        if status and status.kind == "dir" and not f"{home}/".startswith(_MEMORY):
            found.append(home)
    return found


def _lines(image: Image, path: str) -> list[str]:
    return [line for line in (text(image, path) or "").splitlines() if line and line[0] not in "#+-"]
