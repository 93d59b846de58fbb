"""Google Cloud's prices: machine types from the Compute API, prices from the Cloud Billing Catalog.

    regions/<region>               --> its zones                        1 request a region
    zones/<zone>/machineTypes      --> cores, memory, GPUs, local disk  1 or 2 requests a zone
    services/6F81-5844-456A/skus   --> prices of parts                  some 10 requests, once for all regions
    advice/capacityHistory         --> share of preempted machines      1 request a type, only when asked for

Google's prices are the same in all zones of a region, so there is an offer for every zone that has the type. Types are listed
zone by zone, because the list over all zones leaves out a zone that cannot be reached and goes on without it.

Permissions: ``compute.regions.get``, ``compute.regions.list`` and ``compute.machineTypes.list`` (role Compute Viewer) in one
project, and the Cloud Billing API enabled in it. ``compute.advice.capacityHistory`` for preemptions and past prices.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..errors import CredentialsMissing, TallygateError, Unavailable, UsageError
from ..ids import Entropy
from ..pricing.interruptions import Band
from ..pricing.offers import Offer, PurchaseOption
from ..pricing.source import Observation, Sheet
from ..times import Clock
from . import gcp_answers as answers
from . import gcp_credentials
from .gcp_answers import PROVIDER, SOURCE, PriceList
from .gcp_failures import UNKNOWN, refusal, translated
from .gcp_skus import Machine, Rates, Sku, Unpriced
from .retry import Passing, Retry, naming

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession

COMPUTE_ENGINE = "services/6F81-5844-456A"

SCOPES = (
    "https://www.googleapis.com/auth/compute.readonly",
    "https://www.googleapis.com/auth/cloud-billing.readonly",
)

CONNECT_SECONDS = 10
READ_SECONDS = 60

PAGES_MAX = 100
"""The longest chain of pages that is followed. The price list has about ten."""

SKU_PAGE = 5_000
TYPE_PAGE = 500

_NAME = re.compile(r"[a-z][a-z0-9-]{1,62}")
_PROJECT = re.compile(r"[a-z][a-z0-9.:-]{1,98}")
_TYPE_FIELDS = "name,guestCpus,memoryMb,architecture,accelerators,bundledLocalSsds,deprecated(state)"


class GcpPrices:
    """Prices of one Google Cloud project's point of view: list prices in USD, for the types its zones offer.

    ``credentials``: of google-auth; None for the application default credentials. ``project``: whose view; None for the one
    that the default credentials name. ``with_preemptions``: also ask how often each spot type is preempted, which takes a
    request a type. The price list is downloaded once and serves all regions for as long as the source lives; every
    offer's ``priced_at`` is that moment.
    """

    provider = PROVIDER

    def __init__(
        self,
        *,
        clock: Clock,
        entropy: Entropy,
        project: str | None = None,
        credentials: Credentials | None = None,
        compute_url: str = "https://compute.googleapis.com",
        catalog_url: str = "https://cloudbilling.googleapis.com",
        with_preemptions: bool = False,
    ) -> None:
        self._clock = clock
        self._retry = Retry(clock, entropy)
        self._project = project
        self._credentials = credentials
        self._usable: Credentials | None = None
        self._compute_url = compute_url.rstrip("/")
        self._catalog_url = catalog_url.rstrip("/")
        self._with_preemptions = with_preemptions
        self._lock = threading.Lock()
        self._price_list: Future[PriceList] | None = None

    # --- what a source of prices does

    def regions(self) -> Sequence[str]:
        """Every region of the project, in order. Raises ``Unavailable`` or ``CredentialsMissing``."""
        with naming("Google Cloud"), self._session() as session:
            path = f"projects/{self._named_project()}/regions"
            rows = self._rows(session, path, "compute.regions.list", "the regions", fields="name")
            found = {row["name"] for row in rows if isinstance(row.get("name"), str)}
            if not found:
                raise Unavailable("no regions were told")
        return sorted(found)

    def read(self, region: str) -> Sheet:
        """The whole sheet of a region. Raises ``Unavailable``, or ``CredentialsMissing`` naming the permission."""
        with naming(f"Google Cloud {region[:40]}"):
            with self._session() as session:
                zones = self._zones(session, region)
                refused: Counter[str] = Counter()
                machines = {zone: self._machines(session, zone, refused) for zone in zones}
                if not any(machines.values()):
                    raise Unavailable("the Compute API told no machine types")
                notes = [f"{zone} told no machine types" for zone, found in machines.items() if not found]
                price_list = self._prices()
                offers = answers.offers(region, machines, price_list, refused)
                if self._with_preemptions:
                    offers = self._with_bands(session, region, offers, notes)
            return Sheet(
                provider=self.provider,
                region=region,
                read_at=self._clock.now(),
                source=SOURCE,
                offers=tuple(offers),
                refused=dict(sorted(refused.items())),
                notes=tuple(notes),
            )

    def history(self, region: str, *, since: datetime) -> Iterator[Observation]:
        """Every change of the spot prices of a region since then, and the price in force at that moment.

        Google keeps a year. One request a type that has a spot price; those that Google keeps no history of are left out.
        """
        with naming(f"Google Cloud {region[:40]}"), self._session() as session:
            machines = {zone: self._machines(session, zone, Counter()) for zone in self._zones(session, region)}
            if not any(machines.values()):
                raise Unavailable("the Compute API told no machine types")
            offers = answers.offers(region, machines, self._prices(), Counter())
            for name in _spot_types(offers):
                told = self._capacity_history(session, region, name, "PRICE")
                if told is None:
                    continue
                yield from answers.observations(region, name, told.get("priceHistory"), since)

    # --- the price list, once

    def _prices(self) -> PriceList:
        """The price list. Whoever comes while it is being downloaded waits for it, and shares a failure as well."""
        with self._lock:
            flight = self._price_list
            mine = flight is None
            if flight is None:
                flight = self._price_list = Future()
        if mine:
            try:
                flight.set_result(self._download())
            except TallygateError as error:
                flight.set_exception(error)
            finally:
                if not flight.done():
                    flight.set_exception(Unavailable("the download of the price list broke off"))
                if flight.exception() is not None:
                    with self._lock:
                        self._price_list = None  # whoever comes next tries again
        return flight.result()

    def _download(self) -> PriceList:
        from google.api_core.client_options import ClientOptions
        from google.cloud.billing_v1 import CloudCatalogClient

        client = CloudCatalogClient(
            credentials=self._known_credentials(),
            transport="rest",
            client_options=ClientOptions(api_endpoint=self._catalog_url),
        )
        now = self._clock.now()
        with client:
            rates = Rates(self._skus(client), now=now)
        if not rates.read:
            raise Unavailable("the Cloud Billing Catalog told no prices of Compute Engine")
        if not rates.used:
            raise Unavailable(f"none of the {rates.read} prices in the Cloud Billing Catalog is worded as expected")
        return PriceList(rates, now)

    def _skus(self, client: Any) -> Iterator[Sku]:
        token, seen = "", {""}
        for number in range(1, PAGES_MAX + 1):
            page = self._retry.call(lambda: self._sku_page(client, token, number))  # noqa: B023 (called at once)
            for sku in page.skus:
                yield answers.sku(sku)
            token = page.next_page_token
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
        raise Unavailable(f"the Cloud Billing Catalog's pages do not end: given up after {number}")

    def _sku_page(self, client: Any, token: str, number: int) -> Any:
        from google.cloud.billing_v1 import ListSkusRequest, ListSkusResponse

        request = ListSkusRequest(parent=COMPUTE_ENGINE, currency_code="USD", page_size=SKU_PAGE, page_token=token)
        what = f"page {number} of the Cloud Billing Catalog"
        with translated(what, "the Cloud Billing API enabled in the project", self._clock):
            pager = client.list_skus(request=request, retry=None, timeout=READ_SECONDS)
            # The message beneath the wrapper: a page has 5,000 SKUs, and the wrapper makes reading it ten times as long.
            return ListSkusResponse.pb(next(iter(pager.pages)))

    # --- the Compute API

    def _zones(self, session: AuthorizedSession, region: str) -> list[str]:
        if not _NAME.fullmatch(region):
            raise UsageError(f"{region[:40]!r} is not the name of a region")
        path = f"projects/{self._named_project()}/regions/{region}"
        told = self._ask(session, "GET", path, "compute.regions.get", "the region", params={"fields": "name,zones"})
        zones = told.get("zones")
        found = [str(zone).rpartition("/")[2] for zone in zones] if isinstance(zones, list) else []
        if not found:
            raise Unavailable("the Compute API told no zones")
        return sorted(set(found))

    def _machines(self, session: AuthorizedSession, zone: str, refused: Counter[str]) -> list[Machine]:
        path = f"projects/{self._named_project()}/zones/{zone}/machineTypes"
        rows = self._rows(session, path, "compute.machineTypes.list", f"machine types of {zone}", fields=_TYPE_FIELDS)
        found: dict[str, Machine] = {}
        two_shapes: set[str] = set()
        for row in rows:
            try:
                machine = answers.machine(row)
            except Unpriced as reason:
                refused[str(reason)] += 1
                continue
            if found.setdefault(machine.name, machine) != machine:
                two_shapes.add(machine.name)
        for name in two_shapes:
            del found[name]
            refused["two shapes under one name"] += 1
        return list(found.values())

    def _rows(
        self, session: AuthorizedSession, path: str, permission: str, what: str, *, fields: str
    ) -> Iterator[Mapping[str, Any]]:
        """The rows of all pages of a list."""
        params = {"maxResults": str(TYPE_PAGE), "fields": f"nextPageToken,warning(code),items({fields})"}
        seen = {""}
        for number in range(1, PAGES_MAX + 1):
            told = self._ask(session, "GET", path, permission, f"page {number} of {what}", params=params)
            rows = told.get("items", [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise Unavailable(f"page {number} of {what} is not a list")
            warning = told.get("warning")
            if warning and not (isinstance(warning, dict) and warning.get("code") == "NO_RESULTS_ON_PAGE"):
                raise Unavailable(f"page {number} of {what} is only a part")
            yield from rows
            token = told.get("nextPageToken") or ""
            if not token:
                return
            if not isinstance(token, str) or token in seen:
                break
            seen.add(token)
            params = {**params, "pageToken": token}
        raise Unavailable(f"the pages of {what} do not end: given up after {number}")

    def _ask(
        self,
        session: AuthorizedSession,
        method: str,
        path: str,
        permission: str,
        what: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Mapping[str, Any]:
        """The JSON object that the Compute API answers."""
        told = self._ask_if_kept(session, method, path, permission, what, params=params, body=body)
        if told is None:
            raise Unavailable(f"{what}: not known in this project")
        return told

    def _ask_if_kept(
        self,
        session: AuthorizedSession,
        method: str,
        path: str,
        permission: str,
        what: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Mapping[str, Any] | None:
        """The JSON object that the Compute API answers; None when it does not know what was asked for."""
        url = f"{self._compute_url}/compute/v1/{path}"

        def once() -> Mapping[str, Any] | None:
            with translated(what, permission, self._clock):
                answer = session.request(  # type: ignore[no-untyped-call]
                    method,
                    url,
                    params=params,
                    json=body,
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    allow_redirects=False,
                )
            if answer.status_code in UNKNOWN:
                return None
            if answer.status_code != 200:
                raise refusal(answer.status_code, answer, what, permission, self._clock)
            try:
                told = json.loads(answer.content, parse_float=Decimal)
            except ValueError:  # HTML of a proxy, or an answer cut short
                raise Passing(f"{what}: the answer is not JSON") from None
            if not isinstance(told, dict):
                raise Passing(f"{what}: the answer is not a JSON object")
            return told

        return self._retry.call(once)

    # --- preemptions and past prices

    def _with_bands(
        self, session: AuthorizedSession, region: str, offers: list[Offer], notes: list[str]
    ) -> list[Offer]:
        """The offers with how often they are preempted. What could not be read is said, and prices stay."""
        bands: dict[str, Band | None] = {}
        for name in _spot_types(offers):
            try:
                told = self._capacity_history(session, region, name, "PREEMPTION")
            except (Unavailable, CredentialsMissing) as error:
                notes.append(f"preemption rates could not be read from {name} on: {error.message}")
                break
            bands[name] = None if told is None else answers.band(told.get("preemptionHistory"))
        untold = sum(1 for band in bands.values() if band is None)
        if untold:
            notes.append(f"no preemption rate is kept of {untold} types")
        return [
            replace(offer, interruptions=bands.get(offer.instance_type))
            if offer.purchase_option is PurchaseOption.SPOT
            else offer
            for offer in offers
        ]

    def _capacity_history(
        self, session: AuthorizedSession, region: str, name: str, kind: str
    ) -> Mapping[str, Any] | None:
        """What Google keeps of a type; None when it keeps nothing."""
        body = {
            "types": [kind],
            "instanceProperties": {"machineType": name, "scheduling": {"provisioningModel": "SPOT"}},
        }
        path = f"projects/{self._named_project()}/regions/{region}/advice/capacityHistory"
        what = f"capacity history of {name}"
        return self._ask_if_kept(session, "POST", path, "compute.advice.capacityHistory", what, body=body)

    # --- who asks

    def _known_credentials(self) -> Credentials:
        with self._lock:
            if self._usable is None:
                self._usable = self._find_credentials()
            return self._usable

    def _find_credentials(self) -> Credentials:
        from google.auth.credentials import with_scopes_if_required

        found = self._credentials
        if found is None:
            found, project = gcp_credentials.find(SCOPES)
            self._project = self._project or project
        if self._project is None:
            raise CredentialsMissing(
                "The Google Cloud credentials name no project",
                cure="Name the project whose view of prices to read in the setting gcp.project_id",
            )
        if not _PROJECT.fullmatch(self._project):
            raise UsageError(f"{self._project[:70]!r} is not the id of a Google Cloud project")
        scoped: Credentials = with_scopes_if_required(found, SCOPES)  # type: ignore[no-untyped-call]
        return scoped

    def _named_project(self) -> str:
        self._known_credentials()
        assert self._project is not None
        return self._project

    def _session(self) -> closing[AuthorizedSession]:
        """A session of the calling thread, because sessions are not made to be shared. Credentials are."""
        from google.auth.transport.requests import AuthorizedSession

        return closing(AuthorizedSession(self._known_credentials()))  # type: ignore[no-untyped-call]


def _spot_types(offers: Sequence[Offer]) -> list[str]:
    return sorted({offer.instance_type for offer in offers if offer.purchase_option is PurchaseOption.SPOT})
