"""Destinations from which a copy never comes into the image: the scrub takes it, or it lies in the guest's memory.

Only what is lost for certain stands here. A copy that may serve a later step (``/tmp/setup.sh``) is right while such a
step follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from factory.quoting import quote
from factory.recipe.files import FileFault, pieces
from factory.recipe.words import GuestPath, OwnFile
from factory.yamltree import Items, Location, Mapping, Scalar, find

_HOME = r"(?:/root|/home/[^/]+|/etc/skel)"
_CACHES = r"(?:\.cache|\.npm/_cacache|\.cargo/(?:registry|git)|\.composer/cache|\.local/share/Trash)"


@dataclass(frozen=True)
class Place:
    """Paths that are lost: *pattern* fits the whole of one. *serves* is whether a later step may have used it."""

    pattern: str
    why: str
    instead: str
    serves: bool = True


PLACES = (
    Place(
        r"/run/.+|/var/run/.+|/dev/shm/.+",
        "lies in the guest's memory, which ends with the build",
        "a file in /usr/lib/tmpfiles.d makes it at each boot",
    ),
    Place(r"/(?:var/)?tmp/.+", "is emptied before the image is written", "name another folder, such as /opt"),
    Place(
        _HOME + r"/\.ssh/.+",
        "is removed before the image is written, as every .ssh folder is",
        "settings of the client go to /etc/ssh/ssh_config.d; its keys a machine gets from its cloud",
    ),
    Place(
        f"{_HOME}/{_CACHES}/.+",
        "is removed before the image is written, as every cache is",
        "put it elsewhere, and name that place in the program's settings",
    ),
    Place(
        r"/etc/resolv\.conf",
        "is removed before the image is written: each network has name servers of its own",
        "set others in /etc/systemd/resolved.conf.d, or in the settings of the DHCP client",
    ),
    Place(
        r"/etc/ssh/ssh_host_[^/]*key[^/]*",
        "is removed before the image is written: each machine makes host keys of its own",
        "remove the step",
        serves=False,
    ),
    Place(
        r"/var/lib/cloud/.+",
        "is removed before the image is written, with all that cloud-init has there",
        "start a script by a systemd unit; defaults of cloud-init go to /etc/cloud/cloud.cfg.d",
        serves=False,
    ),
    Place(
        r"/etc/salt/(?:minion_id|pki/minion/[^/]+)",
        "is removed before the image is written: it is what a Salt minion is known by, and whom it has met",
        "write master_finger to /etc/salt/minion.d, or let cloud-init's salt_minion give it to each machine",
    ),
    Place(
        r"/(?:var/lib/puppet|etc/puppetlabs/puppet)/ssl/[^/]+/[^/]+",
        "is removed before the image is written: it is what a Puppet agent is known by, and whom it has met",
        "let cloud-init's puppet (ca_cert) give it to each machine",
    ),
)


def faults(root: Mapping, folder: Path) -> Iterator[tuple[Location, str, str]]:
    """For each copy step of the recipe *root*, whose files lie in *folder*, the first of its files that is lost."""
    steps = find(root, ("provision",))
    items = steps.items if isinstance(steps, Items) else []
    kinds = [set(step.entries) if isinstance(step, Mapping) else set() for step in items]
    for number in range(len(kinds)):
        at = ("provision", number, "copy")
        source, destination = find(root, (*at, "source")), find(root, (*at, "destination"))
        if not isinstance(source, Scalar) or not isinstance(destination, Scalar):
            continue
        if not OwnFile().fits(source.text) or not GuestPath().fits(destination.text):
            continue
        served = any(kind & {"shell", "packages"} for kind in kinds[number + 1 :])
        if lost := _first_lost(folder, source.text, destination.text.rstrip("/"), served):
            path, place = lost
            yield (*at, "destination"), f"{quote(path)} {place.why}", place.instead


def _first_lost(folder: Path, source: str, destination: str, served: bool) -> tuple[str, Place] | None:
    places = [place for place in PLACES if not (served and place.serves)]
    try:
        found = pieces(folder, source)
    except FileFault:
        return None  # another rule says so
    for piece in found:
        path = f"{destination}/{piece.path}" if piece.path else destination
        for place in places:
            if not piece.folder and re.fullmatch(place.pattern, path):
                return path, place
    return None
