"""What an importer is: the module, named by a target's ``transport.importer``, that brings an image into a cloud.

Each has two functions. ``prepare(artefact, wishes, transport, console)`` looks at everything that can be looked at on
this host, without network, and returns a :class:`Preparation`; it raises UsageError for what the cloud would not take.
The preparation then speaks to the cloud. The order, in :mod:`factory.publish.publishing`:

    preparation = importer.prepare(artefact, wishes, transport, console)
    preparation.describe(url)                 # --dry-run ends here: what would be sent, as text
    brought = preparation.before_upload()     # the name is looked for; an import of these bytes that is there is taken
    brought = preparation.bring(stored, url)  # ... else, once the image is in the store, it is imported
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from factory.publish import PresignedUrl, StoredObject

LONGEST_WAIT = 12 * 3600  # seconds; clouds queue imports, and the URL has to live longer than this


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for; what is empty or 0 is filled in from the build or by the cloud's defaults.

    *memory* and *disk* are in the cloud's whole GB, which are GiB rounded up. *wait* is in seconds.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    uefi: bool = False
    vcpus: int = 0
    memory: int = 0
    disk: int = 0
    if_exists: Literal["fail", "skip"] = "fail"
    delete_failed: bool = False  # an image of this name that we began and the cloud could not import
    wait: float = LONGEST_WAIT  # 0: not at all


@dataclass(frozen=True)
class Brought:
    """An image as the cloud has it now. *how*: imported, adopted (an import that an earlier run began), skipped
    (it was there), or uploaded (a person will import it)."""

    target: str
    name: str
    id: str
    status: str
    how: Literal["imported", "adopted", "skipped", "uploaded"]
    api: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as data."""
        return vars(self) | {}


class Preparation(Protocol):
    """An import that is ready but for the URL."""

    name: str

    @property
    def firmware(self) -> str:
        """What the cloud will be asked to boot it by, bios or uefi; empty when it is not asked."""

    def describe(self, url: str) -> str:
        """What would be sent, for people, with *url* in its place. Sends nothing."""

    def check_place(self, url: str) -> None:
        """Raise PublishError unless the cloud can read from the host of *url*. Sends nothing."""

    def as_dict(self, url: str) -> dict[str, Any]:
        """The same as data."""

    def before_upload(self) -> Brought | None:
        """The image, when no upload is needed any more. Raises PublishError when the name is taken."""

    def documents(self, stored: StoredObject) -> dict[str, bytes]:
        """What is to lie beside the image in the store, beside what the build wrote; by file name."""

    def bring(self, stored: StoredObject, url: PresignedUrl) -> Brought:
        """Have the cloud fetch *url*, and wait for it. Raises PublishError."""
