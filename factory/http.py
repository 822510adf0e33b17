"""HTTP over TLS: the one module that knows requests and urllib3, and turns their errors into ours.

Only https, redirects included. Certificates are checked against FACTORY_CA_BUNDLE, else REQUESTS_CA_BUNDLE,
CURL_CA_BUNDLE or SSL_CERT_FILE, else the host's own store, else the one that comes with requests. http_proxy,
https_proxy and no_proxy are honoured. A server that is busy (429, 5xx) or cannot be reached is asked again a few
times.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from factory import settings
from factory.errors import BuildError, FactoryError, UsageError

if TYPE_CHECKING:
    import requests
    from requests.auth import AuthBase
    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 15.0
READ_SECONDS = 60.0  # longest silence
RETRIES = 4
BACKOFF = 0.5  # seconds before the second retry; doubles with each
LONGEST_WAIT = 30  # seconds, whatever a server's Retry-After says
BUSY = (429, 500, 502, 503, 504)
BLOCK = 1 << 18  # bytes
LONGEST_ANSWER = 4 << 20  # bytes of an answer of a service
TRICKLE = 4  # times the longest silence that the body of such an answer may take
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")  # of other programs
SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


class Interrupted(Exception):
    """The connection broke in the middle of a body; what had arrived by then can be kept."""


class Reply:
    """An answer whose body has not been read yet. *url* is where the redirects led."""

    def __init__(self, response: requests.Response) -> None:
        """Made by :func:`get` only."""
        self.status: int = response.status_code
        self.url: str = response.url
        self.headers: Mapping[str, str] = response.headers
        self._response = response

    @property
    def length(self) -> int | None:
        """Bytes in the body, when the server says so."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def blocks(self) -> Iterator[bytes]:
        """The body as it was sent, in pieces. Raises Interrupted when it ends before its time."""
        from urllib3.exceptions import HTTPError

        try:
            yield from self._response.raw.stream(BLOCK, decode_content=False)
        except (HTTPError, OSError) as error:
            raise Interrupted(_reason(error)) from error


@contextmanager
def get(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    allowed: Container[int] = (200,),
    failure: type[FactoryError] = BuildError,
    method: Literal["GET", "HEAD"] = "GET",
    trusted: str | bool | None = None,
    seconds: float = READ_SECONDS,
    anonymous: bool = False,
) -> Iterator[Reply]:
    """Ask for *url*. Any error, or a status that is not in *allowed*, is raised as *failure* with a ``http.*`` code.

    *trusted* is a file of certificates in place of :func:`ca_bundle`; *seconds* is the longest silence. *anonymous*: no
    password of ~/.netrc is sent.
    """
    import requests

    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise failure(
            f"{shown(url)} is no https address",
            hint="Only https is used, so that nobody on the way can change what arrives",
            code="http.insecure",
        )
    with _session(failure) as session:
        try:
            response = session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                auth=_as_given() if anonymous else None,
                stream=True,
                timeout=(min(CONNECT_SECONDS, seconds), seconds),
                verify=ca_bundle() if trusted is None else trusted,
                allow_redirects=True,
            )
        except (requests.RequestException, OSError) as error:
            raise _translated(error, url, failure) from error
        with response:
            if response.status_code not in allowed:
                raise _status_error(response.status_code, response.reason, url, failure)
            yield Reply(response)


def fetch(url: str, *, limit: int, failure: type[FactoryError] = BuildError) -> bytes:
    """The body of a small file, of at most *limit* bytes."""
    last: Exception | None = None
    for _ in range(RETRIES):
        try:
            with get(url, failure=failure) as reply:
                body = b""
                for block in reply.blocks():
                    body += block
                    if len(body) > limit:
                        raise failure(
                            f"{shown(url)} is larger than {limit} bytes",
                            hint="Check the address: this should be a small file",
                            code="http.too-large",
                        )
                return body
        except Interrupted as error:
            last = error
    raise failure(
        f"{shown(url)} could not be read to its end",
        cause=str(last),
        hint="Try again",
        code="http.interrupted",
    )


@dataclass(frozen=True)
class Answer:
    """An answer with its body, of which at most :data:`LONGEST_ANSWER` bytes are kept."""

    status: int
    headers: Mapping[str, str]  # whatever the case of their names
    body: bytes


class Unanswered(Exception):
    """A request got no answer; whether the server acted on it is not known. *error* is what to tell people."""

    def __init__(self, error: FactoryError) -> None:
        super().__init__(str(error))
        self.error = error


def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    seconds: float = READ_SECONDS,
    failure: type[FactoryError] = BuildError,
) -> Answer:
    """Send exactly one request and read its answer, whatever its status: nothing is sent again, no redirect followed.

    *seconds* is the longest silence; the body has to be there after a few times that.
    Only https, and http to a loopback address, which no proxy sees. Raises Unanswered.
    """
    import requests
    from urllib3.exceptions import HTTPError

    local = loopback(url)
    if urlsplit(url).scheme != "https" and not local:
        raise failure(
            f"{shown(url)} is no https address",
            hint="Only https is used, except to this very host",
            code="http.insecure",
        )
    with requests.Session() as session:
        session.headers.update({"User-Agent": "image-factory", "Accept": "application/json"})
        session.trust_env = not local
        try:
            with session.request(
                method,
                url,
                headers=dict(headers),
                data=body,
                auth=_as_given(),
                stream=True,
                allow_redirects=False,
                timeout=(min(CONNECT_SECONDS, seconds), seconds),
                verify=ca_bundle(),
            ) as response:
                return Answer(response.status_code, response.headers, _body(response, TRICKLE * seconds))
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Unanswered(_translated(error, url, failure)) from error


