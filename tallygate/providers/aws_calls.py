"""Calls to AWS: one session, a client per service and region, pages to their end, and the service's refusals in our words.

What a vendor says in a refusal is not repeated: such texts have carried session tokens. The code is, and the permission
that the call needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

from .. import __version__
from ..errors import CredentialsMissing, ProviderError, Unavailable

ATTEMPTS = 5
CONNECT_SECONDS_MAX = 5
READ_SECONDS_MAX = 30

DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess"})
"""Codes of a known identity that lacks the permission."""

NOBODY = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "PendingVerification",
    }
)
"""Codes of credentials that are wrong, expired, or of an account that may not use the region."""

_MISSHAPEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

_CODE = re.compile(r"[A-Za-z0-9.]{1,60}")

_WORDS = re.compile(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])")


class AwsCalls:
    """Real SDK clients, made when first needed. Safe to be used from several threads.

    ``profile`` names the credentials in AWS's own files; without it AWS's own search order decides. ``session`` is a boto3
    session to use instead of an own one. ``endpoints`` replaces the address of a service by name. ``attempts`` is how often
    a call is tried altogether: the SDK repeats what was throttled, failed on the other side or got lost, with growing random
    waits.
    """

    def __init__(
        self,
        *,
        profile: str | None = None,
        session: Any = None,
        endpoints: Mapping[str, str] | None = None,
        attempts: int = ATTEMPTS,
        connect_seconds_max: int = CONNECT_SECONDS_MAX,
        read_seconds_max: int = READ_SECONDS_MAX,
    ) -> None:
        self._profile = profile
        self._endpoints = dict(endpoints or {})
        self._attempts = attempts
        self._connect_seconds_max = connect_seconds_max
        self._read_seconds_max = read_seconds_max
        self._making = Lock()
        self._session = session
        self._clients: dict[tuple[str, str], Any] = {}

    def call(
        self, service: str, operation: str, *, region: str, asked_in: str | None = None, **parameters: object
    ) -> dict[str, Any]:
        """One answer. ``region`` is what the call is about, ``asked_in`` where it is asked when that is elsewhere.

        Raises ``CredentialsMissing`` naming the permission that was missing, and ``Unavailable`` for everything else that
        keeps an answer from being had.
        """
        with _in_our_words(service, operation, region):
            answer: dict[str, Any] = getattr(self._client(service, asked_in or region), _snake(operation))(**parameters)
            if not isinstance(answer, dict):
                raise TypeError(f"an answer that is {type(answer).__name__}")
        return answer

    def pages(
        self,
        service: str,
        operation: str,
        *,
        region: str,
        pages_max: int,
        asked_in: str | None = None,
        **parameters: object,
    ) -> Iterator[dict[str, Any]]:
        """Every page of an answer, in order. Raises as ``call`` does, and ``Unavailable`` for a chain without an end."""
        tokens: set[str] = set()
        further: dict[str, object] = {}
        for _ in range(pages_max):
            answer = self.call(service, operation, region=region, asked_in=asked_in, **parameters, **further)
            yield answer
            token = answer.get("NextToken")
            if not token:
                return
            if token in tokens:
                raise Unavailable(
                    f"AWS {operation} for {region} goes round in a circle: page {len(tokens) + 1} came twice"
                )
            tokens.add(token)
            further = {"NextToken": token}
        raise Unavailable(f"AWS {operation} for {region} has no end: {pages_max:,} pages were read")

    def _client(self, service: str, region: str) -> Any:
        with self._making:
            found = self._clients.get((service, region))
            if found is None:
                found = self._clients[service, region] = self._new_client(service, region)
        return found

    def _new_client(self, service: str, region: str) -> Any:
        from boto3.session import Session
        from botocore.config import Config

        if self._session is None:
            self._session = Session(profile_name=self._profile)
        return self._session.client(
            service,
            region_name=region,
            endpoint_url=self._endpoints.get(service),
            config=Config(
                connect_timeout=self._connect_seconds_max,
                read_timeout=self._read_seconds_max,
                retries={"mode": "standard", "total_max_attempts": self._attempts},
                user_agent_extra=f"tallygate/{__version__}",
            ),
        )


@contextmanager
def _in_our_words(service: str, operation: str, region: str) -> Iterator[None]:
    """Turns what the SDK raises into our errors.

    Besides its own, its parsers raise ``_MISSHAPEN`` when an answer is not of the promised shape.
    """
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(error.response, service, operation, region) from None
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound,
        exceptions.SSOError,
        exceptions.TokenRetrievalError,
        exceptions.NoAuthTokenError,
        exceptions.LoginError,
    ) as error:
        raise CredentialsMissing(
            f"There are no AWS credentials to ask {operation} for {region} with ({type(error).__name__})",
            cure=f"Sign in with: aws configure or aws sso login, or set AWS_PROFILE. Needed: {service}:{operation}",
        ) from None
    except (exceptions.BotoCoreError, ResponseParserError, *_MISSHAPEN) as error:
        raise Unavailable(
            f"AWS {operation} for {region} has no usable answer: {_WORDS.sub(' ', type(error).__name__).lower()}"
        ) from None


def _refusal(response: Mapping[str, Any], service: str, operation: str, region: str) -> ProviderError:
    told = response.get("Error", {}).get("Code")
    code = told if isinstance(told, str) and _CODE.fullmatch(told) else "no usable code"
    permission = f"{service}:{operation}"
    if code in DENIED:
        return CredentialsMissing(
            f"AWS refused {operation} for {region}: the permission {permission} is missing ({code})",
            cure=f"Allow {permission} to these credentials, or use others",
        )
    if code in NOBODY or code.startswith("AuthFailure."):
        return CredentialsMissing(
            f"AWS does not accept the credentials for {operation} in {region} ({code})",
            cure=f"Sign in again as somebody who may {permission}, set this machine's clock, and enable the region",
        )
    return Unavailable(f"AWS {operation} for {region} failed: {code}")


def _snake(operation: str) -> str:
    """``DescribeRegions`` as the SDK's method is called: ``describe_regions``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
