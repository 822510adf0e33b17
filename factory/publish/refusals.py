"""What a store answers when it does not do as it is asked, and what that means for the person who asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

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
FULL = {"EntityTooLarge", "InsufficientStorage", "NoSpaceLeft", "QuotaExceeded", "StorageFull", "XMinioStorageFull"}
FULL |= {"OverQuota", "AccountQuotaExceeded", "InsufficientCapacity", "XAmzQuotaExceeded"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"}
ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
ELSEWHERE |= {"TemporaryRedirect", "IncorrectEndpoint", "301", "307"}


@dataclass
class Refusal(Exception):
    """One refusal. *code* is the store's own word, or for the way there ``unreachable``, ``tls`` or ``broken``."""

    code: str
    words: str = ""
    status: int = 0
    request_id: str = ""
    date: str = ""  # the store's clock, as HTTP writes it
    region: str = ""  # where the bucket is, if the store said so
    pause: float = 0.0  # seconds the store asks us to wait

    @property
    def transient(self) -> bool:
        """Whether the same request may go well a little later."""
        if self.code in FULL or self.status == 501:
            return False
        return self.code in AGAIN | {"unreachable", "broken"} or self.status == 429 or self.status >= 500

    @property
    def gone(self) -> bool:
        """Whether the object, or the upload, is not there."""
        return self.code in ("404", "NoSuchKey", "NoSuchUpload", "NotFound") and self.code != "NoSuchBucket"

    @property
    def text(self) -> str:
        """The store's own words, with the number that its people ask for."""
        status = f"{self.status} " if self.status and self.code != str(self.status) else ""
        words = f": {self.words}" if self.words and self.words != self.code else ""
        trace = f" (request id {self.request_id})" if self.request_id else ""
        return f"{status}{self.code}{words}"[:600] + trace

    def skew(self) -> str:
        """By how much this host's clock differs from the store's, for people; empty when that is unknown."""
        try:
            theirs = parsedate_to_datetime(self.date)
        except (TypeError, ValueError):
            return ""
        ahead = datetime.now(UTC) - theirs
        return f"{timedelta(seconds=round(abs(ahead).total_seconds()))} {'ahead' if ahead > timedelta() else 'behind'}"


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
            hint="Set FACTORY_S3_CHECKSUMS=when_required",
            code="publish.checksum-mode",
        )
    if code == "tls":
        return PublishError(
            f"the certificate of {host} is not trusted",
            cause=refusal.words,
            hint="Set FACTORY_S3_CA_BUNDLE to the certificates of its authority; check this host's clock too",
            code="publish.tls",
        )
    if code in ("unreachable", "broken"):
        return PublishError(
            f"{host} cannot be reached" if code == "unreachable" else f"the connection to {host} keeps breaking",
            cause=refusal.words,
            hint="Check the network, FACTORY_S3_ENDPOINT, https_proxy and no_proxy; the parts that are up are kept",
            code="publish.unreachable",
        )
    if refusal.status == 403 or code in ("AccessDenied", "AllAccessDisabled", "403"):
        return PublishError(
            f"{host} does not allow {doing} in the bucket {bucket}",
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
