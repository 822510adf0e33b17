"""The recipe's ``cloud_init``: which keys it may not have, and what its scalars mean.

It is merged into the user-data of the *build*, over which the factory reaches the guest; a key that would lock the
factory out, stop the machine half-way or leave an identity in the image is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from factory.yamltree import Items, Location, Mapping, Node, Scalar

_LOGIN = "the factory logs in to the build as root, with a key of its own"
_NO_KEYS = "no key stays in an image; the cloud gives each instance its keys"
_HOST_KEYS = "the build's host key is known beforehand; each instance makes its own"
_NO_PASSWORDS = "nobody logs in to an image with a password"
_NAMED = "the build has a name of its own, so that traces of it can be found"
_FILLED = "the root file system of the build always fills the disk"
_UPGRADE = "use upgrade and a packages step"
_DATASOURCE = "an image must work with every datasource; a file for /etc/cloud is copied like any other"
_OURS = "the factory sets it"

REFUSED: dict[str, str] = {
    **dict.fromkeys(("disable_root", "disable_root_opts", "allow_public_ssh_keys", "system_info"), _LOGIN),
    **dict.fromkeys(("ssh_authorized_keys", "ssh_import_id"), _NO_KEYS),
    **dict.fromkeys(("ssh_keys", "ssh_deletekeys", "ssh_genkeytypes"), _HOST_KEYS),
    **dict.fromkeys(("password", "chpasswd", "ssh_pwauth"), _NO_PASSWORDS),
    **dict.fromkeys(("hostname", "fqdn", "preserve_hostname", "prefer_fqdn_over_hostname", "manage_etc_hosts"), _NAMED),
    **dict.fromkeys(("growpart", "resize_rootfs"), _FILLED),
    **dict.fromkeys(("package_update", "package_upgrade", "package_reboot_if_required"), _UPGRADE),
    **dict.fromkeys(("datasource", "datasource_list"), _DATASOURCE),
    **dict.fromkeys(("ssh", "no_ssh_fingerprints", "grub_dpkg", "grub-dpkg", "merge_how", "merge_type"), _OURS),
    **dict.fromkeys(("cloud_init_modules", "cloud_config_modules", "cloud_final_modules"), _OURS),
    "user": "write a list of users instead",
    "power_state": "the factory powers the guest off itself, after the scrub",
    "network": "cloud-init takes no network configuration from user-data; machine.network has the choice",
}
"""Top-level keys that are refused, each with the reason."""

LONGEST_KEY = 200  # bytes; YAML's own limit is 1024, and each may be written in six (\\u0000)
REFUSED_OF_USERS: dict[str, str] = {
    **dict.fromkeys(("ssh_authorized_keys", "ssh_import_id", "ssh_redirect_user"), _NO_KEYS),
    **dict.fromkeys(("passwd", "hashed_passwd", "plain_text_passwd"), _NO_PASSWORDS),
}
"""Keys that a member of ``users`` may not have."""


def faults(root: Mapping) -> Iterator[tuple[Location, str, str]]:
    """What ``cloud_init`` of the recipe *root* may not hold: (location, message, suggestion)."""
    section = root.entries.get("cloud_init")
    if not isinstance(section, Mapping):
        return
    for key in section.entries:
        if key in REFUSED:
            yield ("cloud_init", key), f"cannot be set by a recipe: {REFUSED[key]}", "remove it"
    for long in _long_keys(section, ("cloud_init",)):
        yield (
            long,
            f"has a key of more than {LONGEST_KEY} characters, too long for YAML",
            "shorten it",
        )
    users = section.entries.get("users")
    if users is None:
        return
    if not isinstance(users, Items):
        yield ("cloud_init", "users"), "must be a list", "such as [{name: app, system: true}]"
        return
    for index, user in enumerate(users.items):
        place: Location = ("cloud_init", "users", index)
        name = user.entries.get("name") if isinstance(user, Mapping) else user
        if not isinstance(name, Scalar) or not name.text:
            yield place, "has no name", "such as {name: app, system: true}"
        elif "default" in re.split(r"[,\s]+", name.text):
            yield place, "'default' is the user that each instance makes anew, with its own keys", "remove it"
        for key in user.entries if isinstance(user, Mapping) else ():
            if key in REFUSED_OF_USERS:
                yield (*place, key), f"cannot be set by a recipe: {REFUSED_OF_USERS[key]}", "remove it"


def _long_keys(node: Node, place: Location) -> Iterator[Location]:
    """The mappings below *node* with a key that could not be written into the user-data."""
    if isinstance(node, Mapping):
        if any(len(key.encode("utf-8", "replace")) > LONGEST_KEY for key in node.entries):
            yield place
        for key, inner in node.entries.items():
            yield from _long_keys(inner, (*place, key) if len(key) <= LONGEST_KEY else place)
    elif isinstance(node, Items):
        for index, inner in enumerate(node.items):
            yield from _long_keys(inner, (*place, index))


_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NULLS = ("", "~", "null", "Null", "NULL")
# No leading zero: `permissions: 0644` stays text, which is what cloud-init wants there.
_WHOLE = re.compile("[+-]?(0|[1-9][0-9]{0,17})")


def typed(node: Node) -> Any:
    """*node* as data for cloud-init: plain ``true``, ``on``, ``5`` and ``null`` get their type, quoted ones are text.

    All else (``0644``, ``1.10``, dates) stays text; cloud-init reads those itself where it wants a number.
    """
    if isinstance(node, Items):
        return [typed(item) for item in node.items]
    if not isinstance(node, Scalar):
        return {key: typed(value) for key, value in node.entries.items()}
    if not node.plain:
        return node.text
    if node.text in _NULLS:
        return None
    if node.text in (node.text.lower(), node.text.title(), node.text.upper()) and node.text.lower() in _BOOLEANS:
        return _BOOLEANS[node.text.lower()]
    return int(node.text) if _WHOLE.fullmatch(node.text) else node.text
