"""Documents from the web, by https only, within bounds of size and time."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import Unavailable, UsageError

BYTES_MAX = 200_000_000
"""No document that we read is larger."""

SECONDS_MAX = 60
"""How long a server may keep silent."""

SCHEMES = ("https",)


def fetch(
    address: str, *, bytes_max: int = BYTES_MAX, seconds_max: float = SECONDS_MAX, schemes: Sequence[str] = SCHEMES
) -> bytes:
    """The document at an address. Redirects are followed as long as they stay within ``schemes``.

    Raises ``UsageError`` for an address of another scheme, and ``Unavailable`` when the document cannot be read, is larger than
    ``bytes_max`` or ends before the length that was announced.
    """
    if not _is_within(address, schemes):
        raise UsageError(
            f"{_short(address)} is no {schemes[0]} address", cure="What comes otherwise could be anybody's"
        )

    class Within(HTTPRedirectHandler):
        """Follows only where we may go."""

        def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
            if not _is_within(newurl, schemes):
                raise Unavailable(f"{_short(address)} points to {_short(newurl)}, which is no {schemes[0]} address")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    try:
        request = Request(address, headers={"User-Agent": "tallygate"})  # noqa: S310 - the scheme is checked above
        with build_opener(Within).open(request, timeout=seconds_max) as answer:
            content: bytes = answer.read(bytes_max + 1)
            announced = answer.headers.get("Content-Length", "")
    except HTTPError as error:
        raise Unavailable(f"{_short(address)} answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise Unavailable(f"{_short(address)} cannot be read: {error}") from error
    if len(content) > bytes_max:
        raise Unavailable(f"{_short(address)} is larger than {bytes_max:,} bytes")
    if announced.isdigit() and len(content) < int(announced):
        raise Unavailable(f"{_short(address)} broke off after {len(content):,} of {int(announced):,} bytes")
    return content


def _is_within(address: str, schemes: Sequence[str]) -> bool:
    return address.partition("://")[0].lower() in schemes


def _short(address: str) -> str:
    """An address without its query, which may carry a key, or a name and password."""
    bare = address.partition("?")[0].partition("#")[0]
    scheme, separator, rest = bare.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2] if '@' in rest.partition('/')[0] else rest}"[:200]
