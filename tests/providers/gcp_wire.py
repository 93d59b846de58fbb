"""Google's Compute API and Cloud Billing Catalog on the loopback, as far as prices go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption
from tallygate.pricing.source import Observation
from tests.providers import gcp_price_list as price_list
from tests.providers.loopback import HTML, Answer, Asked, Digits, Knobs
from tests.providers.prices_contract import Key, Shape

PROJECT = "batch-project"
REGION = "us-central1"
SKUS_PATH = "/v1/services/6F81-5844-456A/skus"


def machine_type(name: str, vcpus: int, mib: int, **more: object) -> dict[str, object]:
    return {"name": name, "guestCpus": vcpus, "memoryMb": mib, "architecture": "X86_64", **more}


def gpus(kind: str, count: int) -> list[dict[str, object]]:
    return [{"guestAcceleratorType": kind, "guestAcceleratorCount": count}]


N2 = machine_type("n2-standard-4", 4, 16_384)
E2 = machine_type("e2-medium", 2, 4_096, isSharedCpu=True)
G2 = machine_type("g2-standard-4", 4, 16_384, accelerators=gpus("nvidia-l4", 1))
T2D = machine_type("t2d-standard-2", 2, 8_192)
C2 = machine_type("c2-standard-4", 4, 16_384)

ZONES: dict[str, list[dict[str, object]]] = {
    "us-central1-a": [N2, E2, T2D],
    "us-central1-b": [N2, G2, C2],
}


class GoogleMarket(Knobs):
    """A project with one region of two zones, and the price list. Pages are short, so that there are several."""

    provider = "gcp"
    region = REGION
    secrets: Sequence[str] = ()

    def __init__(self, zones: Mapping[str, list[dict[str, object]]] = ZONES, *, page: int = 12) -> None:
        super().__init__()
        self.zones = dict(zones)
        self.skus = [price_list.wire(entry, number) for number, entry in enumerate(price_list.entries(), 1)]
        self.page = page
        self.advice: dict[str, dict[str, object]] = {}
        self.denied: str | None = None
        self.token: str | None = None
        self.warning: str | None = None
        self.points_back_to: str | None = None
        self.turned_away_as = (429, "rateLimitExceeded")

    # --- what it sells

    def prices(self) -> Mapping[Key, Money]:
        usd = {
            # 4 x 0.031611 + 16 x 0.004237, and so on
            "n2-standard-4": ("0.194236", "0.046996"),
            "e2-medium": ("0.03350571", "0.00705387"),
            "g2-standard-4": ("0.706788", "0.361216"),
            "t2d-standard-2": ("0.084492", "0.020446"),
            "c2-standard-4": ("0.208808", "0.050524"),
        }
        return {
            (str(row["name"]), zone, option): Money.of(price)
            for zone, rows in self.zones.items()
            for row in rows
            for option, price in zip(
                (PurchaseOption.ON_DEMAND, PurchaseOption.SPOT), usd[str(row["name"])], strict=True
            )
        }

    def shapes(self) -> Mapping[str, Shape]:
        return {
            "n2-standard-4": Shape(4, Decimal(16), "x86_64"),
            "e2-medium": Shape(1, Decimal(4), "x86_64"),
            "g2-standard-4": Shape(4, Decimal(16), "x86_64", 1, "L4"),
            "t2d-standard-2": Shape(2, Decimal(8), "x86_64"),
            "c2-standard-4": Shape(4, Decimal(16), "x86_64"),
        }

    def poison(self, price: str) -> set[Key]:
        self.poisoned = price
        return {("n2-standard-4", zone, PurchaseOption.SPOT) for zone in self.zones}

    # --- what it answers

    def answer(self, asked: Asked) -> Answer:
        self.count(asked)
        if self.turns_away():
            status, reason = self.turned_away_as
            return _error(status, "RESOURCE_EXHAUSTED", reason, Retry_After="2")
        if self.html:
            return Answer(200, HTML, {"Content-Type": "text/html"})
        if self.denied is not None and self.denied in asked.path:
            return _error(403, "PERMISSION_DENIED", "forbidden")
        if asked.path == "/token":
            if self.token is None:
                return Answer.of({"error": "invalid_grant"}, 400)
            return Answer.of({"access_token": self.token, "expires_in": 3_600, "token_type": "Bearer"})
        if self.token is not None and asked.headers.get("authorization") is None:
            return _error(401, "UNAUTHENTICATED", "authError")
        if asked.path == SKUS_PATH:
            answer = self._sku_page(asked)
        elif asked.path.startswith(f"/compute/v1/projects/{PROJECT}/"):
            answer = self._compute(asked, asked.path.removeprefix(f"/compute/v1/projects/{PROJECT}/").split("/"))
        else:
            answer = _error(404, "NOT_FOUND", "notFound")
        if self.cut_short:
            return Answer(answer.status, answer.body[: len(answer.body) // 2], answer.headers)
        return answer

    def _sku_page(self, asked: Asked) -> Answer:
        assert asked.query["currencyCode"] == "USD"
        number = int(asked.query.get("pageToken", "page-1").removeprefix("page-"))
        if number == self.broken_page:
            return _error(503, "UNAVAILABLE", "backendError")
        first = (number - 1) * self.page
        rows = [] if self.is_empty else [self._poisoned(sku) for sku in self.skus[first : first + self.page]]
        has_more = first + self.page < len(self.skus) and not self.is_empty
        if self.points_back_to is not None:
            return Answer.of({"skus": rows, "nextPageToken": self.points_back_to})
        return Answer.of(
            {"skus": rows, "nextPageToken": f"page-{number + 1}" if has_more or self.chain_is_endless else ""}
        )

    def _poisoned(self, sku: dict[str, object]) -> dict[str, object]:
        category = sku["category"]
        assert isinstance(category, dict)
        is_it = sku["description"] == "Spot Preemptible N2 Instance Core running in Americas"
        if self.poisoned is None or not is_it or category["usageType"] != "Preemptible":
            return sku
        entry = price_list.Entry(str(sku["description"]), "Preemptible", self.poisoned)
        return {**price_list.wire(entry, 1), "skuId": sku["skuId"], "name": sku["name"]}

    def _compute(self, asked: Asked, path: list[str]) -> Answer:
        if path[0] == "regions" and path[2:] == ["advice", "capacityHistory"]:
            return self._advice(asked)
        if path == ["regions"]:
            return Answer.of({} if self.is_empty else {"items": [{"name": "us-central1"}, {"name": "europe-west1"}]})
        if path[0] == "regions":
            if path[1] != self.region:
                return _error(404, "NOT_FOUND", "notFound")
            base = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/"
            return Answer.of(
                {"name": self.region, "zones": [] if self.is_empty else [base + name for name in self.zones]}
            )
        if path[0] == "zones" and path[2] == "machineTypes" and path[1] in self.zones:
            # Two rows a page, so that a zone has more than one.
            number = int(asked.query.get("pageToken", "0"))
            rows = self.zones[path[1]]
            told: dict[str, object] = {"items": rows[number : number + 2]} if not self.is_empty else {}
            if self.warning is not None:
                told["warning"] = {"code": self.warning, "message": "…"}
            if number + 2 < len(rows):
                told["nextPageToken"] = str(number + 2)
            return Answer.of(told)
        return _error(404, "NOT_FOUND", "notFound")

    def _advice(self, asked: Asked) -> Answer:
        for name, told in self.advice.items():
            if f'"{name}"'.encode() in asked.body:
                return Answer.of(told)
        return _error(400, "INVALID_ARGUMENT", "invalid")


class GooglePastMarket(GoogleMarket):
    """The same project with its past prices: a request a type, which is the longest chain there."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_for: list[bytes] = []

    def heal(self) -> None:
        super().heal()
        self.asked_for = []

    def changes(self, since: datetime) -> Sequence[Observation]:
        assert since == datetime(2026, 1, 1, tzinfo=UTC)
        return [
            observed("e2-medium", datetime(2025, 12, 1, 8, tzinfo=UTC), "0.006"),
            observed("e2-medium", datetime(2026, 2, 11, 8, tzinfo=UTC), "0.007"),
            observed("n2-standard-4", datetime(2026, 1, 1, tzinfo=UTC), "0.05"),
            observed("t2d-standard-2", datetime(2026, 1, 2, 8, tzinfo=UTC), "1.02"),
        ]

    def _advice(self, asked: Asked) -> Answer:
        if asked.body not in self.asked_for:
            self.asked_for.append(asked.body)
        if self.asked_for.index(asked.body) + 1 == self.broken_page:
            return _error(503, "UNAVAILABLE", "backendError")
        self.advice = {
            "e2-medium": past_prices(
                ("2026-02-11T08:00:00Z", self.poisoned if self.poisoned is not None else "0.007"),
                ("2025-12-01T08:00:00Z", "0.006"),
                ("2025-11-01T08:00:00Z", "0.005"),
            ),
            "n2-standard-4": past_prices(("2026-01-01T00:00:00Z", "0.05"), ("2025-12-01T08:00:00Z", "0.04")),
            "t2d-standard-2": past_prices(("2026-01-02T08:00:00Z", "1.02")),
        }
        return super()._advice(asked)


def _error(status: int, word: str, reason: str, **headers: str) -> Answer:
    told = {
        "error": {"code": status, "message": "…", "errors": [{"reason": reason, "domain": "global"}], "status": word}
    }
    return Answer.of(told, status, **headers)


def preemption(*rates: str) -> dict[str, object]:
    return {"preemptionHistory": [{"interval": {}, "preemptionRate": Digits(rate)} for rate in rates]}


def past_prices(*changes: tuple[str, str]) -> dict[str, object]:
    return {
        "priceHistory": [
            {"interval": {"startTime": start}, "listPrice": {"currencyCode": "USD", **price_list.amount(price)}}
            for start, price in changes
        ]
    }


def observed(name: str, at: datetime, price: str) -> Observation:
    return Observation(
        provider="gcp",
        region=REGION,
        zone=None,
        instance_type=name,
        purchase_option=PurchaseOption.SPOT,
        at=at,
        hourly_price=Money.of(price),
    )
