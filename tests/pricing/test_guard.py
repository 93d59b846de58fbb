"""Bad input is refused by name, and every guard is needed: with one of them taken away its case passes, and a test is red.

A case is a file in ``corpus/``: rows that begin as ``FIT`` says, changed as the row says, and the reason that is expected of
them. JSON writes what changes; CSV has one row a line under the names of what changes.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.errors import PriceRefused
from tallygate.money import Money
from tallygate.pricing import guard
from tallygate.pricing.guard import fit_observations, inspect, reason
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.source import Observation, Sheet

CORPUS = Path(__file__).parent / "corpus"
CASES = sorted(CORPUS.iterdir())
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

FIT = {
    "provider": "aws",
    "region": "us-east-1",
    "zone": "us-east-1a",
    "instance_type": "r5.4xlarge",
    "purchase_option": "spot",
    "vcpus": 16,
    "memory_gib": "128",
    "hourly_price": "0.31",
    "on_demand_price": "1.008",
    "priced_at": "2026-03-01T11:59:00Z",
    "price_source": "a corpus",
}

ALL_CHECKS = {
    "OFFER_CHECKS": guard.OFFER_CHECKS,
    "OBSERVATION_CHECKS": guard.OBSERVATION_CHECKS,
    "PAIR_CHECKS": guard.PAIR_CHECKS,
    "SHEET_CHECKS": guard.SHEET_CHECKS,
}


def case_of(path: Path) -> dict[str, Any]:
    """What a corpus file says. A CSV file is named after its reason and expects it of every row."""
    if path.suffix == ".json":
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        return found
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {"reason": path.stem.replace("_", " "), "rows": rows, "refused": len(rows)}


def price_of(value: Any, currency: str) -> Any:
    """As a careless adapter would hand it over: an amount where there is one, else what there was."""
    if value is None or value == "":
        return None
    number = Decimal(str(value))
    return Money.of(number, currency) if number.is_finite() else number


def offer_of(row: dict[str, Any]) -> Offer:
    said = {**FIT, **row}
    currency = said.pop("currency", "USD")
    for name in ("memory_gib", "gpu_memory_gib"):
        if said.get(name) is not None:
            said[name] = Decimal(said[name])
    for name in ("hourly_price", "on_demand_price"):
        said[name] = price_of(said[name], currency)
    if isinstance(said["vcpus"], str):
        said["vcpus"] = int(said["vcpus"])
    if said.get("zone") == "":
        said["zone"] = None
    said["purchase_option"] = PurchaseOption(said["purchase_option"])
    said["priced_at"] = datetime.fromisoformat(said["priced_at"])
    return Offer(**said)


def sheet_of(case: dict[str, Any]) -> Sheet:
    rows = [offer_of(row) for row in case["rows"]]
    companion = offer_of({"instance_type": "companion.large", "hourly_price": "0.30"})
    return Sheet(
        provider="aws",
        region="us-east-1",
        read_at=datetime.fromisoformat(case.get("read_at", "2026-03-01T12:00:00+00:00")),
        source="a corpus",
        offers=(*rows, companion) if case.get("with_companion", True) else tuple(rows),
    )


def verdict(case: dict[str, Any]) -> Counter[str]:
    """What is counted against the rows of a case, or against the sheet."""
    if case.get("kind") == "observation":
        refused: Counter[str] = Counter()
        names = {field.name for field in fields(Observation)}
        rows = [offer_of({name: value for name, value in row.items() if name != "at"}) for row in case["rows"]]
        observations = [
            Observation(
                **{name: getattr(offer, name) for name in names - {"at"}},
                at=datetime.fromisoformat(row.get("at", "2026-03-01T11:00:00+00:00")),
            )
            for offer, row in zip(rows, case["rows"], strict=True)
        ]
        list(fit_observations(observations, provider="aws", region="us-east-1", now=NOW, refused=refused))
        return refused
    try:
        return Counter(inspect(sheet_of(case), now=NOW, former=case.get("former", 0)).refused)
    except PriceRefused as error:
        return Counter({case["reason"]: 1}) if f": {case['reason']} (" in error.message else Counter()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_every_case_of_the_corpus_is_refused_for_its_reason_and_nothing_else(path: Path) -> None:
    case = case_of(path)
    assert verdict(case) == {case["reason"]: case.get("refused", 1)}


@pytest.mark.parametrize(
    ("group", "place"),
    [(group, place) for group, checks in ALL_CHECKS.items() for place in range(len(checks))],
    ids=[f"{group}-{check.__name__}" for group, checks in ALL_CHECKS.items() for check in checks],
)
def test_without_a_guard_its_case_fails(group: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each guard: made to accept, at least one case of the corpus is no longer refused for its reason."""
    check = ALL_CHECKS[group][place]
    mine = [
        case
        for case in map(case_of, CASES)
        if case["reason"] == reason(check) and (case.get("kind") == "observation") == (group == "OBSERVATION_CHECKS")
    ]
    assert mine, f"no case in the corpus expects {reason(check)!r} in {group}"

    def accept(*row: object) -> bool:
        return False

    left = tuple(accept if each is check else each for each in ALL_CHECKS[group])
    monkeypatch.setattr(guard, group, left)

    survivors = []
    for case in mine:
        try:
            found = verdict(case)
        except (AttributeError, TypeError):  # a later guard relied on this one: no less red
            found = Counter()
        survivors.append(found == {case["reason"]: case.get("refused", 1)})
    assert not all(survivors)


