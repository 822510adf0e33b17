"""What a store answers when it does not do as it is asked, and what that means for the person who asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from factory.errors import PublishError

AGAIN = {
    "BadDigest",  # damaged on the way
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
AGAIN_LATER = (408, 425, 429)  # statuses, also of a gateway that has no word of the store's
FULL = {"EntityTooLarge", "InsufficientStorage", "NoSpaceLeft", "QuotaExceeded", "StorageFull", "XMinioStorageFull"}
FULL |= {"OverQuota", "AccountQuotaExceeded", "InsufficientCapacity", "XAmzQuotaExceeded"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"}
ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
ELSEWHERE |= {"TemporaryRedirect", "IncorrectEndpoint", "301", "307"}
FOREIGN = "not S3"  # an answer that went well, and is not what S3 says
WAY = {
    "unreachable": "the object storage {host} cannot be reached",
    "silent": "the object storage {host} does not answer",
    "broken": "the connection to the object storage {host} keeps breaking",
}
"""What may be wrong with the way to a store, as people are told."""


@dataclass
class Refusal(Exception):
    """One refusal. *code* is the store's own word, or for the way there one of ``WAY`` or ``tls``."""

    code: str
    words: str = ""
    status: int = 0
    request_id: str = ""
    date: str = ""  # the store's clock, as HTTP writes it
    region: str = ""  # where the bucket is, if the store said so
    pause: float = 0.0  # seconds the store asks us to wait
    tried: float = 0.0  # seconds for which the same request was tried
    tries: int = 0  # how often the same request had been sent before, without an answer of use

    @property
    def transient(self) -> bool:
        """Whether the same request may go well a little later."""
        if self.code in FULL or self.status == 501:
            return False
        return self.code in AGAIN or self.code in WAY or self.status in AGAIN_LATER or self.status >= 500

    @property
    def gone(self) -> bool:
        """Whether the object, or the upload, is not there."""
        return self.code in ("404", "NoSuchKey", "NoSuchUpload", "NotFound") and self.code != "NoSuchBucket"

    @property
    def unsupported(self) -> bool:
        """Whether the store does not know such a request."""
        return self.status in (405, 501) or self.code in ("NotImplemented", "MethodNotAllowed")

    @property
    def text(self) -> str:
        """The store's own words, with the number that its people ask for; of the way there, what is wrong with it."""
        if self.code in WAY:
            return self.words
        status = f"{self.status} " if self.status and self.code != str(self.status) else ""
        words = f": {self.words}" if self.words and self.words != self.code else ""
        trace = f" (request id {self.request_id})" if self.request_id else ""
        return f"{status}{self.code}{words}"[:600] + trace

    def skew(self) -> str:
        """By how much this host's clock differs from the store's, for people; empty when that is unknown."""
        try:
            theirs = parsedate_to_datetime(self.date)
            ahead = datetime.now(UTC) - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
        except (TypeError, ValueError):
            return ""
        return f"{timedelta(seconds=round(abs(ahead).total_seconds()))} {'ahead' if ahead > timedelta() else 'behind'}"


def of_answer(answer: Mapping[str, Any]) -> Refusal:
    """The refusal in an answer as boto3 reads it."""
    error, meta = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    headers = {name.lower(): text for name, text in meta.get("HTTPHeaders", {}).items()}
    pause = headers.get("retry-after", "")
    return Refusal(
        code=str(error.get("Code") or meta.get("HTTPStatusCode") or "an unreadable answer"),
        words=str(error.get("Message") or ""),
        status=int(meta.get("HTTPStatusCode") or 0),
        request_id=str(meta.get("RequestId") or error.get("RequestId") or headers.get("x-amz-request-id", "")),
        date=headers.get("date", ""),
        region=str(error.get("Region") or headers.get("x-amz-bucket-region", "")),
        pause=float(pause) if pause.isascii() and pause.isdigit() else 0.0,
    )


