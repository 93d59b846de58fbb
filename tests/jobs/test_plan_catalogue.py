"""Planning from a catalogue: ranked by what finishing costs, in the cheapest zone, with what a launch would say to its prices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate import config
from tallygate.app import App
from tallygate.errors import CredentialsMissing, EstimateExceedsBudget, NoMatchingOffer, PriceRefused, RuntimeUnknown
from tallygate.jobs import plan_file
from tallygate.jobs.submission import Plan, Submission
from tallygate.money import Money
from tallygate.pricing.catalog import Catalog, Cost, Part, Version
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest, rank
from tallygate.pricing.paths import ObservedPrices
from tallygate.store.migrate import open_store
from tallygate.times import SystemClock
from tests.conftest import ManualClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MONTHLY = Band(low=Decimal(0), high=Decimal("0.05"), hours=730)
HOURLY = Band(low=Decimal("0.15"), high=Decimal("0.20"), hours=1)


class Listed:
    """A catalogue of a few offers, in memory."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self._offers = list(offers)
        self.is_open = True

    @property
    def version(self) -> Version:
        return Version(id="00112233aabbccdd", made_at=NOW, offers=len(self._offers))

    def parts(self) -> Sequence[Part]:
        return ()

    def cheapest(self, request: ResourceRequest, *, limit: int) -> list[Offer]:
        assert self.is_open
        return rank(self._offers, request)[:limit]

    def cheapest_to_finish(self, request: ResourceRequest, cost: Cost, *, hours: Decimal, limit: int) -> list[Offer]:
        assert self.is_open
        return sorted(rank(self._offers, request), key=lambda offer: cost(offer).nanos)[:limit]

    def close(self) -> None:
        self.is_open = False


def offer(price: str, zone: str = "us-east-1a", **more: Any) -> Offer:
    given: dict[str, Any] = {
        "provider": "aws",
        "region": zone.rstrip("abcdef"),
        "zone": zone,
        "instance_type": "m5.4xlarge",
        "purchase_option": PurchaseOption.SPOT,
        "vcpus": 16,
        "memory_gib": Decimal(64),
        "hourly_price": Money.of(price),
        "on_demand_price": Money.of("0.768"),
        "priced_at": NOW - timedelta(hours=1),
        "price_source": "the price history of AWS",
        "interruptions": MONTHLY,
    }
    return Offer(**{**given, **more})


OFFERS = (
    offer("0.30"),
    offer("0.25", "us-east-1b"),
    offer("0.28", "eu-west-1a"),
    offer("0.60", instance_type="r5.8xlarge", vcpus=32, memory_gib=Decimal(256), on_demand_price=Money.of("2.00")),
)