def _body(response: requests.Response, seconds: float) -> bytes:
    """The beginning of a body; one that is not there after *seconds*, because it trickles, is raised as a timeout."""
    import requests

    read = getattr(response.raw, "read1", response.raw.read)  # read1 gives what is there; old urllib3 has none
    end, body = time.monotonic() + seconds, bytearray()
    while block := read(min(BLOCK, LONGEST_ANSWER - len(body)), decode_content=True):
        body += block
        if time.monotonic() > end:
            raise requests.exceptions.ReadTimeout(f"Its answer was not there after {seconds:.0f} s")
    return bytes(body)


def loopback(url: str) -> bool:
    """Whether *url* leads to this very host."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ca_bundle() -> str | bool:
    """The file (or folder) of certificates to trust; True for the store that comes with requests."""
    chosen = settings.setting("FACTORY_CA_BUNDLE")
    if chosen.value:
        path = settings.expanded(chosen.value)
        if not path.exists():
            raise UsageError(
                f"FACTORY_CA_BUNDLE names {path}, which is not there (set in {chosen.origin})",
                hint="Name a file with certificates in PEM form",
                code="usage.setting",
            )
        return str(path)
    variables = (os.environ.get(name, "") for name in CA_VARIABLES)
    return next((path for path in (*variables, *SYSTEM_STORES) if path and Path(path).exists()), True)


def ca_file() -> Path | None:
    """The same for programs that want a file; None when they are left to what they trust by themselves."""
    found = ca_bundle()
    return Path(found) if isinstance(found, str) and Path(found).is_file() else None


def shown(url: str) -> str:
    """*url* without a password and without its query, which may be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket of IPv6 that is open: no part of it can be told from another
        return url.partition("?")[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _as_given() -> AuthBase:
    """Without it requests would add a password from ~/.netrc."""
    from requests.auth import AuthBase

    class AsGiven(AuthBase):
        def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
            return r

    return AsGiven()


def _session(failure: type[FactoryError]) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    class SecureSession(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            target = super().get_redirect_target(resp)
            if target and urlsplit(urljoin(resp.url, target)).scheme != "https":
                raise failure(
                    f"{shown(resp.url)} redirects to {shown(urljoin(resp.url, target))}, which is not https",
                    cause="Anybody on the way could change what arrives",
                    hint="Name another mirror",
                    code="http.insecure-redirect",
                )
            return target

    class PatientRetry(Retry):
        def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, LONGEST_WAIT)

    retry = PatientRetry(
        total=RETRIES,
        backoff_factor=BACKOFF,
        status_forcelist=BUSY,
        allowed_methods={"GET", "HEAD"},
        raise_on_status=False,  # the last answer tells more than urllib3's words for it
    )
    session = SecureSession()
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.headers["User-Agent"] = "image-factory"
    return session


def _translated(error: Exception, url: str, failure: type[FactoryError]) -> FactoryError:
    """*error* of requests as *failure*."""
    import requests

    place = shown(url)
    host = urlsplit(url).hostname
    if isinstance(error, requests.exceptions.SSLError):
        return failure(
            f"the certificate of {host} is not trusted",
            cause=_reason(error),
            hint="Behind a proxy that opens TLS, set FACTORY_CA_BUNDLE to its certificate; check the host's clock too",
            code="http.tls",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return failure(
            f"the proxy did not lead to {place}",
            cause=_reason(error),
            hint="Check https_proxy and no_proxy",
            code="http.proxy",
        )
    if isinstance(error, requests.exceptions.Timeout):
        return failure(f"{host} did not answer in time", cause=_reason(error), hint="Try again", code="http.timeout")
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return failure(f"{place} redirects in a circle", hint="Name another mirror", code="http.redirects")
    if isinstance(error, requests.exceptions.ConnectionError):
        return failure(
            f"{host} cannot be reached",
            cause=_reason(error),
            hint="Check the network, https_proxy and no_proxy",
            code="http.unreachable",
        )
    return failure(f"{place} cannot be read", cause=_reason(error), hint="Check the address", code="http.failed")


def _status_error(status: int, reason: str, url: str, failure: type[FactoryError]) -> FactoryError:
    hint = "Try again later" if status in BUSY else "Check the address: the file may have been moved or replaced"
    if status in (401, 403, 407):
        hint = "Check whether the address, or the proxy, wants you to log in"
    return failure(f"{shown(url)} answered {status} {reason}".rstrip(), hint=hint, code="http.status")


def _reason(error: BaseException) -> str:
    """The innermost words of an error that other errors were wrapped around, without addresses in memory."""
    inner: BaseException = error
    seen = {id(inner)}
    while True:
        candidates = [getattr(inner, "reason", None), *inner.args, inner.__cause__]
        following = next(
            (item for item in candidates if isinstance(item, BaseException) and id(item) not in seen), None
        )
        if following is None:
            break
        inner = following
        seen.add(id(inner))
    words = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner).strip()
    return words.rpartition(">: ")[2] or type(inner).__name__
