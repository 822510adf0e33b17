"""What starts at boot, whether systemd or OpenRC does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.reading import openrc, systemd

if TYPE_CHECKING:
    from factory.inspection import Image


@dataclass(frozen=True)
class Services:
    """Both init systems of an image; the one that is there answers. Names are without an ending, or units."""

    systemd: systemd.Systemd
    openrc: openrc.OpenRC

    def started(self, *names: str) -> str:
        """The path of what starts the first of *names* that is started at boot; empty when none is."""
        for name in names:
            bare = name.removesuffix(".service")
            unit = name if "." in name else f"{name}.service"
            found = self.openrc.started.get(bare, "") if self.openrc.present else self.systemd.started(unit)
            if found:
                return found
        return ""


def read(image: Image) -> Services:
    """The services of *image*."""
    return Services(systemd.read(image), openrc.read(image))
