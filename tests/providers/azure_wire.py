"""Azure's Resource SKUs, Retail Prices and Resource Graph on the loopback, as far as prices go."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption
from tallygate.pricing.source import Observation
from tests.providers.loopback import HTML, Answer, Asked, Digits, Knobs
from tests.providers.prices_contract import Key, Shape

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
REGION = "westeurope"
TOKEN = "an-access-token-that-nobody-may-see"
SKUS_PATH = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/skus"
RETAIL_PATH = "/api/retail/prices"
GRAPH_PATH = "/providers/Microsoft.ResourceGraph/resources"


@dataclass(frozen=True)
class _AccessToken:
    token: str
    expires_on: int


class KnownToken:
    """A credential that has its token already."""

    def get_token(self, *scopes: str, **options: Any) -> _AccessToken:
        return _AccessToken(TOKEN, int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()))


def sku(
    name: str, vcpus: str, gib: str, *, zones: Sequence[str] = ("1", "2"), region: str = REGION, **more: str
) -> dict[str, Any]:
    told = {"vCPUs": vcpus, "MemoryGB": gib, "LowPriorityCapable": "True", "CpuArchitectureType": "x64", **more}
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "tier": "Standard",
        "locations": [region],
        "locationInfo": [{"location": region, "zones": list(zones), "zoneDetails": []}],
        "capabilities": [{"name": key, "value": value} for key, value in told.items()],
        "restrictions": [],
    }


def row(size: str, price: str, **more: object) -> dict[str, Any]:
    """A retail price of a Linux machine on demand; ``price`` is written to the wire digit by digit."""
    short = size.removeprefix("Standard_").replace("_", " ")
    told = {
        "currencyCode": "USD",
        "tierMinimumUnits": Digits("0.0"),
        "retailPrice": Digits(price),
        "unitPrice": Digits(price),
        "armRegionName": REGION,
        "location": "EU West",
        "effectiveStartDate": "2026-02-01T00:00:00Z",
        "meterId": f"meter-{size}",
        "meterName": short,
        "productId": "DZH318Z0BQ4W",
        "skuId": f"DZH318Z0BQ4W/{size}",
        "productName": "Virtual Machines Series",
        "skuName": short,
        "serviceName": "Virtual Machines",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": size,
    }
    return {**told, **more}


def spot_row(size: str, price: str, **more: object) -> dict[str, Any]:
    short = size.removeprefix("Standard_").replace("_", " ")
    return row(size, price, **{"meterName": f"{short} Spot", "skuName": f"{short} Spot", **more})


D4, F2, NC, E8 = "Standard_D4as_v5", "Standard_F2s_v2", "Standard_NC8as_T4_v3", "Standard_E8-4ds_v5"

SKUS = [
    sku(D4, "4", "16"),
    {"resourceType": "disks", "name": "Premium_LRS", "locations": [REGION]},
    sku(F2, "2", "4", zones=()),
    sku(NC, "8", "56", GPUs="1"),
    sku(E8, "8", "64", vCPUsAvailable="4"),
]

ROWS = [
    row(D4, "0.206"),
    spot_row(D4, "0.0412"),
    row(F2, "0.097"),
    row(D4, "0.001", productName="Virtual Machines Dasv5 Series Windows"),
    spot_row(F2, "0.0194"),
    row(D4, "0.002", meterName="D4as v5 Low Priority", skuName="D4as v5 Low Priority"),
    row(NC, "0.752"),
    spot_row(NC, "0.1504"),
    row(D4, "0.003", productName="Dasv5 Series Cloud Services"),
    row(D4, "0.004", productName="Dasv5 Series Dedicated Host"),
    row(E8, "0.6"),
    spot_row(E8, "0.12"),
    row(D4, "0.005", type="Reservation", reservationTerm="1 Year", unitOfMeasure="1 Hour"),
    row(D4, "0.0055", serviceName="Virtual Machines Licenses", effectiveStartDate="2026-02-21T00:00:00Z"),
    row(D4, "0.006", armRegionName="northeurope"),
    # An older price, one to come, one that has ended, and one of a meter that belongs elsewhere.
    row(D4, "0.007", effectiveStartDate="2025-06-01T00:00:00Z"),
    row(D4, "0.008", effectiveStartDate="2026-12-01T00:00:00Z"),
    row(D4, "0.009", effectiveStartDate="2026-02-20T00:00:00Z", effectiveEndDate="2026-02-25T00:00:00Z"),
    row(D4, "0.010", effectiveStartDate="2026-02-21T00:00:00Z", isPrimaryMeterRegion=False),
    row(D4, "0.011", tierMinimumUnits=Digits("1000.0"), effectiveStartDate="2026-02-21T00:00:00Z"),
    row(D4, "0.206"),
    row("Standard_M999", "99"),
]


class AzureMarket(Knobs):
    """One region of a subscription. Pages are short, so that there are several; the longest chain is that of the prices."""

    provider = "azure"
    region = REGION
    secrets: Sequence[str] = (TOKEN,)

    def __init__(self) -> None:
        super().__init__()
        self.skus: list[dict[str, Any]] = list(SKUS)
        self.rows: list[dict[str, Any]] = list(ROWS)
        self.rates = {D4: "5-10", F2: "20+", NC: "0-5", E8: "n/a"}
        self.page = 6
        self.url = ""
        self.elsewhere: str | None = None
        self.denied: str | None = None
        self.moved_to: str | None = None
        self.is_cut_off = False

    # --- what it sells

    def prices(self) -> Mapping[Key, Money]:
        usd = {D4: ("0.206", "0.0412"), F2: ("0.097", "0.0194"), NC: ("0.752", "0.1504"), E8: ("0.6", "0.12")}
        return {
            (size, zone, option): Money.of(price)
            for size, told in usd.items()
            for zone in ((None,) if size == F2 else (f"{REGION}-1", f"{REGION}-2"))
            for option, price in zip((PurchaseOption.ON_DEMAND, PurchaseOption.SPOT), told, strict=True)
        }

    def shapes(self) -> Mapping[str, Shape]:
        return {
            D4: Shape(4, Decimal(16), "x86_64"),
            F2: Shape(2, Decimal(4), "x86_64"),
            NC: Shape(8, Decimal(56), "x86_64", 1, "T4"),
            E8: Shape(4, Decimal(64), "x86_64"),
        }

    def poison(self, price: str) -> set[Key]:
        self.poisoned = price
        return {(D4, f"{REGION}-{zone}", PurchaseOption.SPOT) for zone in (1, 2)}

    # --- what it answers

    def answer(self, asked: Asked) -> Answer:
        self.count(asked)
        if self.turns_away():
            return _error(429, "TooManyRequests", Retry_After="2")
        if self.html:
            return Answer(200, HTML, {"Content-Type": "text/html"})
        if self.denied is not None and self.denied in asked.path:
            return _error(403, "AuthorizationFailed")
        if asked.path != RETAIL_PATH and asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "AuthenticationFailed")
        if self.moved_to is not None:
            return Answer(302, b"", {"Location": f"{self.moved_to}{asked.path}"})
        answer = self._found(asked)
        if self.cut_short:
            return Answer(answer.status, answer.body[: len(answer.body) // 2], answer.headers)
        return answer

    def _found(self, asked: Asked) -> Answer:
        if asked.path == SKUS_PATH:
            return self._sku_page(asked)
        if asked.path == RETAIL_PATH:
            return self._retail_page(asked)
        if asked.path == GRAPH_PATH:
            return self._graph_page(json.loads(asked.body))
        if asked.path == f"/subscriptions/{SUBSCRIPTION}/locations":
            told = [("westeurope", "Physical"), ("northeurope", "Physical"), ("europe", "Logical")]
            rows = [{"name": name, "metadata": {"regionType": kind}} for name, kind in told]
            return Answer.of({"value": [] if self.is_empty else rows})
        return _error(404, "NotFound")

    def _sku_page(self, asked: Asked) -> Answer:
        wanted = re.fullmatch(r"location eq '([a-z0-9-]+)'", asked.query["$filter"])
        assert wanted is not None
        first = int(asked.query.get("$skiptoken", "0"))
        rows = [] if self.is_empty or wanted[1] != REGION else self.skus
        told: dict[str, Any] = {"value": rows[first : first + 3]}
        if first + 3 < len(rows):
            told["nextLink"] = (
                f"{self.url}{SKUS_PATH}?$filter={quote(wanted[0])}&$skiptoken={first + 3}&api-version=2021-07-01"
            )
        return Answer.of(told)

    def _retail_page(self, asked: Asked) -> Answer:
        assert "authorization" not in asked.headers
        assert f"armRegionName eq '{REGION}'" in asked.query["$filter"]
        assert asked.query["currencyCode"] == "'USD'"
        skip = int(asked.query.get("$skip", "0"))
        if skip // self.page + 1 == self.broken_page:
            return _error(503, "ServiceUnavailable")
        rows = [] if self.is_empty else [self._poisoned(told) for told in self.rows[skip : skip + self.page]]
        has_more = skip + self.page < len(self.rows) and not self.is_empty
        link = f"{self.elsewhere or self.url}{RETAIL_PATH}?{_query(asked)}&$skip={skip + self.page}"
        return Answer.of(
            {
                "BillingCurrency": "USD",
                "Items": rows,
                "NextPageLink": link if has_more or self.chain_is_endless else None,
                "Count": len(rows),
            }
        )

    def _poisoned(self, told: dict[str, Any]) -> dict[str, Any]:
        if self.poisoned is None or told["meterName"] != "D4as v5 Spot":
            return told
        return {**told, "retailPrice": on_the_wire(self.poisoned), "unitPrice": on_the_wire(self.poisoned)}

    def _graph_page(self, asked: Mapping[str, Any]) -> Answer:
        assert asked["subscriptions"] == [SUBSCRIPTION]
        assert f"location =~ '{REGION}'" in asked["query"]
        return self._graph_rows(
            asked, [{"skuName": size.lower(), "evictionRate": rate} for size, rate in self.rates.items()]
        )

    def _graph_rows(self, asked: Mapping[str, Any], rows: list[dict[str, Any]], *, page: int = 2) -> Answer:
        first = int(asked["options"].get("$skipToken", "0"))
        told: dict[str, Any] = {
            "totalRecords": len(rows),
            "resultTruncated": "false",
            "data": rows[first : first + page],
        }
        if self.is_cut_off:
            told["resultTruncated"] = "true"
        elif first + page < len(rows):
            told["$skipToken"] = str(first + page)
        return Answer.of(told)


class AzurePastMarket(AzureMarket):
    """The same region with its past prices, a size a page, so that their chain is the longest."""

    def __init__(self) -> None:
        super().__init__()
        self.past: dict[str, list[tuple[str, str]]] = {
            D4: [
                ("2026-02-20T00:00:00Z", "0.0412"),
                ("2026-01-10T00:00:00Z", "0.05"),
                ("2025-12-01T00:00:00Z", "0.04"),
            ],
            E8: [("2025-12-24T12:00:00Z", "0.12")],
            F2: [("2026-02-01T00:00:00Z", "0.0194")],
            "Standard_Gone_v1": [("2026-02-01T00:00:00Z", "0.5")],
        }

    def changes(self, since: datetime) -> Sequence[Observation]:
        assert since == datetime(2026, 1, 1, tzinfo=UTC)
        told = [
            (D4, datetime(2025, 12, 1, tzinfo=UTC), "0.04"),
            (D4, datetime(2026, 1, 10, tzinfo=UTC), "0.05"),
            (D4, datetime(2026, 2, 20, tzinfo=UTC), "0.0412"),
            (E8, datetime(2025, 12, 24, 12, tzinfo=UTC), "0.12"),
            (F2, datetime(2026, 2, 1, tzinfo=UTC), "0.0194"),
        ]
        return [
            Observation(
                provider="azure",
                region=REGION,
                zone=None,
                instance_type=size,
                purchase_option=PurchaseOption.SPOT,
                at=at,
                hourly_price=Money.of(price),
            )
            for size, at, price in told
        ]

    def _graph_page(self, asked: Mapping[str, Any]) -> Answer:
        if "skuspotpricehistory" not in asked["query"]:
            return super()._graph_page(asked)
        first = int(asked["options"].get("$skipToken", "0"))
        if first + 1 == self.broken_page:
            return _error(503, "ServiceUnavailable")
        if self.chain_is_endless:
            return Answer.of({"data": [], "resultTruncated": "true", "$skipToken": str(first + 1)})
        rows = []
        for size, changes in self.past.items():
            prices = [{"effectiveDate": at, "priceUSD": Digits(price)} for at, price in changes]
            if self.poisoned is not None and size == D4:
                prices[0]["priceUSD"] = on_the_wire(self.poisoned)
            rows.append({"skuName": size.lower(), "spotPrices": prices})
        return self._graph_rows(asked, rows, page=1)


def on_the_wire(price: str) -> str:
    """``price`` as a JSON number where it can be written as one, and as text where it cannot."""
    return Digits(price) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?|NaN|Infinity", price) else price


def _query(asked: Asked) -> str:
    return "&".join(f"{name}={quote(value)}" for name, value in asked.query.items() if name != "$skip")


def _error(status: int, code: str, **headers: str) -> Answer:
    return Answer.of({"error": {"code": code, "message": f"…{TOKEN}…"}}, status, **headers)
