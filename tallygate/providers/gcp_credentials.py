"""Google's application default credentials, found soon or not at all.

Where nothing else is set up, Google's library asks the metadata server that its own machines have. Elsewhere nobody answers at
that address, and the library tries for some twelve seconds; a person who has no account there should not wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import CredentialsMissing

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

METADATA_SECONDS = 2
"""How long the metadata server may take. On a machine of Google's it answers in milliseconds."""


def find(scopes: Sequence[str]) -> tuple[Credentials, str | None]:
    """The credentials, and the project that they name. Raises ``CredentialsMissing``."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError, TransportError
    from google.auth.transport import Response
    from google.auth.transport.requests import Request

    class Nobody(Response):
        """What no answer is taken for: the library tries again after an error, and not after an answer."""

        status, headers, data = 504, {}, b""

    class Impatient(Request):
        """Asks the metadata server, the only one without TLS, once and briefly; every other as usual."""

        def __call__(self, url: str, *positional: Any, **named: Any) -> Any:
            if not url.startswith("http://"):
                return super().__call__(url, *positional, **named)  # type: ignore[no-untyped-call]
            try:
                return super().__call__(url, *positional, **{**named, "timeout": METADATA_SECONDS})  # type: ignore[no-untyped-call]
            except TransportError:
                return Nobody()

    try:
        return google.auth.default(scopes=scopes, request=Impatient())
    except DefaultCredentialsError:
        raise CredentialsMissing(
            "There are no Google Cloud credentials",
            cure="Run: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
        ) from None
