"""Deletes every .ssh folder, and the files that sshd_config names as lists of authorized keys.

A key that is authorized in an image opens every machine made from it; cloud-init copies the build's login key to root.
Private keys, known hosts and settings of a client tell where the build has been. The homes are those in /etc/passwd
(services have homes in /var/lib), /root, /home/* and /etc/skel. cloud-init makes .ssh anew for a machine's own keys.

A recipe cannot ship anything in a .ssh folder, not even a ``config``: use /etc/ssh/ssh_config.d instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory import sshd_config
from factory.leftovers import Leftover
from factory.reading import accounts, homes

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Authorized keys and everything else in .ssh folders"
ORDER = 120


def apply(_: Facts) -> str:
    """Tokens are replaced by real names only: with a pattern, ``/etc/%u`` would mean everything in /etc."""
    return f"""
    homes | while IFS= read -r home; do
        remove_trees "$home/.ssh"
    done
    {sshd_config.shell("AuthorizedKeysFile")} | while IFS= read -r pattern; do
        case $pattern in none | .ssh/* | %h/.ssh/*) continue ;; esac
        while IFS=: read -r user _ _ _ _ home _; do
            file=$pattern
            case $file in *%u*) file=${{file%%%u*}}$user${{file#*%u}} ;; esac
            case $file in *%h*) file=${{file%%%h*}}$home${{file#*%h}} ;; esac
            case $file in /*) ;; *) file=$home/$file ;; esac
            remove "$file"
        done </etc/passwd
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Files with content; an empty authorized_keys lets nobody in."""
    for home in homes.read(image).names:
        folder = f"{home}/.ssh"
        found = image.stat(folder, follow=True)
        if found and found.kind != "dir":
            yield Leftover(folder, "is no directory")
            continue
        for path, _found in image.walk(folder):
            target = image.stat(path, follow=True)
            if target and target.kind != "dir" and target.size:
                yield Leftover(path, f"{_kind(path)}, {target.size} bytes")
    for path in _named(image):
        target = image.stat(path, follow=True)
        if target and target.kind == "file" and target.size:
            yield Leftover(path, f"authorized keys, {target.size} bytes")


def _kind(path: str) -> str:
    name = path.rpartition("/")[2]
    if name.startswith("authorized_keys"):
        return "authorized keys"
    return "a key" if name.startswith("id_") or name.endswith((".pem", ".key")) else "a file of an SSH user"


def _named(image: Image) -> list[str]:
    patterns = [word for word in sshd_config.values(image, "AuthorizedKeysFile") if word != "none"]
    found = []
    for account in accounts.read(image).all:
        for pattern in patterns:
            path = pattern.replace("%u", account.name).replace("%h", account.home)
            if not path.startswith("/"):
                path = f"{account.home}/{path}"
            if "/.ssh/" not in path:
                found.append(path)
    return list(dict.fromkeys(found))
