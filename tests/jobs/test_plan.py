"""Plans: what is named is what is planned with, and a plan touches nothing."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate import config
from tallygate.app import App
from tallygate.errors import NoMatchingOffer, PriceRefused, UnknownBudget, UsageError
from tallygate.jobs.submission import Plan, Submission
from tallygate.money import Money
from tallygate.pricing.offers import ResourceRequest

LISTED = [
    {"provider": "AWS", "instance": "r5.4xlarge", "region": "us-east-1", "price_hr": 0.80, "vcpu": 16, "ram_gb": 128},
    {"provider": "GCP", "instance": "n2-standard-16", "region": "us-central1", "price_hr": 0.20, "vcpu": 16,
     "ram_gb": 64, "on_demand_hr": 0.78},
    {"provider": "AWS", "instance": "m5.4xlarge", "region": "eu-west-1", "price_hr": 0.30, "vcpu": 16, "ram_gb": 64},
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a job and a price list."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "run.sh").write_text("true\n")
    (tmp_path / "spot_prices.json").write_text(json.dumps(LISTED))
    return tmp_path


def plan(place: Path, *, index: int | None = None, accept: str | None = None, **named: object) -> Plan:
    asked = Submission(
        directory=place / "job",
        name="job",
        request=ResourceRequest(**named),  # type: ignore[arg-type]
        estimated_runtime_hours=Decimal(1),
        budget=Money.of("5"),
        index=index,
        accept_price=None if accept is None else Money.of(accept),
    )
    with App.open(config.load(environ={}), readonly=True) as app:
        return app.plan(asked)


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        ({}, "r5.4xlarge"),
        ({"provider": "gcp"}, "n2-standard-16"),
        ({"region": "eu-west-1"}, "m5.4xlarge"),
        ({"instance_type": "m5.4xlarge"}, "m5.4xlarge"),
        ({"provider": "aws", "region": "eu-west-1"}, "m5.4xlarge"),
        ({"memory_gib_max": Decimal(100)}, "n2-standard-16"),
        ({"provider": "local"}, "local-1"),
    ],
)
def test_a_machine_named_in_part_narrows_the_search_and_changes_no_cloud(
    place: Path, named: dict[str, object], chosen: str
) -> None:
    assert plan(place, **named).best.offer.instance_type == chosen


@pytest.mark.parametrize("named", [{"provider": "azure"}, {"provider": "gcp", "region": "us-east-1"}])
def test_nothing_like_what_was_named_is_a_refusal_that_says_what_to_relax(
    place: Path, named: dict[str, object]
) -> None:
    with pytest.raises(NoMatchingOffer) as refusal:
        plan(place, **named)
    assert "Relax --" in refusal.value.cure


def test_an_entry_chosen_by_number_must_be_what_was_asked_for(place: Path) -> None:
    assert plan(place, index=2).best.offer.instance_type == "m5.4xlarge"
    with pytest.raises(NoMatchingOffer, match="Entry 2"):
        plan(place, index=2, provider="gcp")
    with pytest.raises(UsageError):
        plan(place, index=3)


def test_an_old_list_is_refused_unless_somebody_answers_for_the_price(place: Path) -> None:
    import os

    os.utime(place / "spot_prices.json", (1_700_000_000, 1_700_000_000))
    with pytest.raises(PriceRefused, match="older than the allowed"):
        plan(place)
    found = plan(place, accept="0.90").best
    assert (found.offer.hourly_price, found.offer.price_source) == (Money.of("0.90"), "stated with --accept-price")


def test_an_accepted_price_above_the_on_demand_price_is_refused(place: Path) -> None:
    with pytest.raises(PriceRefused, match="on-demand"):
        plan(place, accept="0.79", provider="gcp")


def test_what_no_machine_can_be_given_is_refused_before_any_money_is_held(place: Path) -> None:
    asked = Submission(
        directory=place / "job",
        name="job",
        request=ResourceRequest(provider="local"),
        environment={"TALLYGATE_BUDGET": "1000000"},
    )
    with App.open(config.load(environ={})) as app:
        with pytest.raises(UsageError, match="TALLYGATE_BUDGET"):
            app.submit(asked)
        assert app.jobs.rows() == []


def test_a_plan_touches_nothing(place: Path) -> None:
    before = sorted(path.relative_to(place) for path in place.rglob("*"))
    plan(place, provider="local")
    assert sorted(path.relative_to(place) for path in place.rglob("*")) == before


def test_a_budget_that_does_not_exist_is_never_no_limit(place: Path) -> None:
    asked = Submission(directory=place / "job", name="job", request=ResourceRequest(provider="local"), charge_to="tema")
    with App.open(config.load(environ={})) as app:
        app.book.add_budget(name="team", limit=Money.of("5"))
        with pytest.raises(UnknownBudget) as refusal:
            app.plan(asked)
    assert "team" in f"{refusal.value.message} {refusal.value.cure}"
