"""What every test needs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.faulty_way import FaultyWay, faulty_way
from tests.object_store import ObjectStore, lead_to, running

# A shell that starts the tests in the background has them ignore Ctrl-C, and nohup the end of the terminal; so would
# the programs that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long one example takes says more about the machine than about the factory.
settings.register_profile("here", deadline=None)
settings.load_profile("here")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: much of what runs side by side waits for a store or for a time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@pytest.fixture
def store(seaweed: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty store of this host, and the settings lead to it."""
    seaweed.empty()
    lead_to(seaweed, monkeypatch)
    return seaweed


@pytest.fixture
def way(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyWay]:
    """The same, by a way that can fail."""
    with faulty_way(store) as found:
        monkeypatch.setenv("FACTORY_S3_ENDPOINT", found.endpoint)
        yield found
