"""Azure's services, asked page by page through its SDK, with one retry of our own.

The SDK's retry is switched off: it knows no jitter, and waits for as long as it is told to. A page is followed only to the host
that it came from, because the SDK sends the access token along to wherever an answer points.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import CredentialsMissing, Unavailable
from ..ids import Entropy
from ..times import Clock
from .retry import RETRIED, Passing, Retry, asked_seconds

if TYPE_CHECKING:
    from azure.core import PipelineClient
    from azure.core.credentials import TokenCredential
    from azure.mgmt.compute import ComputeManagementClient

CONNECT_SECONDS = 10
READ_SECONDS = 60

TOKEN_SECONDS = 10
"""How long each place where an access token may be had is waited for."""

PAGES_MAX = 200
"""The longest chain of pages that is followed. A large region has some 15 of 1,000 retail prices."""

RETAIL_VERSION = "2023-01-01-preview"
GRAPH_VERSION = "2021-03-01"
GRAPH_PAGE = 1_000


class AzureCalls:
    """The calls that tell prices and shapes. Safe to be used from several threads."""

    def __init__(
        self,
        *,
        clock: Clock,
        entropy: Entropy,
        subscription: str | None,
        credential: TokenCredential | None,
        management_url: str,
        prices_url: str,
        certificates: str | None,
    ) -> None:
        self._clock = clock
        self._retry = Retry(clock, entropy)
        self._subscription = subscription
        self._credential = credential
        self._management_url = management_url.rstrip("/")
        self._prices_url = prices_url.rstrip("/")
        self._transport: dict[str, Any] = {
            "connection_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "connection_verify": certificates or True,
        }
        self._lock = threading.Lock()
        self._compute_client: ComputeManagementClient | None = None
        self._management_client: PipelineClient[Any, Any] | None = None
        self._prices_client: PipelineClient[Any, Any] | None = None

    # --- what can be asked

    def skus(self, region: str) -> Iterator[Any]:
        """Every Resource SKU of a region. Raises ``Unavailable`` or ``CredentialsMissing``."""
        client = self._compute()
        what, permission = "Resource SKUs", "Microsoft.Compute/skus/read (role Reader) on the subscription"
        link: str | None = None
        seen: set[str] = set()
        for number in range(1, PAGES_MAX + 1):

            def page(link: str | None = link, number: int = number) -> tuple[list[Any], str | None]:
                # A fresh pager for every try: one that failed while reading its first page believes that it is at its end.
                pages = client.resource_skus.list(filter=f"location eq '{region}'").by_page(link)
                try:
                    with self._translated(f"page {number} of {what}", permission):
                        rows = list(next(pages))
                except (
                    ValueError,
                    AttributeError,
                    TypeError,
                ):  # what the SDK makes of HTML, or of JSON of another form
                    raise Passing(f"page {number} of {what}: the answer is not JSON of the expected form") from None
                return rows, getattr(pages, "continuation_token", None)

            rows, link = self._retry.call(page)
            yield from rows
            if not link:
                return
            self._check_link(link, self._management_url, what, seen)
        raise Unavailable(f"the pages of {what} do not end: given up after {PAGES_MAX}")

    def locations(self) -> list[Mapping[str, Any]]:
        """Every location of the subscription."""
        path = f"/subscriptions/{self._named_subscription()}/locations?api-version=2022-12-01"
        permission = "Microsoft.Resources/subscriptions/locations/read (role Reader) on the subscription"
        told = self._ask(self._management(), "GET", self._management_url + path, "the locations", permission)
        return _rows(told, "value", "the locations")

    def retail_prices(self, region: str) -> Iterator[Mapping[str, Any]]:
        """Every retail price of virtual machines in a region that is not for Windows; numbers are ``Decimal``."""
        from urllib.parse import urlencode

        wanted = (
            f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and priceType eq 'Consumption'"
            " and contains(productName, 'Windows') eq false"
        )
        query = urlencode({"api-version": RETAIL_VERSION, "currencyCode": "'USD'", "$filter": wanted})
        link = f"{self._prices_url}/api/retail/prices?{query}"
        seen: set[str] = {link}
        for number in range(1, PAGES_MAX + 1):
            what = f"page {number} of the Retail Prices"
            told = self._ask(self._prices(), "GET", link, what, "nothing, it is public")
            yield from _rows(told, "Items", what)
            link = told.get("NextPageLink") or ""
            if not link:
                return
            self._check_link(link, self._prices_url, "the Retail Prices", seen)
        raise Unavailable(f"the pages of the Retail Prices do not end: given up after {PAGES_MAX}")

    def graph(self, query: str, what: str) -> Iterator[Mapping[str, Any]]:
        """The rows that the Resource Graph answers to a query; numbers are ``Decimal``."""
        url = f"{self._management_url}/providers/Microsoft.ResourceGraph/resources?api-version={GRAPH_VERSION}"
        permission = "Microsoft.ResourceGraph/resources/read (role Reader) on the subscription"
        options: dict[str, object] = {"resultFormat": "objectArray", "$top": GRAPH_PAGE}
        seen: set[str] = set()
        for number in range(1, PAGES_MAX + 1):
            body = {"query": query, "subscriptions": [self._named_subscription()], "options": options}
            page = f"page {number} of {what}"
            told = self._ask(self._management(), "POST", url, page, permission, body)
            yield from _rows(told, "data", page)
            token = told.get("$skipToken") or ""
            if not token:
                if str(told.get("resultTruncated")).casefold() == "true":
                    raise Unavailable(f"{page} was cut off, and does not say how to go on")
                return
            if not isinstance(token, str) or token in seen:
                break
            seen.add(token)
            options = {**options, "$skipToken": token}
        raise Unavailable(f"the pages of {what} do not end: given up after {number}")

    # --- asking

    def _ask(
        self,
        client: PipelineClient[Any, Any],
        method: str,
        url: str,
        what: str,
        permission: str,
        body: Mapping[str, object] | None = None,
    ) -> Mapping[str, Any]:
        from azure.core.rest import HttpRequest

        def once() -> Mapping[str, Any]:
            with self._translated(what, permission):
                answer = client.send_request(HttpRequest(method, url, json=body))
                content = answer.content
            if answer.status_code != 200:
                raise self._refusal(answer.status_code, answer, what, permission)
            try:
                told = json.loads(content, parse_float=Decimal)
            except ValueError:  # HTML of a proxy, or an answer cut short
                raise Passing(f"{what}: the answer is not JSON") from None
            if not isinstance(told, dict):
                raise Passing(f"{what}: the answer is not a JSON object")
            return told

        return self._retry.call(once)

    def _check_link(self, link: object, home: str, what: str, seen: set[str]) -> None:
        if not isinstance(link, str) or _origin(link) != _origin(home):
            host = urlsplit(link).hostname if isinstance(link, str) else None
            raise Unavailable(f"{what}: the next page is at another host, {str(host)[:60]!r}, and was not asked for")
        if link in seen:
            raise Unavailable(f"the pages of {what} do not end: one points back")
        seen.add(link)

    @contextmanager
    def _translated(self, what: str, permission: str) -> Iterator[None]:
        """Sorts what Azure's SDK raises into what may pass, what needs a person, and the rest."""
        from azure.core.exceptions import (
            AzureError,
            ClientAuthenticationError,
            DecodeError,
            HttpResponseError,
        )

        try:
            yield
        except ClientAuthenticationError:
            raise _no_access(what, permission) from None
        except DecodeError:
            raise Passing(f"{what}: the answer is not JSON") from None
        except HttpResponseError as error:
            raise self._refusal(error.status_code or 0, error.response, what, permission) from None
        except AzureError as error:
            raise Passing(f"{what}: no answer ({type(error).__name__})") from None

    def _refusal(self, status: int, answer: Any, what: str, permission: str) -> Exception:
        """The error that an answer other than success stands for. Its body is not told: it may repeat what was sent."""
        if status in RETRIED:
            headers = answer.headers if answer is not None else {}
            return Passing(f"{what}: status {status}", asked_seconds=asked_seconds(headers, self._clock.now()))
        if status in (401, 403):
            return _no_access(what, permission)
        return Unavailable(f"{what}: status {status}")

    # --- the clients, made when first needed

    def _compute(self) -> ComputeManagementClient:
        from azure.mgmt.compute import ComputeManagementClient

        subscription = self._named_subscription()
        with self._lock:
            if self._compute_client is None:
                self._compute_client = ComputeManagementClient(
                    self._known_credential(),
                    subscription,
                    self._management_url,
                    credential_scopes=[f"{self._management_url}/.default"],
                    retry_total=0,
                    permit_redirects=False,
                    **self._transport,
                )
            return self._compute_client

    def _management(self) -> PipelineClient[Any, Any]:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import RequestIdPolicy, UserAgentPolicy
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

        with self._lock:
            if self._management_client is None:
                access = ARMChallengeAuthenticationPolicy(self._known_credential(), f"{self._management_url}/.default")
                self._management_client = PipelineClient(
                    self._management_url, policies=[RequestIdPolicy(), UserAgentPolicy(), access], **self._transport
                )
            return self._management_client

    def _prices(self) -> PipelineClient[Any, Any]:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import RequestIdPolicy, UserAgentPolicy

        with self._lock:
            if self._prices_client is None:
                self._prices_client = PipelineClient(
                    self._prices_url, policies=[RequestIdPolicy(), UserAgentPolicy()], **self._transport
                )
            return self._prices_client

    def _known_credential(self) -> TokenCredential:
        if self._credential is None:
            import logging

            from azure.identity import DefaultAzureCredential

            # What it tries and does not find goes to whoever listens to its log, and not onto everybody's terminal.
            logging.getLogger("azure").addHandler(logging.NullHandler())
            self._credential = DefaultAzureCredential(read_timeout=TOKEN_SECONDS)
        return self._credential

    def _named_subscription(self) -> str:
        if not self._subscription:
            raise CredentialsMissing(
                "No Azure subscription is named, and without one Azure does not tell what its machines are",
                cure="Name it in the setting azure.subscription_id, and sign in with: az login",
            )
        return self._subscription


def _no_access(what: str, permission: str) -> CredentialsMissing:
    return CredentialsMissing(
        f"{what}: there are no credentials that allow this", cure=f"Sign in with: az login. Needed: {permission}"
    )


def _rows(told: Mapping[str, Any], key: str, what: str) -> list[Mapping[str, Any]]:
    rows = told.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(f"{what} has no list of rows")
    return rows


def _origin(link: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port, written out: the Retail Prices name their port in links and not elsewhere."""
    try:
        parts = urlsplit(link)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return ("", None, None)
    return parts.scheme, parts.hostname, port
