"""Reading a public document by its address, within bounds: how long, how large, and from where."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import Unavailable, UsageError
from ..times import Clock

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from urllib.request import OpenerDirector, Request

BYTES_MAX = 200_000_000
SECONDS_MAX = 120
SILENCE_SECONDS_MAX = 20

_CHUNK = 1 << 16
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def check(url: str) -> str:
    """``url`` itself when it may be read: https, or http to this machine, and without a password in it.

    Raises ``UsageError`` otherwise; what stands before an ``@`` is never repeated.
    """
    try:
        parts = urlsplit(url)
        host, named = parts.hostname, parts.username is not None or parts.password is not None
    except ValueError:
        host, named = None, False
    if named:
        raise UsageError("An address with a user name in it is not read", cure="Leave out what stands before the @")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise UsageError(f"{shown(url)} is not an address that is read", cure="Use https://, or the path of a file")
    return url


def shown(url: str) -> str:
    """An address for messages: without user name, query and fragment, which may carry secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "This"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]


class WebFetcher:
    """Fetches documents with the standard library. Safe to be used from several threads.

    ``bytes_max``: the largest document taken. ``seconds_max``: how long one may take altogether, by ``clock``;
    ``silence_seconds_max``: how long the other side may say nothing.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        bytes_max: int = BYTES_MAX,
        seconds_max: int = SECONDS_MAX,
        silence_seconds_max: int = SILENCE_SECONDS_MAX,
    ) -> None:
        self._clock = clock
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._silence_seconds_max = silence_seconds_max

    def __call__(self, url: str) -> bytes:
        """The document at ``url``. Raises ``UsageError`` for an address that may not be read, else ``Unavailable``."""
        from http.client import HTTPException

        check(url)
        started = self._clock.now()
        found = bytearray()
        try:
            with _opener(url).open(url, timeout=self._silence_seconds_max) as answer:
                announced = answer.headers.get("Content-Length")
                while chunk := answer.read1(_CHUNK):
                    found += chunk
                    if len(found) > self._bytes_max:
                        raise Unavailable(f"{shown(url)} is larger than {self._bytes_max:,} bytes")
                    if (self._clock.now() - started).total_seconds() > self._seconds_max:
                        raise Unavailable(f"{shown(url)} was not read within {self._seconds_max} s")
        except (OSError, HTTPException) as error:  # urllib's own errors, time-outs and TLS failures are OSErrors
            raise Unavailable(f"{shown(url)} cannot be read: {_why(error)}") from error
        if announced is not None and announced.isdecimal() and int(announced) != len(found):
            raise Unavailable(f"{shown(url)} broke off after {len(found):,} of {int(announced):,} bytes")
        return bytes(found)


def _why(error: Exception) -> str:
    code = getattr(error, "code", None)
    return (
        f"status {code}" if isinstance(code, int) else str(getattr(error, "reason", None) or type(error).__name__)[:100]
    )


def _opener(url: str) -> OpenerDirector:
    from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

    class Checked(HTTPRedirectHandler):
        """Goes only where it might have been sent in the first place."""

        max_redirections = 5

        def redirect_request(
            self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> Request | None:
            try:
                check(newurl)
            except UsageError as error:
                raise Unavailable(f"{shown(req.full_url)} points elsewhere: {error.message}") from None
            if urlsplit(newurl).hostname in _LOOPBACK and urlsplit(req.full_url).hostname not in _LOOPBACK:
                raise Unavailable(f"{shown(req.full_url)} points back to this machine, where nothing of it is")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    handlers: list[HTTPRedirectHandler | ProxyHandler] = [Checked()]
    if urlsplit(url).hostname in _LOOPBACK:
        handlers.append(ProxyHandler({}))  # a proxy's own loopback is not ours
    return build_opener(*handlers)
