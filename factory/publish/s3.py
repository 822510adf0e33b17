"""A bucket of an S3-compatible store: the one module that knows boto3, and turns its errors into refusals.

Each call is one request; what may be tried again is tried by :mod:`factory.publish.patience`. boto3's own retries are
off, so that an upload is never begun twice without our knowing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from factory import __version__
from factory.errors import PublishError, UsageError
from factory.publish import Head, Pending, refusals
from factory.publish.patience import Patience, Result
from factory.publish.refusals import Refusal
from factory.publish.store_settings import StoreSettings, addressing_at

CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
LEAST_SILENCE = 5.0  # seconds without an answer that are waited for, however small the patience
PATIENCE = 300.0  # seconds that one request is tried again
WORKERS = 4  # parts at once
_DISTRUST = re.compile("certificate|hostname|WRONG_VERSION|UNSUPPORTED_PROTOCOL|HANDSHAKE_FAILURE", re.IGNORECASE)


class Bucket:
    """One bucket. Methods raise Refusal, but PublishError or UsageError for credentials; threads may share it."""

    def __init__(self, settings: StoreSettings, credential_names: str, *, patience: float = PATIENCE) -> None:
        """*credential_names* are the variables that a message tells people to check; *patience* is in seconds."""
        self.settings, self.patience = settings, Patience(patience)
        self.name = settings.bucket
        self._names = credential_names
        self.lists_uploads = True  # whether the store tells which uploads are pending, as far as is known
        self._silence = min(READ_SECONDS, max(LEAST_SILENCE, patience / 3))  # so that more than one try fits
        try:
            with self._speaking():
                self._session, self._client = self._connect()
        except ValueError as error:
            raise UsageError(
                "what the environment or the AWS configuration says of the object storage cannot be right",
                cause=re.sub(r"//[^/\s]*@", "//", str(error)),
                hint="Check AWS_ENDPOINT_URL, AWS_CREDENTIAL_EXPIRATION and the profile that AWS_PROFILE names",
                code="usage.store",
            ) from error
        self.endpoint: str = self._client.meta.endpoint_url
        self.host: str = urlsplit(self.endpoint).netloc
        self.region: str = self._client.meta.region_name or ""

    def _connect(self) -> tuple[Any, Any]:
        import boto3
        from botocore.config import Config

        settings = self.settings
        session = boto3.Session()
        own = {"aws_access_key_id": settings.key_id, "aws_secret_access_key": settings.secret}
        if settings.key_id:
            session = boto3.Session(**own)
        if session.get_credentials() is None:
            raise PublishError(
                "there are no credentials for the object storage",
                cause="Neither the environment nor a profile has any",
                hint=f"Set {self._names}",
                code="publish.credentials-missing",
            )
        config = Config(
            signature_version="s3v4",
            request_checksum_calculation=settings.checksums,
            response_checksum_validation=settings.checksums,
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=min(CONNECT_SECONDS, self._silence),
            read_timeout=self._silence,
            max_pool_connections=WORKERS + 1,
            user_agent_extra=f"image-factory/{__version__}",
        )

        def connected(addressing: str) -> Any:
            return session.client(
                "s3",
                endpoint_url=settings.endpoint or None,
                region_name=settings.region or session.region_name or "us-east-1",
                verify=settings.ca_bundle,
                config=config.merge(Config(s3={"addressing_style": addressing})),
            )

        client = connected(settings.addressing)  # which knows where the store is by the AWS configuration, too
        addressing = addressing_at(client.meta.endpoint_url, settings.bucket, settings.addressing)
        if addressing != settings.addressing:
            client = connected(addressing)
        if urlsplit(client.meta.endpoint_url).scheme != "https":
            raise UsageError(
                "the store's address in the AWS configuration is not https",
                hint="Set FACTORY_S3_ENDPOINT to its https address",
                code="usage.store",
            )
        # boto3 asks where a bucket is when a store redirects; if that is answered by a redirect too, once is enough.
        client.meta.events.register("before-call.s3.HeadBucket", _redirected)
        return session, client

    # Credentials

    def secrets(self) -> list[str]:
        """What must never be shown: the secret key, and the token of temporary credentials."""
        with self._speaking():
            frozen = self._session.get_credentials().get_frozen_credentials()
        return [text for text in (frozen.secret_key, frozen.token) if text]

    def credentials_end(self) -> datetime | None:
        """When the credentials end; None for lasting ones, and for temporary ones that do not say."""
        found = self._session.get_credentials()
        end = getattr(found, "_expiry_time", None)
        return end.astimezone(UTC) if isinstance(end, datetime) else None

    def temporary(self) -> bool:
        """Whether the credentials come with a token, and so end by themselves."""
        with self._speaking():
            return bool(self._session.get_credentials().get_frozen_credentials().token)

    # Objects

    def head(self, key: str) -> Head | None:
        """What is at *key*; None when nothing is."""
        try:
            found = self._patiently(lambda: self._client.head_object(Bucket=self.name, Key=key))
        except Refusal as refusal:
            if refusal.gone or refusal.status == 404:
                return None
            if refusal.code == str(refusal.status):  # an answer to HEAD has no words: ask for something that has
                self._patiently(lambda: self._client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1))
            raise
        metadata = {name.lower(): text for name, text in found.get("Metadata", {}).items()}
        return Head(_told(found, "ContentLength"), _etag(found.get("ETag", "")), metadata)

    def sha256(self, key: str) -> str:
        """The sha256 of the bytes at *key*; where the connection breaks, the rest is asked for as patiently again."""
        digest, at, furthest = hashlib.sha256(), 0, 0

        def rest() -> bool:
            nonlocal digest, at, furthest
            before = furthest
            try:
                with self._speaking():
                    found = self._client.get_object(
                        Bucket=self.name, Key=key, **({"Range": f"bytes={at}-"} if at else {})
                    )
                    if at and not found.get("ContentRange", "").startswith(f"bytes {at}-"):  # it knows no ranges
                        digest, at = hashlib.sha256(), 0
                    with contextlib.closing(found["Body"]) as body:
                        for block in body.iter_chunks(1 << 20):
                            digest.update(block)
                            at += len(block)
                            furthest = max(furthest, at)
            except Refusal as refusal:
                if refusal.transient and furthest > before:
                    return False
                raise
            return True

        while not self._patiently(rest):
            pass
        return digest.hexdigest()

    def read(self, key: str, limit: int) -> bytes | None:
        """The first *limit* bytes at *key*; None when nothing is there."""

        def once() -> bytes:
            with contextlib.closing(self._client.get_object(Bucket=self.name, Key=key)["Body"]) as body:
                return bytes(body.read(limit))

        try:
            return self._patiently(once)
        except Refusal as refusal:
            if refusal.gone or (refusal.status == 404 and refusal.code != "NoSuchBucket"):
                return None
            raise

    def put(self, key: str, data: bytes, content_type: str, md5: bytes) -> None:
        """Put a small object."""
        more = self._storage_class()
        self._patiently(
            lambda: self._client.put_object(
                Bucket=self.name, Key=key, Body=data, ContentType=content_type, ContentMD5=_base64(md5), **more
            )
        )

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        self._patiently(lambda: self._client.delete_object(Bucket=self.name, Key=key))

    # Uploads in parts

    def create(self, key: str, metadata: Mapping[str, str]) -> str:
        """Begin an upload in parts, with one request only; its id."""
        more = self._storage_class()
        with self._speaking():
            begun = self._client.create_multipart_upload(
                Bucket=self.name, Key=key, Metadata=dict(metadata), ContentType="application/octet-stream", **more
            )
        return str(_told(begun, "UploadId"))

    def pending(self, prefix: str) -> list[Pending]:
        """The uploads below *prefix* that have not ended, the newest first; none of a store that does not list them."""
        found: list[tuple[Any, str]] = []
        marker: dict[str, str] = {}
        while True:
            try:
                page = self._patiently(
                    lambda: self._client.list_multipart_uploads(Bucket=self.name, Prefix=prefix, **marker)  # noqa: B023
                )
            except Refusal as refusal:
                if refusal.gone:  # how rclone says that there are none
                    break
                if refusal.unsupported:
                    self.lists_uploads = False
                    return []
                raise
            date = page["ResponseMetadata"]["HTTPHeaders"].get("date", "")
            found += [(each, date) for each in page.get("Uploads", ()) if each["Key"].startswith(prefix)]
            following = {
                "KeyMarker": page.get("NextKeyMarker", ""),
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }
            if not page.get("IsTruncated") or following == marker:
                break
            marker = following
        uploads = [
            Pending(each["Key"], each["UploadId"], Pending.age_of(each.get("Initiated"), date)) for each, date in found
        ]
        return sorted(uploads, key=lambda each: each.age)

    def parts(self, key: str, upload_id: str) -> dict[int, tuple[str, int]]:
        """The parts that are up: number -> ETag and size in bytes. One that the store has in two forms is left out."""
        found: dict[int, tuple[str, int]] = {}
        twice: set[int] = set()
        marker = 0
        while True:
            page = self._patiently(
                lambda: self._client.list_parts(
                    Bucket=self.name, Key=key, UploadId=upload_id, PartNumberMarker=marker  # noqa: B023
                )
            )  # fmt: skip
            for each in page.get("Parts", ()):
                part = (_etag(each["ETag"]), each["Size"])
                if found.setdefault(each["PartNumber"], part) != part:  # SeaweedFS may list what was replaced
                    twice.add(each["PartNumber"])
            following = int(page.get("NextPartNumberMarker") or 0)
            if not page.get("IsTruncated") or following <= marker:
                return {number: part for number, part in found.items() if number not in twice}
            marker = following

    def send(self, key: str, upload_id: str, number: int, body: Callable[[], Any], md5: bytes) -> str:
        """Send one part; *body* gives its bytes as a new file for each try. The part's ETag."""
        sent = self._patiently(
            lambda: self._client.upload_part(
                Bucket=self.name, Key=key, UploadId=upload_id, PartNumber=number, Body=body(), ContentMD5=_base64(md5)
            )
        )
        return _etag(_told(sent, "ETag"))

    def complete(self, key: str, upload_id: str, etags: Mapping[int, str]) -> None:
        """Let the object appear."""
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in sorted(etags.items())]
        self._patiently(
            lambda: self._client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        )

    def abort(self, key: str, upload_id: str) -> None:
        """End an upload and drop its parts; one that is not there is fine."""
        try:
            self._patiently(lambda: self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id))
        except Refusal as refusal:
            if not refusal.gone:
                raise

    # URLs

    def presign(self, key: str, seconds: int, method: str) -> str:
        """A URL that lets whoever has it read *key* by *method*; nothing is sent."""
        operation = {"GET": "get_object", "HEAD": "head_object"}[method]
        with self._speaking():
            url = self._client.generate_presigned_url(
                operation, Params={"Bucket": self.name, "Key": key}, ExpiresIn=seconds, HttpMethod=method
            )
        return str(url)

    # Inside

    def error(self, refusal: Refusal, doing: str) -> PublishError:
        """*refusal* while *doing*, for people."""
        return refusals.as_error(refusal, doing, host=self.host, bucket=self.name, variables=self._names)

    def _storage_class(self) -> dict[str, str]:
        return {"StorageClass": self.settings.storage_class} if self.settings.storage_class else {}

    def _patiently(self, call: Callable[[], Result]) -> Result:
        def once() -> Result:
            with self._speaking():
                return call()

        return self.patience.with_(once)

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turn what boto3 raises into a Refusal, or a PublishError for credentials that cannot be had."""
        from botocore import exceptions as theirs

        try:
            yield
        except theirs.ClientError as error:
            raise refusals.of_answer(error.response) from error
        except theirs.SSLError as error:
            words = _words(error)
            raise Refusal("tls" if _DISTRUST.search(words) else "broken", words) from error
        except (theirs.ConnectTimeoutError, theirs.ReadTimeoutError) as error:
            raise Refusal("silent", f"No answer within {self._silence:.0f} s") from error
        except (theirs.EndpointConnectionError, theirs.ProxyConnectionError) as error:
            raise Refusal("unreachable", _words(error.kwargs.get("error") or error)) from error
        except (theirs.HTTPClientError, theirs.ResponseStreamingError, theirs.IncompleteReadError) as error:
            raise Refusal("broken", _words(error)) from error
        except theirs.BotoCoreError as error:
            raise self._unusable(error) from error
        except RuntimeError as error:  # botocore says so when refreshed credentials are still expired
            if "credentials" not in str(error):
                raise
            raise Refusal("ExpiredToken", "the credentials that the environment or profile gives have ended") from error

    def _unusable(self, error: Exception) -> PublishError:
        return PublishError(
            "the object storage cannot be used as it is set up",
            cause=str(error),
            hint=f"Check {self._names}, AWS_PROFILE and the AWS configuration files",
            code="publish.credentials-unusable",
        )


def _words(error: Exception) -> str:
    """The last words of an error that others were wrapped around, without objects of Python and queries of URLs."""
    text = re.sub(r"^\w+\(host=[^)]*\): ", "", str(error).rpartition(">: ")[2])
    return re.sub(r"\?\S+", "", text).strip() or type(error).__name__


def _told(answer: Mapping[str, Any], name: str) -> Any:
    """What an answer says of *name*; raises Refusal for one without it, which comes from no S3 store."""
    if answer.get(name) not in (None, ""):
        return answer[name]
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    raise Refusal(refusals.FOREIGN, f"an answer without {name}", status)


def _etag(text: str) -> str:
    """An ETag without its quotes; a proxy that packs answers marks it as weak."""
    return text.removeprefix("W/").strip('"')


def _redirected(params: Mapping[str, Any], **_: object) -> None:
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
