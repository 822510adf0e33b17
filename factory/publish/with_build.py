"""``factory build --publish``: the parts of the image go up while it is tested, and it appears when that was green.

    with Publication(targets, ...) as publication:   # settings, credentials and bucket are looked at before the build
        publication.begin(artefact)                  # the rules hold: the name is looked for, parts go up
        ...                                          # boot tests; an ImageRefused or an interrupt leaves nothing there
        publication.conclude(folder)                 # the upload is completed, and the import follows

A failure of the store or the cloud does not end the build: the image is fine. ``conclude`` tries again what may be over
by then, and raises what stays.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from factory.errors import FactoryError, PublishError, sentence
from factory.files import touching
from factory.manifest import read_manifest
from factory.publish import Artefact, artefacts, publishing, transport
from factory.publish.importer import Brought, Wishes
from factory.publish.keys import address_of
from factory.publish.publishing import Published
from factory.publish.signing import LIFE
from factory.publish.store import Present, Store, open_store, reach
from factory.publish.upload import PartsUpload

if TYPE_CHECKING:
    from factory.console import Console, Stage

PASSING = {
    *("publish.api-fault", "publish.api-busy", "publish.api-answer", "publish.store-failing", "publish.unreachable"),
    *("publish.credentials-expired", "http.failed", "http.proxy", "http.timeout", "http.unreachable"),
}
"""Failures at the beginning that may be over when the build is green."""
ABORT_SECONDS = 60.0  # that a beginning upload has to notice that nobody wants it


@dataclass
class _Way:
    """One target: its store, and the upload to it as far as it is."""

    target: str
    store: Store
    brought: Brought | None = None  # no upload is needed: the cloud has it
    upload: PartsUpload | Present | None = None
    thread: threading.Thread | None = None
    error: FactoryError | None = None


class Publication:
    """The publication of one build to its targets; a :class:`factory.publish.BuildPublication`."""

    def __init__(self, targets: Sequence[str], wishes: Wishes, console: Console) -> None:
        """*wishes* are those of ``factory publish``."""
        self._targets, self._wishes, self._console = targets, wishes, console
        self._ways: list[_Way] = []
        self._begun = self._unwanted = False
        self._file = -1

    def __enter__(self) -> Self:
        """Look at settings, credentials and bucket of each target. Raises UsageError and PublishError."""
        for target in self._targets:
            publishing.look_ahead(target)
            way = transport.load(target)
            reach(way, self._console)
            store = open_store(way, self._console)
            store.require_life(LIFE)
            store.prove_writable()
            self._ways.append(_Way(target, store))
        return self

    def begin(self, artefact: Callable[[], Artefact]) -> None:
        """Let the parts go up in the background, while the image is tested. Raises nothing but defects."""
        made, parent, self._begun = artefact(), self._console.current(), True
        with touching(made.image, "Opening the image"):  # now: a green build's folder gets another name
            self._file = os.open(made.image, os.O_RDONLY | os.O_CLOEXEC)
        for way in self._ways:
            try:
                soon = replace(self._wishes, wait=0)  # an import of others, or of an earlier run, is waited for later
                preparation = publishing.prepare(made, way.target, soon, self._console)
                preparation.check_place(address_of(way.store.transport, made))
                way.brought = preparation.before_upload()
            except FactoryError as error:
                self._failed(way, error)
                continue
            if way.brought is None:
                way.thread = threading.Thread(target=self._send, args=(way, made, parent), daemon=True)
                way.thread.start()

    def _send(self, way: _Way, artefact: Artefact, parent: Stage | None) -> None:
        name = "upload" if len(self._ways) == 1 else f"upload to {way.target}"
        try:
            with self._console.stage(name, parent=parent) as stage:
                way.upload = way.store.begin(artefact, stage, self._file)
                if self._unwanted:
                    way.upload.abort()
                way.upload.wait()
        except FactoryError as error:
            if not self._unwanted:  # what is up is kept until it is known whether the build is green
                self._failed(way, error)

    def _failed(self, way: _Way, error: FactoryError) -> None:
        way.error = error
        self._console.warn(f"It is not published to {way.target} yet: {error.message}. The build goes on.")

    def conclude(self, folder: Path) -> None:
        """Complete the uploads of the green build in *folder*, and import. Raises the first failure, when all ended."""
        artefact = artefacts.of_manifest(read_manifest(folder), folder)
        failures: list[tuple[str, FactoryError]] = []
        for way in self._ways:
            try:
                self._conclude(way, artefact)
            except FactoryError as error:
                failures.append((way.target, error))
        if failures:
            target, first = failures[0]
            if isinstance(first, PublishError):
                first.hint = f"{first.hint.rstrip('.')}. The image is fine; to try again".lstrip(". ")
                first.command = "\n".join(filter(None, (first.command, _again(folder, target))))
            for other, failure in failures[1:]:
                told = " ".join(sentence(part) for part in (failure.message, failure.cause, failure.remedy) if part)
                self._console.warn(f"It is not published to {other} either: {told} Again: {_again(folder, other)}")
            raise first

    def _conclude(self, way: _Way, artefact: Artefact) -> Published:
        if not self._begun:  # nothing was built: it was there already
            return publishing.publish(artefact, way.target, self._wishes, self._console)
        while way.thread and way.thread.is_alive():
            way.thread.join(0.2)  # short, so that an interrupt is seen
        if way.error is not None:
            if way.upload is not None:
                way.upload.leave()  # the image is fine: the next try sends the rest
            if way.error.code not in PASSING:
                raise way.error
            self._console.say(f"The build is green: trying again to publish it to {way.target}")
            return publishing.publish(artefact, way.target, self._wishes, self._console)
        if way.brought is not None:
            return self._taken(way, way.brought, artefact)
        if way.upload is None:
            raise PublishError(f"the upload to {way.target} was never begun", code="publish.upload-dropped")
        with way.upload as upload, self._console.stage("commit") as stage:
            stored = upload.commit()
            stage.note(f"verified: {stored.verified}")
        preparation = publishing.prepare(artefact, way.target, self._wishes, self._console)
        return publishing.conclude(way.store, stored, artefact, preparation, self._console)

    def _taken(self, way: _Way, brought: Brought, artefact: Artefact) -> Published:
        """What follows when the cloud had the image before the tests, or was importing it."""
        if brought.status not in publishing.ENDED_WELL and self._wishes.wait:
            preparation = publishing.prepare(artefact, way.target, self._wishes, self._console)
            now = preparation.before_upload()
            if now is None:  # it is gone meanwhile
                return publishing.publish(artefact, way.target, self._wishes, self._console)
            brought = now
        return publishing.taken(way.store, artefact, brought, self._console)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing in the store of a build that did not end well; what is done or left already stays so."""
        self._unwanted = True
        for way in self._ways:
            if way.upload is not None:
                way.upload.abort()
            elif way.thread is not None and way.thread.is_alive():
                way.store.stop()
            if way.thread is not None:
                way.thread.join(ABORT_SECONDS)
        if self._file >= 0:
            os.close(self._file)


def _again(folder: Path, target: str) -> str:
    """The command that publishes the build in *folder*, wherever it lies."""
    return shlex.join(["factory", "publish", str(folder), "--target", target])
