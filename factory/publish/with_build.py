"""``factory build --publish``: the parts of the image go up while it is tested, and it appears when the tests are green.

    with publication_of(plan, ...) as publication:   # settings, credentials and bucket are looked at before the build
        publication.begin(artefact)                  # the rules hold: the name is looked for, parts go up
        ...                                          # boot tests; an ImageRefused or an interrupt leaves nothing there
        publication.conclude(folder)                 # the upload is completed, and the import follows

A failure of the store or the cloud does not end the build: the image is fine. It is raised by :meth:`conclude`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from factory.errors import FactoryError, ImageRefused, PublishError
from factory.publish import Artefact, artefacts, publishing, transport
from factory.publish.importer import Wishes
from factory.publish.publishing import Published
from factory.publish.store import Present, Store, address_of, open_store
from factory.publish.upload import PartsUpload

if TYPE_CHECKING:
    from factory.console import Console, Stage


@dataclass
class _Way:
    """One target: its store, and the upload to it as far as it is."""

    target: str
    store: Store
    brought: publishing.Brought | None = None  # no upload is needed: the cloud has it
    upload: PartsUpload | Present | None = None
    thread: threading.Thread | None = None
    error: FactoryError | None = None


@dataclass
class BuildPublication:
    """The publication of one build to its targets."""

    targets: Sequence[str]
    wishes: Wishes
    console: Console
    life: int = publishing.LIFE  # seconds that each URL lives
    url_file: Path | None = None
    _ways: list[_Way] = field(default_factory=list)
    _concluded: bool = False

    def __enter__(self) -> Self:
        """Look at settings, credentials and bucket of each target. Raises UsageError and PublishError."""
        for target in self.targets:
            store = open_store(transport.load(target), self.console)
            store.reach()
            self._ways.append(_Way(target, store))
        return self

    def begin(self, artefact: Artefact, parent: Stage) -> None:
        """Let the parts of *artefact* go up, in the background, as stages below *parent*. Raises nothing but defects."""
        for way in self._ways:
            try:
                preparation = publishing.prepare(artefact, way.target, self.wishes, self.console)
                preparation.check_place(address_of(way.store.transport, artefact))
                way.brought = preparation.before_upload()
            except FactoryError as error:
                self._failed(way, error)
                continue
            if way.brought is None:
                way.thread = threading.Thread(
                    target=self._send, args=(way, artefact, parent), name=f"publish-{way.target}", daemon=True
                )
                way.thread.start()

    def _send(self, way: _Way, artefact: Artefact, parent: Stage) -> None:
        name = "upload" if len(self._ways) == 1 else f"upload to {way.target}"
        try:
            with self.console.stage(name, parent=parent) as stage:
                way.upload = way.store.begin(artefact, stage)
                way.upload.wait()
        except FactoryError as error:
            self._failed(way, error)

    def _failed(self, way: _Way, error: FactoryError) -> None:
        way.error = error
        self.console.warn(f"Target {way.target} will not be published to: {error.message}. The build goes on.")

    def conclude(self, folder: Path) -> list[Published]:
        """Complete the uploads of the build in *folder*, which is green, and import. Raises the first failure."""
        artefact = artefacts.of_manifest(publishing.read_manifest(folder), folder)
        self._concluded = True
        done: list[Published] = []
        failure: FactoryError | None = None
        for way in self._ways:
            try:
                done.append(self._conclude(way, artefact))
            except FactoryError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return done

    def _conclude(self, way: _Way, artefact: Artefact) -> Published:
        if way.thread:
            while way.thread.is_alive():
                way.thread.join(0.2)  # short, so that an interrupt is seen
        if way.error is not None:
            raise way.error
        if way.brought is not None:
            publishing.tell(artefact, way.brought, None)
            return Published(way.brought)
        if way.upload is None:
            raise PublishError(f"the upload to {way.target} never began", code="publish.upload-dropped")
        with way.upload as upload, self.console.stage("commit") as stage:
            stored = upload.commit()
            stage.note(f"verified by {stored.verified}")
        preparation = publishing.prepare(artefact, way.target, self.wishes, self.console)
        return publishing.conclude(
            way.store, stored, artefact, preparation, self.console, life=self.life, url_file=self.url_file
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing in the store of a build that did not end well."""
        for way in self._ways:
            if way.upload is not None and (not self._concluded or not isinstance(error, PublishError | None)):
                way.upload.abort()
