"""MGC-R06: whether some machine type of Magalu Cloud is large enough for an image; a warning, never a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.errors import FactoryError
from factory.publish.mgc_api import Api
from factory.publish.mgc_place import Place
from factory.publish.mgc_request import Requirements

if TYPE_CHECKING:
    from factory.console import Console

RULE = "MGC-R06"
PATH = "/v1/machine-types"
PAGE = 200  # types asked for at once
TRIES = 2  # nothing depends on the answer
LONGEST_PAUSE = 2.0  # seconds between them; a service that asks for more is asked no more
IN_MEGABYTES = 256  # of memory for each virtual CPU, from which a number cannot be GB


@dataclass(frozen=True)
class MachineType:
    """What machines of one type have: *ram* and *disk* in the cloud's GB."""

    name: str
    vcpus: int
    ram: int
    disk: int

    @classmethod
    def of(cls, data: Any) -> MachineType | None:
        """The type in *data*; None for one that nobody can use, or whose numbers cannot be read.

        The documents show memory in GB to some and in MB to others.
        """
        if not isinstance(data, dict) or data.get("status", "active") != "active":
            return None
        vcpus, ram, disk = (data.get(key) for key in ("vcpus", "ram", "disk"))
        if not (isinstance(vcpus, int) and isinstance(ram, int) and isinstance(disk, int)):
            return None
        if ram >= IN_MEGABYTES * max(vcpus, 1):
            ram //= 1024
        return cls(str(data.get("name") or data.get("id") or ""), vcpus, ram, disk)

    def holds(self, wanted: Requirements) -> bool:
        """Whether it has all that is *wanted*."""
        return self.vcpus >= wanted.vcpu and self.ram >= wanted.ram and self.disk >= wanted.disk


def warn_unless_one_fits(place: Place, key: str, wanted: Requirements, console: Console) -> None:
    """Warn when no machine type that the key may use has all that is *wanted*, or when that cannot be found out."""
    api = Api(place, key, console, tries=TRIES, longest_pause=LONGEST_PAUSE)
    try:
        found = [
            MachineType.of(data) for data, _ in api.pages(PATH, "machine_types", "Listing machine types", PAGE, {})
        ]
    except FactoryError as error:
        console.warn(f"{RULE}: whether a machine type is large enough was not found out. {error.message}")
        return
    types = [each for each in found if each is not None]
    if types and not any(each.holds(wanted) for each in types):
        console.warn(
            f"{RULE}: no machine type has {wanted.vcpu} virtual CPUs, {wanted.ram} GB of memory and {wanted.disk} GB "
            f"of disk, so no machine could be made of the image. {_nearest(types, wanted)}"
        )


def _nearest(types: Sequence[MachineType], wanted: Requirements) -> str:
    """What to ask for instead: the type that lacks the least."""

    def lacks(each: MachineType) -> tuple[int, float]:
        parts = ((each.vcpus, wanted.vcpu), (each.ram, wanted.ram), (each.disk, wanted.disk))
        short = [has / wants for has, wants in parts if has < wants]
        return len(short), -min(short, default=1.0)

    best = min(types, key=lacks)
    return f"The nearest is {best.name}: {best.vcpus} virtual CPUs, {best.ram} GB, {best.disk} GB of disk"
