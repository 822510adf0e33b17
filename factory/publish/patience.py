"""How long a store is asked again: what may pass is tried again, with jitter and the store's Retry-After."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from factory.publish.refusals import Refusal

LONGEST_PAUSE = 20.0  # seconds between two tries
DAMAGED_TRIES = 4  # of what arrives damaged
Result = TypeVar("Result")


class Patience:
    """For the requests of one bucket; threads may share it."""

    def __init__(self, seconds: float) -> None:
        """*seconds* that one request is tried again."""
        self.seconds = seconds
        self.waiting: Callable[[Refusal, float], object] | None = None
        """Told before each pause: why, and for how many more seconds at most."""
        self.stop = threading.Event()  # ends the pauses

    def tell(self, refusal: Refusal, left: float) -> None:
        """Tell who wants to know that *refusal* is waited out, for *left* more seconds at most."""
        if self.waiting is not None:
            self.waiting(refusal, left)

    @contextlib.contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """Another patience for as long as the block runs."""
        before, self.seconds = self.seconds, seconds
        try:
            yield
        finally:
            self.seconds = before

    def with_(self, call: Callable[[], Result]) -> Result:
        """What *call* gives, which raises Refusal. The last one is raised, with the time that was spent on it."""
        begun, tries = time.monotonic(), 0
        while True:
            try:
                return call()
            except Refusal as refusal:
                pause = min(0.5 * 2**tries, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - only jitter
                pause = min(max(pause, refusal.pause), 2 * LONGEST_PAUSE)
                refusal.tried, refusal.tries = time.monotonic() - begun, tries
                over = refusal.tried + pause > self.seconds
                over = over or (refusal.code == "BadDigest" and tries >= DAMAGED_TRIES)
                if not refusal.transient or over or self.stop.is_set():
                    raise
                self.tell(refusal, self.seconds - refusal.tried)
                tries += 1
                self.stop.wait(pause)
