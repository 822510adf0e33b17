"""The import into Magalu Cloud: the name is looked for, the image asked for once, and waited for to its end.

A POST that got no answer may have arrived all the same, so the name is looked for before it is sent again. An import
that an earlier run of the factory began with the same bytes under the same name is taken up.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from factory import http, settings
from factory.doctor.row import Check
from factory.errors import FactoryError, PublishError, UsageError
from factory.publish import Artefact, PresignedUrl, StoredObject, mgc_api, mgc_images, mgc_machines, publications
from factory.publish.importer import Brought, Wishes
from factory.publish.mgc_answers import Refused
from factory.publish.mgc_api import UNREADABLE, passing
from factory.publish.mgc_images import ACTIVE, ENDED, CustomImage, Images
from factory.publish.mgc_names import ARRIVAL_TRIES, GONE, How, Name, settling
from factory.publish.mgc_place import KEY_VARIABLE, Place, api_key, check_store, place, profile_file
from factory.publish.mgc_request import ImageRequest, Requirements, gigabytes, masked, request_for
from factory.publish.publications import Publication
from factory.units import format_duration

if TYPE_CHECKING:
    from factory.console import Console
    from factory.publish.transport import Transport

GOES_ON = "The import goes on in the cloud; 'factory publish --resume {}' waits for it"


def prepare(artefact: Artefact, wishes: Wishes, transport: Transport, console: Console) -> MagaluImport:
    """The import of *artefact*, with every field looked at. Sends nothing. Raises UsageError."""
    where = place()
    return MagaluImport(
        artefact, request_for(artefact, wishes, _recommended(artefact)), where, wishes, transport, console
    )


def set_up() -> bool:
    """Whether this host has a key for the API, or a profile that may have one."""
    return bool(os.environ.get(KEY_VARIABLE)) or profile_file().is_file()


def supplied() -> dict[str, str]:
    """For the doctor: what stands for settings that are not set, by their names. Raises UsageError."""
    return {"FACTORY_MGC_API_URL": place().url}


def examine(console: Console) -> Iterator[Check]:
    """For the doctor: whether the API takes the key, by listing images once."""
    if not set_up():
        yield Check("ok", "API of mgc", f"not set up ({KEY_VARIABLE}); only publishing to Magalu Cloud needs it")
        return
    where = place()
    list(islice(Images(where, api_key(), console, tries=1).list(), 1))
    yield Check("ok", "API of mgc", f"{where.url} takes the key")


def look_ahead(store: str) -> None:
    """Raise UsageError or PublishError for settings with which no import from *store*, an address, can succeed."""
    check_store(place(), store)
    api_key()


def resume(image: str, wishes: Wishes, console: Console) -> Brought:
    """Wait for the image with this id, or look at it once, whoever asked for it. Raises UsageError and PublishError."""
    mgc_images.checked_id(image)
    where, record = place(), publications.by_id(image)
    if record is not None and record.api != where.url:
        raise UsageError(
            f"the image {image} was asked of {record.api}, and the settings name {where.url}",
            hint="Set the address that it was asked of",
            command=f"export FACTORY_MGC_API_URL={record.api}",
            code="usage.setting",
        )
    images = Images(where, api_key(), console)
    found = _wait(images, image, wishes, record, console)
    if found.status != ACTIVE:
        console.say(GOES_ON.format(image))
    return Brought("mgc", found.name or (record.name if record else ""), image, found.status, "adopted", where.url)


@dataclass
class MagaluImport:
    """One import: see :class:`factory.publish.importer.Preparation`."""

    artefact: Artefact
    request: ImageRequest
    place: Place
    wishes: Wishes
    transport: Transport
    console: Console
    _images: Images | None = None

    @property
    def name(self) -> str:
        """The name that the image gets."""
        return self.request.name

    @property
    def firmware(self) -> str:
        """What the cloud is asked to boot it by."""
        return "uefi" if self.request.uefi else "bios"

    @property
    def images(self) -> Images:
        """The cloud; from here on a key is needed. Raises PublishError."""
        if self._images is None:
            self._images = Images(self.place, api_key(), self.console)
        return self._images

    @property
    def _wanted(self) -> Name:
        return Name(self.images, self.request, self.artefact.sha256, self.wishes, self.console)

    def describe(self, url: str) -> str:
        """The request as it would be sent, and the same as an ``mgc`` command."""
        headers = "content-type: application/json\nx-api-key: ***"
        body = json.dumps(self.request.body(url), indent=2, ensure_ascii=False)
        return f"POST {self.place.images}\n{headers}\n\n{body}\n\n{shlex.join(self.request.command(url, self.place))}"

    def as_dict(self, url: str) -> dict[str, Any]:
        """The same as data."""
        return {
            "method": "POST",
            "url": self.place.images,
            "headers": {"content-type": "application/json", "x-api-key": "***"},
            "body": self.request.body(url),
            "command": self.request.command(url, self.place),
        }

    def check_place(self, url: str) -> None:
        """Raise PublishError unless the cloud can read from *url*, the address of the image or of its bucket."""
        check_store(self.place, url)

    def before_upload(self) -> Brought | None:
        """The image when these bytes are imported already, by the ledger or by ``--if-exists skip``."""
        kept = settings.value("FACTORY_S3_STORAGE_CLASS")
        if kept.upper() not in ("", "STANDARD"):
            self.console.warn(f"The store keeps the image as {kept}: the cloud may not be able to read it in time")
        with self.console.stage("name") as stage:
            stage.note(self.name)
            found = self._wanted.look()
            if found is None:
                mgc_machines.warn_unless_one_fits(self.place, api_key(), self.request.requirements, self.console)
        return self._settle(*found) if found else None

    def documents(self, stored: StoredObject) -> dict[str, bytes]:
        """Nothing: what the cloud was told is in the manifest."""
        return {}

    def bring(self, stored: StoredObject, url: PresignedUrl) -> Brought:
        """Ask the cloud to fetch *url* and wait until the image is active."""
        self.console.redact(url.secret)
        self._check_url(url)
        with self.console.stage("request") as stage, publications.alone(self.place.url, self.name, self.console):
            before = publications.find(self.place.url, self.name, self.artefact.sha256)
            found = self._wanted.look()  # another run may have been quicker
            if found is None:
                self._check_url(url)  # others may have been waited for
                record = Publication(
                    target=self.transport.target,
                    api=self.place.url,
                    name=self.name,
                    sha256=self.artefact.sha256,
                    fields=self.request.body(masked(url.secret)) | {"url": None},
                    endpoint=stored.endpoint,
                    bucket=stored.bucket,
                    key=stored.key,
                    folder=str(self.artefact.folder.resolve()) if self.artefact.folder else "",
                    id=before.id if before and before.status == GONE else "",  # the cloud may only be late to show it
                ).write()
                # A run that ended before it was answered may have asked already; the list may hold active images only.
                earlier = before is not None and (before.unfinished or before.status == GONE)
                image = self._ask(url, record, earlier=earlier)
                if isinstance(image, CustomImage):
                    found = image, "skipped"
                else:
                    record = record.write(state="importing", id=image)
                    stage.note(image)
        return self._settle(*found) if found else self._waited(record.id, record, "imported", new=True)

    # An image that is there already

    def _settle(self, image: CustomImage, how: How) -> Brought:
        """Take *image* for the one wanted, waiting for it when it is not active yet."""
        record = publications.find(self.place.url, self.name, self.artefact.sha256)
        if how == "adopted":
            if record and record.id == image.id:
                self.console.say(f"Taking up the import of {self.name} that an earlier run began ({image.id})")
            record = record.write(state="importing", id=image.id, status=image.status) if record else None
        if image.status == ACTIVE:
            if record and record.id == image.id:
                record.write(state="active", status=ACTIVE)
            return self._brought(image.id, ACTIVE, how)
        return self._waited(image.id, record if record and record.id == image.id else None, how)

    # The request

    def _check_url(self, url: PresignedUrl) -> None:
        self.check_place(url.secret)
        left, least, most = url.seconds_left, self.transport.least_life, self.transport.longest_life
        if left < least:
            raise PublishError(
                f"the URL of the image ends in {format_duration(max(int(left), 0))}, and Magalu Cloud wants it to live "
                f"longer than {format_duration(least - 1)}",
                cause=url.note or "It was asked for a shorter time, or was made long ago",
                hint="Ask for a longer life",
                code="publish.url-life",
            )
        if left > most:
            raise PublishError(
                f"the URL of the image lives {format_duration(int(left))}, longer than the {format_duration(most)} "
                "that Magalu Cloud's store signs",
                hint="Ask for a shorter life",
                code="publish.url-life",
            )

    def _ask(self, url: PresignedUrl, record: Publication, *, earlier: bool) -> str | CustomImage:
        """The id of the image that the cloud makes for our request, which is sent again only when it did not arrive.

        *earlier*: whether a request of an earlier run may have arrived. Gives the image that has the name already when
        ``--if-exists skip`` takes it.
        """
        uncertain, skip = earlier, self.wishes.if_exists == "skip"
        for number in range(mgc_api.TRIES):
            error: FactoryError
            try:
                image = self.images.create(self.request, url.secret)
                if image:
                    return image
                error = PublishError(
                    f"Magalu Cloud took the request for {self.name}, and told no id of the image",
                    hint="Run the same command again: it looks for the image by its name",
                    code=UNREADABLE,
                )
            except Refused as refused:
                error = refused
                if (uncertain or skip) and refused.code == "publish.name-taken":
                    whose = ", most likely by an earlier request of ours" if uncertain else ""
                    self.console.say(f"{self.name} is taken{whose}: looking for it")
                    found, only = self._wanted.arrived(ARRIVAL_TRIES), "" if number else record.id
                    if found and uncertain and (found.id == only if only else self._wanted.ours(found)):
                        if earlier and found.id != record.id:
                            self._wanted.doubt(found)
                        return found.id
                    if found and skip and found.status not in ENDED:
                        self._wanted.skipped(found)
                        if not uncertain:
                            record.write(state="failed", status=error.code)
                        return found
                    error.hint = self._wanted.unlisted(uncertain)
            except http.Unanswered as unanswered:
                error = unanswered.error
            if not passing(error) and error.code != UNREADABLE:
                if not uncertain:
                    record.write(state="failed", status=error.code)
                raise error
            uncertain = True
            if number == mgc_api.TRIES - 1:
                break
            pause = mgc_api.pause_before(number, error)
            self.console.say(
                f"The import of {self.name}: looking in {pause:.0f} s whether it was begun. {error.message}"
            )
            time.sleep(pause)
            found = self._wanted.arrived()
            if found and self._wanted.ours(found):
                return found.id
            self._check_url(url)
            self.console.warn(f"The request for {self.name} is sent again: the cloud has no such image")
        raise error

    # The end

    def _waited(self, image: str, record: Publication | None, how: How, *, new: bool = False) -> Brought:
        if not self.wishes.wait:
            self.console.say(GOES_ON.format(image))
            return self._brought(image, record.status or "importing" if record else "importing", how)
        return self._brought(image, _wait(self.images, image, self.wishes, record, self.console, new=new).status, how)

    def _brought(self, image: str, status: str, how: How) -> Brought:
        return Brought(self.transport.target, self.name, image, status, how, self.place.url)


def _wait(
    images: Images, image: str, wishes: Wishes, record: Publication | None, console: Console, *, new: bool = False
) -> CustomImage:
    """Wait for *image*, or look at it once when nobody wants to wait; write its end into the ledger."""
    try:
        with console.stage("import") as stage:
            wait = wishes.wait
            new = new or (record is not None and settling(record) > 0)
            if wait:
                found = images.wait(image, seconds=wait, stage=stage, new=new)
            else:
                found = images.look(image, unseen=CustomImage(image, "", "importing") if new else None)
            stage.note(f"{image} {found.status}")
    except PublishError as error:
        if record and error.code == "publish.import-failed":
            record.write(state="failed", status=error.code)
        raise
    except KeyboardInterrupt:
        console.warn(GOES_ON.format(image))
        raise
    if record:
        record.write(state="active" if found.status == ACTIVE else "importing", status=found.status, id=image)
    return found


def _recommended(artefact: Artefact) -> Requirements | None:
    """The requirements of the recipe, when the artefact comes from a build that tells them."""
    told = artefact.requirements
    if not told:
        return None
    return Requirements(
        int(told.get("vcpus", 1)),
        max(gigabytes(int(told.get("memory", 0))), 1),
        max(gigabytes(int(told.get("disk", 0))), gigabytes(artefact.virtual_size), 1),
    )
