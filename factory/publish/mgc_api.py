"""Magalu Cloud's API: one request at a time, sent again while the service is busy or does not answer.

Every request but POST may be sent twice; :mod:`factory.publish.mgc` decides about POST.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from factory import http
from factory.errors import FactoryError, PublishError
from factory.publish import mgc_answers
from factory.publish.mgc_answers import Refused
from factory.publish.mgc_place import KEY_VARIABLE, Place, told_where

if TYPE_CHECKING:
    from factory.console import Console

TRIES = 6
PAUSE = 0.5  # seconds before the second try; doubles
LONGEST_PAUSE = 30.0
LONGEST_RETRY_AFTER = 300.0  # seconds, whatever the service says
UNREADABLE = "publish.api-answer"  # the code of an answer that is not what the documents say
READ_SECONDS = 15.0  # longest silence of the service; it may need longer for a POST


class Api:
    """The API at *place*, opened with *key*."""

    def __init__(
        self, place: Place, key: str, console: Console, *, tries: int = TRIES, longest_pause: float = math.inf
    ) -> None:
        """*tries* of each request that may be sent twice, as long as the service asks for no pause that is longer."""
        self._place, self._key, self._console = place, key, console
        self._tries, self._longest_pause = tries, longest_pause
        console.redact(key)

    def pages(
        self, path: str, what: str, doing: str, page: int, query: Mapping[str, str]
    ) -> Iterator[tuple[Any, http.Answer]]:
        """All that a list at *path* has under *what*, asked for *page* at once, each with its answer."""
        offset, last = 0, list[Any]()
        while True:
            asked = urlencode({"_limit": page, "_offset": offset} | dict(query))
            answer = self.patiently("GET", f"{path}?{asked}", doing)
            data = data_of(answer)
            found = (data.get(what) or []) if isinstance(data, dict) else None  # some services write null for none
            if not isinstance(found, list):
                raise unreadable(answer, ValueError(f"no list of {what}"))
            if found and found == last:  # it does not turn pages
                return
            for each in found:
                yield each, answer
            offset, last = offset + len(found), found
            if not found or offset >= _total(data, offset + 1):
                return

    def patiently(
        self,
        method: str,
        path: str,
        doing: str,
        body: dict[str, Any] | None = None,
        allowed: tuple[int, ...] = (200,),
    ) -> http.Answer:
        """Send a request that does no harm when it is sent twice, again as long as the service is busy."""
        for number in range(self._tries):
            error: FactoryError
            try:
                answer = self.send(method, path, body)
                if answer.status in allowed or (method == "DELETE" and number and answer.status == 404):
                    return answer
                error = Refused(answer, doing)
            except http.Unanswered as unanswered:
                error = unanswered.error
            pause = pause_before(number, error)
            if not passing(error) or number == self._tries - 1 or pause > self._longest_pause:
                raise error
            self._console.say(f"{doing}: trying again in {pause:.0f} s. {error.message}")
            time.sleep(pause)
        raise AssertionError("unreachable")

    def once(self, path: str, doing: str, seconds: float) -> http.Answer:
        """Look once, with at most *seconds* of silence: for those who look again anyway."""
        try:
            answer = self.send("GET", path, seconds=seconds)
        except http.Unanswered as unanswered:
            raise unanswered.error from None
        if answer.status != 200:
            raise Refused(answer, doing)
        return answer

    def send(
        self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = READ_SECONDS
    ) -> http.Answer:
        """Send exactly one request. Raises http.Unanswered, whose error names the setting that leads there.

        *seconds* is the longest silence, of all but POST.
        """
        headers = {"x-api-key": self._key}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return http.exchange(
                method,
                self._place.url + path,
                headers=headers,
                body=None if body is None else json.dumps(body, ensure_ascii=False).encode(),
                seconds=http.READ_SECONDS if method == "POST" else min(seconds, READ_SECONDS),
                failure=PublishError,
            )
        except http.Unanswered as unanswered:
            error = unanswered.error
            error.message = f"Magalu Cloud's API gave no answer: {error.message}"
            error.hint = f"{error.hint.rstrip('.')}. {told_where(self._place)}"
            raise


def pause_before(number: int, error: FactoryError) -> float:
    """Seconds to wait before the try after the one with this *number*, from 0: as the service asks, or longer each."""
    asked = asked_pause(error)
    return jittered(min(PAUSE * 2**number, LONGEST_PAUSE)) if asked is None else asked


def asked_pause(error: FactoryError) -> float | None:
    """Seconds that the service asks to wait, and a little more, so that not all come at once; None when it does not."""
    asked = error.retry_after if isinstance(error, Refused) else None
    return None if asked is None else min(asked, LONGEST_RETRY_AFTER) + random.uniform(0, PAUSE)  # noqa: S311


def passing(error: FactoryError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, Refused):
        return error.passing
    return error.code in ("http.unreachable", "http.timeout", "http.failed", "http.proxy")


def jittered(seconds: float) -> float:
    """*seconds*, a quarter more or less, so that not all who wait come at once."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311


def data_of(answer: http.Answer) -> Any:
    """The JSON in *answer*; None when there is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def unreadable(answer: http.Answer, error: Exception) -> PublishError:
    """The error for an answer that is not what the documents say."""
    return PublishError(
        f"an answer of Magalu Cloud cannot be read: {error}{mgc_answers.trace(answer)}",
        cause=f"It begins with: {mgc_answers.said(mgc_answers.words(answer), 120)}",
        hint=f"Check FACTORY_MGC_API_URL and {KEY_VARIABLE}: something else may have answered",
        code=UNREADABLE,
    )


def _total(data: dict[str, Any], fallback: int) -> int:
    """How many images there are by the page's own words; *fallback* when it has none."""
    meta = data.get("meta")
    page = meta.get("page") if isinstance(meta, dict) else None
    total = page.get("total") if isinstance(page, dict) else None
    return total if isinstance(total, int) else fallback
