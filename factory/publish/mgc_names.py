"""Names of images in Magalu Cloud: whether one is free, and whether the image that has it may be taken for ours."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from factory.errors import PublishError
from factory.publish import mgc_api, mgc_images, publications
from factory.publish.importer import Wishes
from factory.publish.mgc_answers import Refused
from factory.publish.mgc_images import ENDED, FAILED, CustomImage, Images, deletion
from factory.publish.mgc_request import ImageRequest
from factory.publish.publications import Publication

if TYPE_CHECKING:
    from factory.console import Console

ARRIVAL_TRIES = 10  # looks for an image whose name is taken, most likely by a request of ours
GONE = "gone"  # in the ledger, of an image that the cloud did not find by its id
How = Literal["imported", "adopted", "skipped"]


def settling(record: Publication) -> float:
    """For how many more seconds the cloud may not find what *record* tells of, because it is new."""
    return max(0.0, mgc_images.SETTLING - record.age)


class Name:
    """The name that *request* wants for the bytes *sha256*, among *images*."""

    def __init__(self, images: Images, request: ImageRequest, sha256: str, wishes: Wishes, console: Console) -> None:
        self._images, self._request, self._sha256 = images, request, sha256
        self._wishes, self._console = wishes, console

    def look(self) -> tuple[CustomImage, How] | None:
        """The image to take instead of a new one; None when the name is free. Raises PublishError when it is taken."""
        name = self._request.name
        known = publications.find(self._images.place.url, name, self._sha256)
        if known and known.unfinished and known.id:
            # By its id, because the list may hold active images only.
            begun = self._shown(known)
            if begun and begun.status not in ENDED:
                return begun, "adopted"
            if begun or known.state != "asked":
                known = known.write(state="failed", status=begun.status if begun else GONE)
        taken = self._images.find(name)
        if taken is None:
            return None
        same = bool(known and known.id == taken.id)
        if known and taken.status not in ENDED:
            if same and known.status == GONE:  # found by its name sooner than by its id
                return taken, "adopted"
            if known.unfinished and self.ours(taken):
                self.doubt(taken)
                return taken, "adopted"
        if taken.status in FAILED and self._wishes.delete_failed and publications.by_id(taken.id):
            self._delete(taken)
            return None
        if taken.status in ENDED:
            raise PublishError(
                f"the name {name} is taken by the image {taken.id}, whose status is {taken.status}{taken.trace}",
                cause="An earlier import under this name failed" if same else ENDED[taken.status],
                hint=f"Choose another --name, or delete that image: {deletion(taken.id)}, or --delete-failed "
                "if it was this host that asked for it",
                code="publish.name-taken",
            )
        if self._wishes.if_exists == "skip":
            if not same:
                self.skipped(taken)
            return taken, "skipped"
        raise PublishError(
            f"the name {name} is taken by the image {taken.id} ({taken.status}){taken.trace}",
            cause="An earlier run imported these very bytes" if same else "Names are unique within a tenant",
            hint="Choose another --name or --version, take it as it is with --if-exists skip, or delete it: "
            + deletion(taken.id),
            code="publish.name-taken",
        )

    def _delete(self, image: CustomImage) -> None:
        """Delete *image* and wait until its name is free."""
        self._console.say(f"Deleting the image {image.id}, whose import under this name failed ({image.status})")
        self._images.delete(image.id)
        for number in range(ARRIVAL_TRIES):
            if self._images.find(self._request.name) is None:
                return
            time.sleep(mgc_api.pause_before(number, PublishError("")))
        raise PublishError(
            f"the name {self._request.name} is still taken by the image {image.id}, which was deleted",
            hint="Wait a while and run the same command again",
            code="publish.name-taken",
        )

    def arrived(self, looks: int = 1) -> CustomImage | None:
        """The image that has the name now, whoever asked for it, after at most so many *looks*."""
        for number in range(looks):
            if number:
                time.sleep(mgc_api.pause_before(number - 1, PublishError("")))
            if found := self._images.find(self._request.name):
                return found
        return None

    def doubt(self, image: CustomImage) -> None:
        """Tell that *image*, which an earlier run may have asked for without an answer, may be another one."""
        self._console.warn(
            f"{self._request.name} is there ({image.id}) as an earlier run asked for it; that run never heard of its "
            "id, and nothing tells that it has the same bytes"
        )

    def skipped(self, image: CustomImage) -> None:
        """Tell that *image* is taken though it may be another one, or is."""
        known = publications.by_id(image.id)
        told = "nothing tells that it has the same bytes"
        if known and known.sha256 != self._sha256:
            told = f"it has other bytes: this host imported it from those with the sha256 {known.sha256}"
        self._console.warn(f"{self._request.name} is there already ({image.id}); {told}")

    def unlisted(self, uncertain: bool) -> str:
        """What to do about a name that is taken by an image that is not found; *uncertain*: it may be ours."""
        whose = "An earlier request of ours may have taken it, and the" if uncertain else "The"
        skip = "" if self._wishes.if_exists == "skip" else ", or use --if-exists skip"
        return (
            f"{whose} cloud lists it once it is active: run the same command again later. Otherwise: choose another "
            f"--name or delete the other image{skip}"
        )

    def _shown(self, record: Publication) -> CustomImage | None:
        """The image of *record*; None when it is gone, and not only so new that the cloud does not show it yet."""
        end, told = time.monotonic() + settling(record), False
        while True:
            try:
                return self._images.show(record.id)
            except Refused as error:
                if error.http_status != 404:
                    raise
                left = end - time.monotonic()
                if left <= 0:
                    return None
                if not told:
                    told = True
                    self._console.say(
                        f"The cloud does not show the image {record.id} yet: looking for {left:.0f} s more"
                    )
            time.sleep(mgc_api.jittered(mgc_images.POLL))

    def ours(self, image: CustomImage) -> bool:
        """Whether *image* can be what we asked for: all that the cloud tells of it agrees."""
        wanted, told = self._request, image.requirements or {}
        agree = [
            not image.description or image.description == wanted.description,
            not image.version or image.version == wanted.version,
            *(str(told.get(name, least)) == str(least) for name, least in wanted.requirements.as_dict().items()),
        ]
        return all(agree)