class Place:
    """An installation at a standing clock, with a job directory and a catalogue."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalogues: list[Listed] = []
        (folder / "job").mkdir()
        (folder / "job" / "run.sh").write_text("true\n")

    def app(self, *offers: Offer, local: bool = True, **more: Any) -> App:
        settings = config.load(
            environ={}, flags={"local.enabled": local, "database": str(self.folder / "cloud_jobs.db")}
        )
        clock = more.pop("clock", ManualClock(NOW))

        def catalog() -> Catalog:
            self.catalogues.append(Listed(offers or OFFERS))
            return self.catalogues[-1]

        return App(settings, open_store(settings.database, clock=clock), clock=clock, catalog=catalog, **more)

    def asked(self, **more: Any) -> Submission:
        given: dict[str, Any] = {
            "directory": self.folder / "job",
            "name": "job",
            "request": ResourceRequest(provider="aws"),
            "estimated_runtime_hours": Decimal(4),
            "budget": Money.of(5),
        }
        return Submission(**{**given, **more})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def chosen(plan: Plan) -> tuple[str, str | None]:
    return plan.best.offer.instance_type, plan.best.offer.zone


# --- which offer


def test_the_cheapest_zone_is_chosen_and_kept(place: Place) -> None:
    with place.app() as app:
        plan = app.plan(place.asked())
    assert chosen(plan) == ("m5.4xlarge", "us-east-1b")
    assert [each.offer.hourly_price.shown() for each in plan.estimates] == ["0.25", "0.28", "0.30", "0.60"]
    assert plan.catalogue == "00112233aabbccdd"
    assert place.catalogues
    assert not any(each.is_open for each in place.catalogues)


def test_a_cheap_hour_that_is_taken_back_all_the_time_is_no_cheap_job(place: Place) -> None:
    nervous = offer("0.24", "us-west-2a", interruptions=HOURLY)
    with place.app(*OFFERS, nervous) as app:
        begins_again = app.plan(place.asked(estimated_runtime_hours=Decimal(8)))
        saves = app.plan(place.asked(estimated_runtime_hours=Decimal(8), checkpoint_seconds=60))
    assert chosen(begins_again) == ("m5.4xlarge", "us-east-1b")
    assert chosen(saves) == ("m5.4xlarge", "us-west-2a")


def test_without_a_word_what_can_be_launched_on_is_planned(place: Place) -> None:
    with place.app() as app:
        assert app.plan(place.asked(request=ResourceRequest())).best.offer.provider == "local"
        assert app.plan(place.asked(request=ResourceRequest(provider="local"))).best.offer.provider == "local"


def test_where_nothing_can_be_launched_on_the_whole_catalogue_is_planned_with(place: Place) -> None:
    with place.app(*OFFERS, offer("0.20", "us-central1-a", provider="gcp"), local=False) as app:
        assert app.plan(place.asked(request=ResourceRequest())).best.offer.provider == "gcp"


def test_nothing_that_fits_says_which_bound_to_relax(place: Place) -> None:
    with place.app() as app, pytest.raises(NoMatchingOffer) as refusal:
        app.plan(place.asked(request=ResourceRequest(provider="aws", vcpus_min=64)))
    assert refusal.value.message == (
        "None of 4 offers fits what was asked for; there is, for one, aws m5.4xlarge in us-east-1b with 16 vCPU and"
        " 64 GiB at $0.2500/hour"
    )
    assert refusal.value.cure == "Relax --min-vcpu"


# --- prices that serve to plan only


OLD = tuple(replace(each, priced_at=NOW - timedelta(hours=40)) for each in OFFERS)
REFERENCE = tuple(replace(each, is_reference=True, price_source="the tables of 2026-02") for each in OFFERS)


@pytest.mark.parametrize(
    ("offers", "says"),
    [
        (
            OLD,
            "The price of aws m5.4xlarge in us-east-1b is 1 d 16 h old (the price history of AWS),"
            " older than the allowed 1 d",
        ),
        (
            REFERENCE,
            "The price of aws m5.4xlarge in us-east-1b is a reference of 2026-03-01 (the tables of 2026-02),"
            " to plan with and not to launch at",
        ),
    ],
    ids=["too old", "a reference"],
)
def test_a_dry_run_plans_with_what_a_launch_would_refuse_and_says_so(
    place: Place, offers: tuple[Offer, ...], says: str
) -> None:
    with place.app(*offers) as app:
        assert app.plan(place.asked(), tentative=True).refused == says
        with pytest.raises(PriceRefused) as refusal:
            app.plan(place.asked())
        with pytest.raises(PriceRefused):
            app.write_plan(place.asked(), place.folder / "a.plan", hours=Decimal(1))
    assert refusal.value.message == says
    assert refusal.value.cure == "Refresh the prices, or state today's price: --accept-price 0.2500"


def test_a_dry_run_prefers_what_a_launch_would_take(place: Place) -> None:
    with place.app(*OLD[:2], OFFERS[2]) as app:
        dry, real = app.plan(place.asked(), tentative=True), app.plan(place.asked())
    assert chosen(dry) == chosen(real) == ("m5.4xlarge", "eu-west-1a")
    assert dry.refused is None


def test_a_dry_run_that_no_price_helps_is_refused_as_a_launch_is(place: Place) -> None:
    with place.app(*OLD) as app, pytest.raises(EstimateExceedsBudget):
        app.plan(place.asked(budget=Money.of("0.50"), accept_price=Money.of("0.25")), tentative=True)


def test_a_price_that_somebody_answers_for_would_not_be_refused(place: Place) -> None:
    with place.app(*OLD) as app:
        assert app.plan(place.asked(accept_price=Money.of("0.31")), tentative=True).refused is None


@pytest.mark.parametrize("price", ["2001", "0.000000001"])
def test_an_absurd_price_serves_for_nothing(place: Place, price: str) -> None:
    absurd = offer(price, on_demand_price=None)
    if price == "2001":
        with place.app(absurd) as app, pytest.raises(PriceRefused, match="largest believable"):
            app.plan(place.asked(budget=Money.of(100_000)), tentative=True)
    else:
        with place.app(replace(absurd, hourly_price=Money(0))) as app, pytest.raises(PriceRefused, match="no price"):
            app.plan(place.asked(), tentative=True)


def test_a_cloud_that_cannot_be_launched_on_is_planned_with_and_refused_at_the_launch(place: Place) -> None:
    with place.app(*OLD) as app:
        with pytest.raises(CredentialsMissing, match="This version cannot launch on AWS"):
            app.submit(place.asked())
        assert app.jobs.rows() == []


# --- what else could be done


def test_the_same_machine_on_demand_and_in_another_region_are_told(place: Place) -> None:
    with place.app() as app:
        plan = app.plan(place.asked())
    assert plan.elsewhere is not None
    other, cost = plan.elsewhere
    assert other.zone == "eu-west-1a"
    assert float(cost.decimal / plan.quote.expected.decimal) == pytest.approx(0.28 / 0.25, rel=0.02)
    assert plan.quote.on_demand is not None
    assert plan.quote.on_demand.decimal > 3 * plan.quote.expected.decimal * Decimal("0.9")


def test_another_region_is_told_though_one_was_asked_for_and_none_where_there_is_none(place: Place) -> None:
    with place.app() as app:
        narrowed = app.plan(place.asked(request=ResourceRequest(provider="aws", region="eu-west-1")))
        alone = app.plan(place.asked(request=ResourceRequest(provider="aws", instance_type="r5.8xlarge")))
    assert narrowed.elsewhere is not None
    assert narrowed.elsewhere[0].zone == "us-east-1b"
    assert alone.elsewhere is None


def test_past_prices_give_the_quote_its_range(place: Place) -> None:
    start = NOW - timedelta(days=20)
    steps = [(start + timedelta(hours=6 * i), Money.of(("0.25", "0.20", "0.35")[i % 3])) for i in range(80)]
    with place.app(prices=lambda offer: ObservedPrices(steps, until=NOW)) as app:
        quote = app.plan(place.asked()).quote
    assert quote.price_days == 20
    assert quote.low < quote.p50 < quote.high
    assert "price: 20 days of prices" in quote.basis


# --- run times from history


def ran(app: App, *seconds: int) -> None:
    """Finished jobs of this name that took so long, as rows of the store."""
    from tests.store.test_run_history import Past

    class Entropy:
        count = 0

        def bytes(self, length: int) -> bytes:
            Entropy.count += 1
            return Entropy.count.to_bytes(length, "big")

    past = Past(app.database, app.clock, Entropy())
    for each in seconds:
        past.job(each - 1, name="job")


def test_a_job_that_never_finished_has_nothing_to_base_a_run_time_on(place: Place) -> None:
    with place.app() as app, pytest.raises(RuntimeUnknown) as refusal:
        app.plan(place.asked(estimated_runtime_hours=None, runtime_from_history=True))
    assert refusal.value.message.endswith("nothing to base it on: no finished run of job")
    assert refusal.value.cure == "State the hours: --estimated-runtime 2.0"


def test_the_gate_compares_what_nine_of_ten_runs_stay_within(place: Place) -> None:
    auto = place.asked(
        request=ResourceRequest(provider="local"), estimated_runtime_hours=None, runtime_from_history=True
    )
    with place.app() as app:
        ran(app, *range(3_010, 3_010 + 99 * 10, 10))
        plan = app.plan(auto)
        best = plan.best
        assert best.hours == Decimal("1.0834")  # 3,900 s
        assert best.expected == best.offer.hourly_price.times(best.hours, round_up=True)
        assert plan.quote.runs == 99
        # The runs were on 2 vCPU, which may be what this machine offers.
        where = "on machines of 2 vCPU" if best.offer.vcpus == 2 else "on any machine"
        assert plan.quote.basis[0] == (f"run time: 58 min p50, 1 h 5 min p90, by 99 finished runs of job {where}")
        middle = best.offer.hourly_price.for_seconds(3_500)
        assert float(plan.quote.p50.decimal) == pytest.approx(float(middle.decimal), rel=0.005)
        short = app.plan(replace(auto, run_seconds_max=1_800))
        assert (short.best.hours, short.best.run_seconds_max) == (Decimal("0.5"), 1_800)


def test_one_run_is_its_own_p90_and_says_that_nothing_more_is_known(place: Place) -> None:
    with place.app() as app:
        ran(app, 3_600)
        plan = app.plan(
            place.asked(
                request=ResourceRequest(provider="local"), estimated_runtime_hours=None, runtime_from_history=True
            )
        )
    assert plan.best.hours == 1
    assert plan.quote.basis[0].startswith("run time: 1 finished run of job on ")
    assert plan.quote.basis[0].endswith("; from one number nothing is known of how far it may be off")


# --- what is kept


def test_the_quote_is_kept_with_the_job(place: Place) -> None:
    with place.app(clock=SystemClock()) as app:
        job = app.submit(place.asked(request=ResourceRequest(provider="local")))
        kept = json.loads(app.jobs.get(job.id).metadata["quote"])
        app.terminate(job.id, reason="the test is over")
        app.watch(interval=0.05, until_idle=True)
    assert kept["worst_case"] == f"{job.hold.shown()} USD"
    assert kept["runs"] == 0
    assert kept["basis"][0].startswith("run time: 4 h, as stated")


def test_the_catalogues_version_is_kept_with_the_plan(place: Place) -> None:
    from tallygate.jobs.plan import kept_of

    with place.app() as app:
        path = place.folder / "a.plan"
        plan = app.write_plan(place.asked(), path, hours=Decimal(1))
        assert kept_of(plan)["catalogue_version"] == "00112233aabbccdd"
        content = plan_file.read(path).content
        assert (content.kept["catalogue_version"], content.estimate.offer.zone) == ("00112233aabbccdd", "us-east-1b")


def test_todays_offer_of_a_plan_is_the_one_in_its_zone(place: Place) -> None:
    with place.app() as app:
        planned = app.plan(place.asked()).best
    dearer = replace(OFFERS[1], hourly_price=Money.of("0.50"))
    with place.app(OFFERS[0], dearer) as app:
        today = app._planner.offer_today(place.asked(), planned.offer)
        assert today == dearer
        assert app._planner.again(place.asked(), planned, dearer).offer.hourly_price == Money.of("0.50")
        above = replace(dearer, hourly_price=Money.of("0.7681"))
        with pytest.raises(PriceRefused) as refusal:
            app._planner.again(place.asked(), planned, above)
        with pytest.raises(PriceRefused, match="older than the allowed"):
            app._planner.again(place.asked(), planned, replace(dearer, priced_at=NOW - timedelta(days=3)))
    assert refusal.value.message == (
        "The price of aws m5.4xlarge in us-east-1b is $0.7681 an hour today, above the plan's ceiling of $0.7680"
    )
    with place.app(OFFERS[0]) as app:
        assert app._planner.offer_today(place.asked(), planned.offer) is None
