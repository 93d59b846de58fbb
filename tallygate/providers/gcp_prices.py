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
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..errors import CredentialsMissing, Unavailable, UsageError
from ..ids import Entropy
from ..money import Money
from ..pricing.interruptions import Band
from ..pricing.offers import Offer, PurchaseOption
from ..pricing.source import Observation, Sheet
from ..times import Clock, instant
from . import gcp_families as families
from .gcp_skus import OLDEST, Dated, Machine, Rates, Sku, UnitPrice, Unpriced, sustained_vcpus
from .retry import RETRIED, Passing, Retry, asked_seconds

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession

SOURCE = "Google Cloud Billing Catalog"

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
_WITHDRAWN = {"DEPRECATED", "OBSOLETE", "DELETED"}
_ARCHITECTURES = {"X86_64": "x86_64", "ARM64": "arm64"}
_TYPE_FIELDS = "name,guestCpus,memoryMb,architecture,accelerators,bundledLocalSsds,deprecated(state)"


@dataclass(frozen=True, slots=True)
class _PriceList:
    rates: Rates
    read_at: datetime


class GcpPrices:
    """Prices of one Google Cloud project's point of view: list prices in USD, for the types its zones offer.

    ``credentials``: of google-auth; None for the application default credentials. ``project``: whose view; None for the one
    that the default credentials name. ``with_preemptions``: also ask how often each spot type is preempted, which takes a
    request a type. The price list is downloaded once and serves all regions for as long as the source lives; every
    offer's ``priced_at`` is that moment.
    """

    provider = "gcp"

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
        self._price_list: Future[_PriceList] | None = None

    # --- what a source of prices does

    def regions(self) -> Sequence[str]:
        """Every region of the project, in order. Raises ``Unavailable`` or ``CredentialsMissing``."""
        with self._session() as session:
            path = f"projects/{self._named_project()}/regions"
            rows = self._rows(session, path, "compute.regions.list", "the regions", fields="name")
            found = {row["name"] for row in rows if isinstance(row.get("name"), str)}
        if not found:
            raise Unavailable("Google Cloud told no regions")
        return sorted(found)

    def read(self, region: str) -> Sheet:
        """The whole sheet of a region. Raises ``Unavailable``, or ``CredentialsMissing`` naming the permission."""
        with _in_region(region):
            with self._session() as session:
                zones = self._zones(session, region)
                refused: Counter[str] = Counter()
                machines = {zone: self._machines(session, zone, refused) for zone in zones}
                if not any(machines.values()):
                    raise Unavailable("the Compute API told no machine types")
                price_list = self._prices()
                offers = _offers(region, machines, price_list, refused)
                notes: list[str] = []
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

        Google keeps a year. One request a spot type; types that Google keeps no history of (custom ones) are left out.
        """
        with _in_region(region):
            with self._session() as session:
                zones = self._zones(session, region)
                names = {machine.name for zone in zones for machine in self._machines(session, zone, Counter())}
                if not names:
                    raise Unavailable("the Compute API told no machine types")
                for name in sorted(names):
                    told = self._capacity_history(session, region, name, "PRICE")
                    yield from _observations(region, name, told.get("priceHistory"), since)

    # --- the price list, once

    def _prices(self) -> _PriceList:
        """The price list. Whoever comes while it is being downloaded waits for it, and shares a failure as well."""
        with self._lock:
            flight = self._price_list
            mine = flight is None
            if flight is None:
                flight = self._price_list = Future()
        if mine:
            try:
                flight.set_result(self._download())
            except BaseException as error:
                with self._lock:
                    self._price_list = None
                flight.set_exception(error)
        return flight.result()

    def _download(self) -> _PriceList:
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
        return _PriceList(rates, now)

    def _skus(self, client: Any) -> Iterator[Sku]:
        token, seen = "", {""}
        for number in range(1, PAGES_MAX + 1):
            page = self._retry.call(lambda: self._sku_page(client, token, number))  # noqa: B023 (called at once)
            for sku in page.skus:
                yield _sku(sku)
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
        with _translated(what, "the Cloud Billing API enabled in the project", self._clock):
            pager = client.list_skus(request=request, retry=None, timeout=(CONNECT_SECONDS, READ_SECONDS))
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
        for row in rows:
            try:
                machine = _machine(row)
            except Unpriced as reason:
                refused[str(reason)] += 1
                continue
            if found.setdefault(machine.name, machine) != machine:
                refused["two shapes under one name"] += 1
        return list(found.values())

    def _rows(
        self, session: AuthorizedSession, path: str, permission: str, what: str, *, fields: str
    ) -> Iterator[Mapping[str, Any]]:
        """The rows of all pages of a list."""
        params = {"maxResults": str(TYPE_PAGE), "fields": f"nextPageToken,items({fields})"}
        seen = {""}
        for number in range(1, PAGES_MAX + 1):
            told = self._ask(session, "GET", path, permission, f"page {number} of {what}", params=params)
            rows = told.get("items", [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise Unavailable(f"page {number} of {what} is not a list")
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
        url = f"{self._compute_url}/compute/v1/{path}"

        def once() -> Mapping[str, Any]:
            with _translated(what, permission, self._clock):
                answer = session.request(
                    method,
                    url,
                    params=params,
                    json=body,
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    allow_redirects=False,
                )
            if answer.status_code != 200:
                raise _refusal(answer.status_code, answer, what, permission, self._clock)
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
        for name in sorted({offer.instance_type for offer in offers if offer.purchase_option is PurchaseOption.SPOT}):
            try:
                told = self._capacity_history(session, region, name, "PREEMPTION")
            except (Unavailable, CredentialsMissing) as error:
                notes.append(f"preemption rates could not be read from {name} on: {error.message}")
                break
            bands[name] = _band(told.get("preemptionHistory"))
        untold = sum(1 for band in bands.values() if band is None)
        if untold:
            notes.append(f"no preemption rate is kept of {untold} types")
        return [
            replace(offer, interruptions=bands.get(offer.instance_type))
            if offer.purchase_option is PurchaseOption.SPOT
            else offer
            for offer in offers
        ]

    def _capacity_history(self, session: AuthorizedSession, region: str, name: str, kind: str) -> Mapping[str, Any]:
        body = {
            "types": [kind],
            "instanceProperties": {"machineType": name, "scheduling": {"provisioningModel": "SPOT"}},
        }
        path = f"projects/{self._named_project()}/regions/{region}/advice/capacityHistory"
        what = f"capacity history of {name}"
        return self._ask(session, "POST", path, "compute.advice.capacityHistory", what, body=body)

    # --- who asks

    def _known_credentials(self) -> Credentials:
        with self._lock:
            if self._usable is None:
                self._usable = self._find_credentials()
            return self._usable

    def _find_credentials(self) -> Credentials:
        import google.auth
        from google.auth.credentials import with_scopes_if_required
        from google.auth.exceptions import DefaultCredentialsError

        found = self._credentials
        if found is None:
            try:
                found, project = google.auth.default(scopes=SCOPES)
            except DefaultCredentialsError:
                raise CredentialsMissing(
                    "There are no Google Cloud credentials",
                    cure="Run: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
                ) from None
            self._project = self._project or project
        if self._project is None:
            raise CredentialsMissing(
                "The Google Cloud credentials name no project", cure="Name the project whose view of prices to read"
            )
        if not _PROJECT.fullmatch(self._project):
            raise UsageError(f"{self._project[:70]!r} is not the id of a Google Cloud project")
        scoped: Credentials = with_scopes_if_required(found, SCOPES)
        return scoped

    def _named_project(self) -> str:
        self._known_credentials()
        assert self._project is not None
        return self._project

    def _session(self) -> closing[AuthorizedSession]:
        """A session of the calling thread, because sessions are not made to be shared. Credentials are."""
        from google.auth.transport.requests import AuthorizedSession

        return closing(AuthorizedSession(self._known_credentials()))


# --- what the answers mean


def _sku(told: Any) -> Sku:
    return Sku(
        id=told.sku_id,
        description=told.description,
        usage=told.category.usage_type,
        regions=tuple(told.service_regions),
        prices=tuple(
            Dated(
                effective=info.effective_time.ToDatetime(UTC) if info.HasField("effective_time") else OLDEST,
                unit=info.pricing_expression.usage_unit,
                steps=tuple(
                    UnitPrice(
                        currency=tier.unit_price.currency_code,
                        units=tier.unit_price.units,
                        nanos=tier.unit_price.nanos,
                    )
                    for tier in info.pricing_expression.tiered_rates
                ),
            )
            for info in told.pricing_info
        ),
    )


def _machine(row: Mapping[str, Any]) -> Machine:
    """A machine type from its row. Raises ``Unpriced`` for one that is withdrawn or does not say what it is."""
    name, vcpus, megabytes = row.get("name"), row.get("guestCpus"), row.get("memoryMb")
    if not isinstance(name, str) or type(vcpus) is not int or type(megabytes) is not int or vcpus < 1 or megabytes < 1:
        raise Unpriced("cores or memory are not stated")
    deprecated = row.get("deprecated")
    if isinstance(deprecated, dict) and deprecated.get("state") in _WITHDRAWN:
        raise Unpriced("withdrawn by Google")
    gpu, gpus = None, 0
    accelerators = row.get("accelerators") or []
    if accelerators:
        first = accelerators[0] if isinstance(accelerators, list) and len(accelerators) == 1 else {}
        gpu, gpus = first.get("guestAcceleratorType"), first.get("guestAcceleratorCount")
        if not isinstance(gpu, str) or type(gpus) is not int or gpus < 1:
            raise Unpriced("GPUs are not stated")
        gpu = gpu.rpartition("/")[2]
    disks = row.get("bundledLocalSsds")
    partitions = disks.get("partitionCount") if isinstance(disks, dict) else None
    series = families.series_of(name)
    return Machine(
        name=name,
        vcpus=vcpus,
        memory_gib=Decimal(megabytes) / 1024,
        architecture=_ARCHITECTURES.get(str(row.get("architecture"))) or (series.architecture if series else None),
        gpu=gpu,
        gpus=gpus,
        local_ssd_partitions=partitions if type(partitions) is int and partitions >= 0 else None,
    )


def _offers(
    region: str, machines: Mapping[str, Sequence[Machine]], price_list: _PriceList, refused: Counter[str]
) -> list[Offer]:
    """An offer for every zone, type and way of buying that has a price; the others counted by reason."""
    known: dict[tuple[Machine, PurchaseOption], Money | str] = {}

    def price(machine: Machine, option: PurchaseOption) -> Money | str:
        if (machine, option) not in known:
            try:
                known[machine, option] = price_list.rates.price(machine, region, option)
            except Unpriced as reason:
                known[machine, option] = str(reason)
        return known[machine, option]

    offers = []
    for zone, types in machines.items():
        for machine in types:
            on_demand = price(machine, PurchaseOption.ON_DEMAND)
            gpu = families.GPUS.get(machine.gpu) if machine.gpu is not None else None
            for option in PurchaseOption:
                if option is PurchaseOption.ON_DEMAND and machine.name in families.SPOT_ONLY:
                    continue  # not sold that way; its parts' prices still bound its spot price
                found = price(machine, option)
                if isinstance(found, str):
                    refused[found] += 1
                    continue
                offers.append(
                    Offer(
                        provider=GcpPrices.provider,
                        region=region,
                        zone=zone,
                        instance_type=machine.name,
                        purchase_option=option,
                        vcpus=sustained_vcpus(machine),
                        memory_gib=machine.memory_gib,
                        architecture=machine.architecture,
                        gpus=machine.gpus,
                        gpu_model=gpu.model if gpu else None,
                        gpu_memory_gib=Decimal(gpu.memory_gib) if gpu else None,
                        hourly_price=found,
                        on_demand_price=on_demand if isinstance(on_demand, Money) else None,
                        priced_at=price_list.read_at,
                        price_source=SOURCE,
                    )
                )
    return offers


def _band(days: object) -> Band | None:
    """The mean share of machines preempted a day, over the days told; None when none is told."""
    shares = [day.get("preemptionRate") for day in days if isinstance(day, dict)] if isinstance(days, list) else []
    usable = [Decimal(share) for share in shares if isinstance(share, int | Decimal) and 0 <= share <= 1]
    if not usable or len(usable) != len(shares):
        return None
    mean = (sum(usable) / len(usable)).quantize(Decimal("0.000001"))
    return Band(low=mean, high=mean, hours=24)


def _observations(region: str, name: str, told: object, since: datetime) -> Iterator[Observation]:
    """The price in force at ``since`` and every change after it, oldest first; an entry that is no price is left out."""
    found: dict[datetime, Money] = {}
    for entry in told if isinstance(told, list) else []:
        try:
            start = instant(entry["interval"]["startTime"])
            price = entry["listPrice"]
            nanos = int(price.get("units", 0)) * 1_000_000_000 + int(price.get("nanos", 0))
            currency = price["currencyCode"]
        except (KeyError, TypeError, ValueError, AttributeError, UsageError):
            continue
        if nanos > 0 and currency == "USD":
            found[start] = Money(nanos)
    first = max((start for start in found if start <= since), default=None)
    for start in sorted(found):
        if start > since or start == first:
            yield Observation(
                provider=GcpPrices.provider,
                region=region,
                zone=None,
                instance_type=name,
                purchase_option=PurchaseOption.SPOT,
                at=start,
                hourly_price=found[start],
            )


# --- what the failures mean


@contextmanager
def _in_region(region: str) -> Iterator[None]:
    """Names the region in what is raised, the failure of a download that several regions share included."""
    try:
        yield
    except (Unavailable, CredentialsMissing) as error:
        raise type(error)(f"Google Cloud {region[:40]}: {error.message}", cure=error.cure) from error


@contextmanager
def _translated(what: str, permission: str, clock: Clock) -> Iterator[None]:
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
        raise _refusal(int(error.code or 0), error.response, what, permission, clock) from None
    except (RequestException, TransportError) as error:
        raise Passing(f"{what}: no answer ({type(error).__name__})") from None
    except GoogleAuthError as error:
        if getattr(error, "retryable", False):
            raise Passing(f"{what}: no access token ({type(error).__name__})") from None
        raise _no_access(what, permission) from None


def _refusal(status: int, answer: Any, what: str, permission: str, clock: Clock) -> Exception:
    """What an answer other than success means. Only its status and Google's own one-word reasons are told."""
    reasons = _reasons(answer)
    if status in RETRIED or reasons & {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"}:
        headers = answer.headers if answer is not None else {}
        return Passing(f"{what}: status {status}", asked_seconds=asked_seconds(headers, clock.now()))
    if status in (401, 403):
        if reasons & {"accessNotConfigured", "SERVICE_DISABLED"}:
            return CredentialsMissing(f"{what}: the API is not enabled in the project", cure=f"Needed: {permission}")
        return _no_access(what, permission)
    if status == 404:
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