def as_error(refusal: Refusal, doing: str, *, host: str, bucket: str, variables: str) -> PublishError:
    """*refusal* while *doing* (such as ``uploading a part``), for people. *variables* name the credentials."""
    code = refusal.code
    said = f"{host} answered {refusal.text}"
    if code == "NoSuchBucket" or (code == "404" and "bucket" in doing):
        return PublishError(
            f"the bucket {bucket} does not exist at {host}",
            cause=said,
            hint="Check FACTORY_S3_BUCKET, FACTORY_S3_ENDPOINT and FACTORY_S3_REGION; no bucket is ever made here",
            code="publish.bucket-missing",
        )
    if code in ELSEWHERE or refusal.status in (301, 307):
        place = refusal.region or (re.search(r"expecting '([\w-]+)'", refusal.words) or ["", ""])[1]
        return PublishError(
            f"the bucket {bucket} is in another region" + (f", {place}" if place else ""),
            cause=said,
            hint=f"Set FACTORY_S3_REGION{f'={place}' if place else ''}, and FACTORY_S3_ENDPOINT to its address there",
            code="publish.region",
        )
    if code == "RequestTimeTooSkewed":
        skew = refusal.skew()
        return PublishError(
            f"the clock of this host differs too much from that of {host}",
            cause=f"It is {skew} of it. {said}" if skew else said,
            hint="Set the clock (timedatectl set-ntp true) and publish again",
            code="publish.clock",
        )
    if code in EXPIRED:
        return PublishError(
            "the temporary credentials have expired",
            cause=said,
            hint="Get new ones and publish again: the parts that are up are kept",
            code="publish.credentials-expired",
        )
    if code in WRONG_KEY:
        return PublishError(
            f"{host} does not accept the credentials",
            cause=said,
            hint=f"Check {variables}: key id and secret belong together, and to this store",
            code="publish.credentials-refused",
        )
    return _less_common(refusal, doing, said, host, bucket)


def _less_common(refusal: Refusal, doing: str, said: str, host: str, bucket: str) -> PublishError:
    code = refusal.code
    if code in FULL or refusal.status == 507:
        return PublishError(
            f"{host} has no space left for the image",
            cause=said,
            hint="Remove old images from the bucket, or raise its quota",
            code="publish.store-full",
        )
    if refusal.status == 411 or code == "MissingContentLength":
        return PublishError(
            f"{host} does not understand how the upload's checksum is sent",
            cause=said,
            hint="Set it back",
            command="export FACTORY_S3_CHECKSUMS=when_required",
            code="publish.checksum-mode",
        )
    if code == FOREIGN:
        return PublishError(
            f"what answers at {host} is no object storage",
            cause=f"{doing[:1].upper()}{doing[1:]} got {refusal.words}",
            hint="A login page or a proxy may answer in its place: check FACTORY_S3_ENDPOINT, https_proxy and no_proxy",
            code="publish.store-answer",
        )
    if code == "tls":
        return PublishError(
            f"the certificate of {host} is not trusted",
            cause=refusal.words,
            hint="Set FACTORY_S3_CA_BUNDLE to the certificates of its authority; check this host's clock too",
            code="publish.tls",
        )
    if code in WAY:
        return PublishError(
            WAY[code].format(host=host) + (f", tried for {refusal.tried:.0f} s" if refusal.tried >= 1 else ""),
            cause=refusal.words,
            hint="Check the network, FACTORY_S3_ENDPOINT, https_proxy and no_proxy, and run the same command again: "
            "an upload goes on with the parts that are up",
            code="publish.unreachable",
        )
    if refusal.status == 403 or code in ("AccessDenied", "AllAccessDisabled", "403"):
        return PublishError(
            f"{host} does not allow {doing} (bucket {bucket})",
            cause=said,
            hint="Give the key the right to list, read, write and delete objects and uploads in the bucket",
            code="publish.denied",
        )
    if refusal.transient:
        return PublishError(
            f"{host} kept failing while {doing}",
            cause=said,
            hint="The store is overloaded, broken or full. Publish again later: the parts that are up are kept",
            code="publish.store-failing",
        )
    return PublishError(
        f"{host} refused {doing}", cause=said, hint="See what its documentation says of that", code="publish.refused"
    )