def test_every_public_guard_is_in_force() -> None:
    in_force = {check.__name__ for checks in ALL_CHECKS.values() for check in checks}
    written = {
        name
        for name, found in vars(guard).items()
        if callable(found) and getattr(found, "__module__", "") == guard.__name__ and name.islower() and name[0] != "_"
    }
    assert written - in_force == {"reason", "inspect", "fit_observations"}


def test_what_is_fit_passes_untouched() -> None:
    offers = tuple(
        offer_of({"zone": zone, "purchase_option": option, "hourly_price": price})
        for zone in ("us-east-1a", "us-east-1b")
        for option, price in (("spot", "0.31"), ("on_demand", "1.008"))
    )
    sheet = Sheet(provider="aws", region="us-east-1", read_at=NOW, source="x", offers=offers, refused={"odd": 2})
    assert inspect(sheet, now=NOW, former=4) == sheet


@pytest.mark.parametrize("price", ["10.08", "0.001008"])
def test_the_sanity_band_includes_its_ends(price: str) -> None:
    assert verdict({"reason": "", "rows": [{"hourly_price": price}]}) == {}


def test_a_reference_price_may_be_old_but_not_from_the_future() -> None:
    old = replace(offer_of({}), priced_at=NOW - timedelta(days=400), is_reference=True)
    sheet = Sheet(provider="aws", region="us-east-1", read_at=NOW, source="x", offers=(old,))
    assert inspect(sheet, now=NOW).offers == (old,)
    with pytest.raises(PriceRefused, match="market is empty"):
        inspect(replace(sheet, offers=(replace(old, priced_at=NOW + timedelta(hours=1)),)), now=NOW)


def test_a_market_that_halved_is_taken_when_that_is_said_to_be_true() -> None:
    sheet = sheet_of({"rows": [{}]})
    with pytest.raises(
        PriceRefused, match=r"aws us-east-1: market halved \(2 offers fit and 0 not, 5 before\)"
    ) as error:
        inspect(sheet, now=NOW, former=5)
    assert "--accept-smaller" in error.value.cure
    assert inspect(sheet, now=NOW, former=4) == sheet
    assert inspect(sheet, now=NOW, former=5, accept_smaller=True) == sheet


def test_a_third_price_for_one_thing_does_not_settle_it() -> None:
    rows = [{"hourly_price": price} for price in ("0.31", "0.32", "0.31")]
    assert verdict({"reason": "", "rows": rows}) == {"two prices for one thing": 3}
