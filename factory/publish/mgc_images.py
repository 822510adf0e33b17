"""Magalu Cloud's custom images by REST: create, show, list, find, change, delete and wait.

:mod:`factory.publish.mgc` decides whether a POST is sent again.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.errors import PublishError, UsageError
from factory.publish import mgc_answers
from factory.publish.mgc_answers import Refused
from factory.publish.mgc_api import TRIES, UNREADABLE, Api, asked_pause, data_of, jittered, passing, unreadable
from factory.publish.mgc_place import Place
from factory.publish.mgc_request import ImageRequest, Requirements
from factory.units import format_duration

if TYPE_CHECKING:
    from factory.console import Console, Stage

ACTIVE = "active"
WAITING = ("pending", "creating", "importing")
ENDED = {
    "error": "the import failed",
    "importing_error": "the import failed",
    "invalid_image": "the file is no image that it can use",
    "deleting": "somebody deletes the image",
    "deleted": "somebody deleted the image",
    "deleting_error": "somebody tried to delete the image",
    "deprecated": "the image is marked as deprecated",
}
"""Statuses that never become active. Three public lists of them disagree, so any other may mean anything."""

FAILED = ("error", "importing_error", "invalid_image")  # of an import; such an image is of no use to anybody
PATH = "/v1/images/custom"
PAGE = 50  # images asked for at once
POLL = 1.0  # seconds between the first two looks; grows by half each time
LONGEST_POLL = 30.0
OUTAGE = 900.0  # seconds without an answer while waiting, after which it gives up
LEAST_LOOK = 1.0  # seconds that the service has for an answer, also when the time to wait is over before
SETTLING = 60.0  # seconds in which a new image may not be found yet

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True)
class CustomImage:
    """An image as the cloud tells of it. *words* is whatever else it says; *trace* names the answer for its support."""

    id: str
    name: str
    status: str
    description: str = ""
    version: str = ""
    requirements: Mapping[str, Any] | None = None
    words: str = ""
    trace: str = ""

    @classmethod
    def of(cls, data: Any, trace: str) -> CustomImage:
        """The image in *data*; raises ValueError when there is none."""
        if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in ("id", "status")):
            raise ValueError("no image with id and status")
        told = {key: data.get(key) for key in ("message", "error", "detail", "status_reason", "reason", "metadata")}
        words = "; ".join(_told(key, value) for key, value in told.items() if value)
        requirements = data.get("requirements")
        return cls(
            id=data["id"],
            name=str(data.get("name") or ""),
            status=data["status"],
            description=str(data.get("description") or ""),
            version=str(data.get("version") or ""),
            requirements=requirements if isinstance(requirements, dict) else None,
            words=words,
            trace=trace,
        )


class Images:
    """The custom images of one tenant."""

    def __init__(self, place: Place, key: str, console: Console, *, tries: int = TRIES) -> None:
        """*tries* of each request but POST."""
        self.place, self._console = place, console
        self._api = Api(place, key, console, tries=tries)

    def create(self, request: ImageRequest, url: str) -> str:
        """Ask for the image once; its id, or an empty text when the answer does not hold one.

        Raises Refused, or http.Unanswered when it is not known whether the request arrived.
        """
        answer = self._api.send("POST", PATH, request.body(url))
        if answer.status not in (200, 201, 202):
            raise Refused(answer, f"The import of {request.name}")
        data = data_of(answer)
        found = data.get("id") if isinstance(data, dict) else None
        return found if isinstance(found, str) and _ID.fullmatch(found) else ""

    def show(self, image: str, *, once: float = 0.0) -> CustomImage:
        """The image with this id. *once*: look once only, with at most so many seconds of silence.

        Raises PublishError.
        """
        path, doing = f"{PATH}/{checked_id(image)}", f"Looking at the image {image}"
        answer = self._api.once(path, doing, once) if once else self._api.patiently("GET", path, doing)
        try:
            return CustomImage.of(data_of(answer), mgc_answers.trace(answer))
        except ValueError as error:
            raise unreadable(answer, error) from None

    def look(self, image: str, *, unseen: CustomImage | None = None) -> CustomImage:
        """The image with this id, which is active or may still be. Raises PublishError.

        *unseen* stands for one that is not found, when it is so new that it may not be yet.
        """
        try:
            found = self.show(image)
        except Refused as error:
            if error.http_status != 404 or unseen is None:
                raise
            self._console.say(f"The cloud does not show the image {image} yet")
            return unseen
        self._settled(found, set())
        return found

    def list(self, name: str = "") -> Iterator[CustomImage]:
        """All images, page by page; with *name*, those of that name: the cloud may find others by it, too."""
        query = {"name": name} if name else {}
        for data, answer in self._api.pages(PATH, "images", "Listing the custom images", PAGE, query):
            if name and isinstance(data, dict) and data.get("name", name) != name:
                continue
            try:
                yield CustomImage.of(data, mgc_answers.trace(answer))
            except ValueError as error:
                raise unreadable(answer, error) from None

    def find(self, name: str) -> CustomImage | None:
        """The image that has exactly this name and still occupies it."""
        return next((image for image in self.list(name) if image.name == name and image.status != "deleted"), None)

    def delete(self, image: str) -> None:
        """Delete the image with this id. Raises PublishError."""
        path = f"{PATH}/{checked_id(image)}"
        self._api.patiently("DELETE", path, f"Deleting the image {image}", allowed=(200, 202, 204))

    def change(
        self,
        image: str,
        *,
        description: str | None = None,
        version: str | None = None,
        requirements: Requirements | None = None,
    ) -> None:
        """Change what can be changed of an image; None leaves it as it is. Raises PublishError."""
        body: dict[str, Any] = {"description": description, "version": version}
        body = {key: value for key, value in body.items() if value is not None}
        if requirements is not None:
            body["requirements"] = requirements.as_dict()
        path = f"{PATH}/{checked_id(image)}"
        self._api.patiently("PATCH", path, f"Changing the image {image}", body, allowed=(200, 204))

    def wait(self, image: str, *, seconds: float, stage: Stage, new: bool = False) -> CustomImage:
        """Look until the image is active. *new*: it was made just now, and may not be found at once.

        Raises PublishError when the import ended otherwise, after *seconds*, or when the API stays away.
        """
        began = last_answer = time.monotonic()
        pause, strange, last, answered = POLL, set[str](), "", new
        missing = math.inf  # since when the API says that there is no such image; a part of it may be late
        while True:
            now, asked = time.monotonic(), None
            try:
                found = self.show(image, once=max(seconds - (now - began), LEAST_LOOK))
                answered, last_answer, missing, last = (
                    True,
                    now,
                    math.inf,
                    f": its status is {found.status}{found.trace}",
                )
                if self._settled(found, strange):
                    return found
                stage.note(found.status)
            except PublishError as error:
                not_found = error if isinstance(error, Refused) and error.http_status == 404 else None
                page = not_found is not None and not not_found.from_api
                gone = not_found is not None and not page
                missing = min(missing, now) if gone else missing
                if not (gone and answered and now - missing < SETTLING):
                    # What answered before may for a while be a gateway that sends a page in place of an answer.
                    passes = passing(error) or ((page or error.code == UNREADABLE) and answered)
                    if not passes or now - last_answer > OUTAGE:
                        if error.code != "publish.import-failed":
                            error.hint = f"{error.hint.rstrip('.')}. {_resume(image)}".lstrip(". ")
                        raise
                    asked = asked_pause(error)
                    self._console.warn(f"Still waiting for {image}: {error.message}")
            left = seconds - (time.monotonic() - began)
            if left <= 0:
                raise PublishError(
                    f"the image {image} is not active after {format_duration(round(seconds))}{last}",
                    cause="The cloud's queue is long, or the import hangs",
                    hint=_resume(image),
                    code="publish.import-timeout",
                )
            time.sleep(min(jittered(pause) if asked is None else asked, left))
            pause = min(pause * 1.5, LONGEST_POLL)

    def _settled(self, found: CustomImage, strange: set[str]) -> bool:
        """Whether it is active; raises PublishError when it never will be."""
        if found.status in ENDED:
            raise PublishError(
                f"the image {found.id} ({found.name}) is {found.status}: {ENDED[found.status]}{found.trace}",
                cause=f"Magalu Cloud says: {found.words}" if found.words else "Magalu Cloud gives no reason",
                hint="'factory check IMAGE --target mgc' looks at the file; the image keeps its name taken until it is "
                f"deleted: --delete-failed, or {deletion(found.id)}",
                code="publish.import-failed",
            )
        if found.status not in (ACTIVE, *WAITING) and found.status not in strange:
            strange.add(found.status)
            self._console.warn(f"The image {found.id} has the status {found.status!r}, which is not known: waiting on")
        return found.status == ACTIVE


def deletion(image: str) -> str:
    """How people delete the image by hand."""
    return f"'mgc vm images custom delete --id {image}'"


def checked_id(image: str) -> str:
    """*image* when it can be the id of one. Raises UsageError."""
    if not _ID.fullmatch(image):
        raise UsageError(
            f"{image[:80]!r} cannot be the id of an image",
            hint="It looks like 0a892d8a-9ee9-4c10-9efc-3c8c88f7cd61",
            code="usage.image-id",
        )
    return image


def _resume(image: str) -> str:
    return f"'factory publish --resume {image}' waits on"


def _told(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return mgc_answers.said(f"{key}: {text}")
