"""What the failures of Google's services mean: what may pass, what a person must change, and the rest.

Of a failed answer only its status and Google's own one-word reasons are told, because a body may repeat what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import CredentialsMissing, Unavailable
from ..times import Clock
from .retry import RETRIED, Passing, asked_seconds

UNKNOWN = frozenset({400, 404})
"""Answers that mean: not known here, or not kept."""


@contextmanager
def translated(what: str, permission: str, clock: Clock) -> Iterator[None]:
    """Sorts what Google's libraries raise into what may pass, what needs a person, and the rest."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.protobuf.json_format import ParseError
    from requests.exceptions import RequestException

    try:
        yield
    except ParseError:
        raise Passing(f"{what}: the answer is not JSON of the expected form") from None
    except GoogleAPICallError as error:
        raise refusal(int(error.code or 0), error.response, what, permission, clock) from None
    except (RequestException, TransportError) as error:
        raise Passing(f"{what}: no answer ({type(error).__name__})") from None
    except GoogleAuthError as error:
        if getattr(error, "retryable", False):
            raise Passing(f"{what}: no access token ({type(error).__name__})") from None
        raise _no_access(what, permission) from None


def refusal(status: int, answer: Any, what: str, permission: str, clock: Clock) -> Exception:
    """The error that an answer other than success stands for."""
    reasons = _reasons(answer)
    if status in RETRIED or reasons & {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"}:
        headers = answer.headers if answer is not None else {}
        return Passing(f"{what}: status {status}", asked_seconds=asked_seconds(headers, clock.now()))
    if status in (401, 403):
        if reasons & {"accessNotConfigured", "SERVICE_DISABLED"}:
            return CredentialsMissing(f"{what}: the API is not enabled in the project", cure=f"Needed: {permission}")
        return _no_access(what, permission)
    if status in UNKNOWN:
        return Unavailable(f"{what}: not known in this project")
    return Unavailable(f"{what}: status {status}")


def _no_access(what: str, permission: str) -> CredentialsMissing:
    return CredentialsMissing(f"{what}: the credentials do not allow this", cure=f"Needed: {permission}")


def _reasons(answer: Any) -> set[str]:
    try:
        error = json.loads(answer.content)["error"]
        told = [*error.get("errors", []), *error.get("details", [])]
        return {str(entry.get("reason")) for entry in told}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
