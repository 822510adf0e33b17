"""What Magalu Cloud's services answer when they refuse: every shape of it as one sentence, with its trace."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from factory.errors import PublishError
from factory.http import Answer

LONGEST = 600  # characters of a service's words
# The query of a URL, also one that is quoted itself, and parts of it that stand alone.
_SIGNED = re.compile(r"(\?|%3F)[^\s\"'<>]+|(X-Amz-[a-z]+(?:-[a-z]+)?(?:=|%3D))[^\s\"'<>]+", re.IGNORECASE)
_TAKEN = re.compile(r"\b(already (exists|in use|taken|used)|not unique|duplicate)", re.IGNORECASE)
_QUOTA_ALONE = re.compile(r"(?<![a-z])quotas?(?![a-z])", re.IGNORECASE)
_QUOTA = re.compile(r"(?<![a-z])(quota|limit)s?(?![a-z])", re.IGNORECASE)
_WORDS = ("message", "detail", "error", "errors", "error_description", "title", "reason", "msg")


class Refused(PublishError):
    """The service answered, and not as hoped. *status* is that of HTTP; *retry_after* is in seconds, if it said so."""

    code = "publish.api-refused"

    def __init__(self, answer: Answer, doing: str) -> None:
        code, hint = _advice(answer.status)
        told = words(answer) or "without a word"
        if answer.status in (400, 422) and re.search(r"\balready exists\b", told, re.IGNORECASE):
            code, hint = _advice(409)  # a name that is taken; the documents do not say by which status
        elif _is_quota(answer.status, told):
            code, hint = "publish.quota", "Delete images that nobody needs, or ask the cloud for a higher quota"
        super().__init__(
            f"{doing} failed: Magalu Cloud answered {answer.status}, {told}{trace(answer)}",
            hint=hint,
            code=code,
        )
        self.http_status = answer.status
        self.from_api = _is_json(answer)  # else a gateway on the way may have answered
        self.retry_after = retry_after(answer)

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.http_status in (408, 425, 429) or self.http_status >= 500


def _is_quota(status: int, told: str) -> bool:
    """Whether a refusal is for all that the tenant may have; a name that is taken may hold such a word, too."""
    if status not in (400, 403, 409, 422) or _TAKEN.search(told):
        return False
    return (_QUOTA if status in (403, 409) else _QUOTA_ALONE).search(told) is not None


def _is_json(answer: Answer) -> bool:
    try:
        return isinstance(json.loads(answer.body), dict)
    except (ValueError, RecursionError):
        return False


def words(answer: Answer) -> str:
    """The service's own words, in one line; empty when there are none."""
    text = answer.body.decode("utf-8", "replace").strip()
    if not text:
        return ""
    if text.startswith("<"):
        found = _of_markup(text)
    else:
        try:
            found = "; ".join(dict.fromkeys(_of_data(json.loads(text))))
        except (ValueError, RecursionError):
            found = text
    return said(found)


def said(text: str, longest: int = LONGEST) -> str:
    """*text* in one line without what signs URLs, and without its end when it has more than *longest* characters.

    It is not cut in the middle of a word: half of a secret is no longer known as one, and would be shown.
    """
    text = " ".join(_SIGNED.sub(_masked, text).split())
    if len(text) <= longest:
        return text
    return (text[: longest + 1].rpartition(" ")[0] or text[:longest]) + "..."


def _masked(query: re.Match[str]) -> str:
    return "?***" if query[1] else f"{query[2]}***"


def trace(answer: Answer) -> str:
    """``(request id ..., trace id ...)``, as its support wants to know them; empty when the answer has none."""
    known = {name.lower(): value for name, value in answer.headers.items()}
    told = [
        f"{what} {known[name]}"
        for what, name in (
            ("request id", "x-request-id"),
            ("trace id", "x-mgc-trace-id"),
            ("request id of the store", "x-amz-request-id"),
        )
        if known.get(name)
    ]
    return f" ({', '.join(told)})" if told else ""


def retry_after(answer: Answer) -> float | None:
    """How many seconds the service asks to wait, by a number or a date; None when it does not say."""
    known = {name.lower(): value for name, value in answer.headers.items()}
    text = known.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    moment = _moment(text)
    now = _moment(known.get("date", "")) or datetime.now(UTC)  # by the service's own clock, if it tells it
    return max(0.0, (moment - now).total_seconds()) if moment else None


def _moment(text: str) -> datetime | None:
    """The moment that a date of HTTP names."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else None


def _of_data(data: Any) -> Iterator[str]:
    """Every sentence in a JSON answer: ``{message, slug, details}``, ``{detail: [{loc, msg}]}``, ``{error}``, ..."""
    if isinstance(data, str):
        if data.strip():
            yield data.strip().rstrip(".")
    elif isinstance(data, list):
        for each in data:
            yield from _of_data(each)
    elif isinstance(data, dict):
        told = [sentence for name in _WORDS for sentence in _of_data(data.get(name))]
        place = data.get("loc")
        if isinstance(place, list) and told:
            told = [f"{'.'.join(map(str, place))}: {sentence}" for sentence in told]
        slug = next((str(data[name]) for name in ("slug", "code") if isinstance(data.get(name), str)), "")
        if slug and slug not in told:
            told = [f"{told[0]} [{slug}]", *told[1:]] if told else [slug]
        yield from told
        details = data.get("details")
        if isinstance(details, dict):
            yield from (f"{key}: {' '.join(_of_data(value)) or value}" for key, value in details.items())
        elif details:
            yield from _of_data(details)
        if not told and not details:
            yield json.dumps(data, ensure_ascii=False)


def _of_markup(text: str) -> str:
    """The words of an S3 error (``<Error><Code/><Message/>``), or of the page that some gateway sent."""
    parts = {name: found[1] for name in ("Code", "Message") if (found := re.search(rf"<{name}>([^<]*)</{name}>", text))}
    if parts:
        return html.unescape(": ".join(part for part in parts.values() if part))
    title = re.search(r"<title[^>]*>([^<]*)</title>", text, re.IGNORECASE)
    return html.unescape(title[1] if title else re.sub(r"<[^>]*>", " ", text))


def _advice(status: int) -> tuple[str, str]:
    """The code and the hint for a status."""
    if status == 401:
        return "publish.api-key", "Give a valid key in MGC_API_KEY; keys are made in the cloud's console"
    if status == 403:
        return "publish.api-key", "Give a key that has the right virtual-machine.write"
    if status == 404:
        return "publish.api-not-found", "Check FACTORY_MGC_API_URL and the region; the image may have been deleted"
    if status == 409:
        return "publish.name-taken", "Choose another --name, delete the other image, or use --if-exists skip"
    if status in (400, 422):
        return "publish.api-invalid", "Change the value that it names; 'factory publish --dry-run' shows the request"
    if status == 429:
        return "publish.api-busy", "Too many requests: try again later"
    if status >= 500:
        return "publish.api-fault", "Try again later; its support can look the ids up"
    if 300 <= status < 400:
        return "publish.api-redirect", "Redirects are not followed: set FACTORY_MGC_API_URL to where the API really is"
    return "publish.api-refused", "'factory publish --dry-run' shows the request"
