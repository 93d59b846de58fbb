"""Run times from earlier runs: what is made of few and of many, of interrupted ones, and of none."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallygate.errors import RuntimeUnknown
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.runtimes import History, Run, Runtimes, from_history
from tallygate.pricing.student import student

P5, P50, P90, P95 = (Decimal(each) for each in ("0.05", "0.5", "0.9", "0.95"))


def seen(*seconds: int) -> Runtimes:
    return Runtimes(tuple(sorted(seconds)), "seen", True)


def run(seconds: int, *, last: int | None = None, attempts: int = 1, machine: str = "m5.large", vcpus: int = 2) -> Run:
    return Run(
        seconds=seconds,
        last_seconds=seconds if last is None else last,
        attempts=attempts,
        provider="aws",
        instance_type=machine,
        vcpus=vcpus,
    )


def offer(machine: str = "m5.large", vcpus: int = 2) -> Offer:
    return Offer(
        provider="aws",
        region="us-east-1",
        zone=None,
        instance_type=machine,
        purchase_option=PurchaseOption.SPOT,
        vcpus=vcpus,
        memory_gib=Decimal(8),
        hourly_price=Money.of("0.04"),
        priced_at=datetime(2026, 3, 1, tzinfo=UTC),
        price_source="a test",
    )


@pytest.mark.parametrize(
    ("freedom", "p95", "p99"),
    [(1, 6.3138, 31.8205), (2, 2.9200, 6.9646), (5, 2.0150, 3.3649), (17, 1.7396, 2.5669)],
)
def test_students_quantiles_are_those_of_the_printed_tables(freedom: int, p95: float, p99: float) -> None:
    assert float(student(Decimal("0.95"), freedom)) == pytest.approx(p95, rel=1e-4)
    assert float(student(Decimal("0.99"), freedom)) == pytest.approx(p99, rel=1e-3)
    assert student(Decimal("0.05"), freedom) == -student(Decimal("0.95"), freedom)


def test_one_number_has_no_spread_and_says_so() -> None:
    for one in (Runtimes.stated(7200, "2 h"), seen(7200)):
        assert not one.has_spread
        assert {one.quantile(share) for share in (P5, P50, P90, P95)} == {7200}
    assert (Runtimes.stated(7200, "2 h").runs, seen(7200).runs) == (0, 1)


def test_fewer_runs_give_a_wider_range() -> None:
    widths = []
    for count in (2, 4, 8, 16):
        runs = seen(*([3_300] * (count // 2) + [3_900] * (count // 2)))
        widths.append(runs.quantile(P95) - runs.quantile(P5))
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 4


def test_with_many_runs_the_range_lies_between_runs_that_were_seen() -> None:
    runs = seen(*range(1_000, 1_000 + 99 * 10, 10))
    assert (runs.quantile(P5), runs.quantile(P50), runs.quantile(P95)) == (1_040, 1_490, 1_940)


def test_equal_runs_have_no_width() -> None:
    assert {seen(*[600] * count).quantile(P95) for count in (2, 18, 40)} == {600}


@pytest.mark.parametrize("count", [2, 3, 6, 12, 18, 19, 40])
def test_nine_of_ten_next_runs_are_within_the_range(count: int) -> None:
    """On jobs whose run times scatter by a quarter, 600 of them."""
    chance = random.Random(count)

    def took() -> int:
        return max(1, round(3600 * chance.lognormvariate(0, 0.25)))

    inside = 0
    for _ in range(600):
        runs = seen(*(took() for _ in range(count)))
        inside += runs.quantile(P5) <= took() <= runs.quantile(P95)
    assert 0.86 <= inside / 600 <= 0.94


def test_two_runs_far_apart_stay_a_number() -> None:
    assert seen(1, 2_000_000).quantile(Decimal("0.999")) <= 10**10 + 1


# --- from history


def test_nothing_to_base_it_on_is_refused_with_the_name_and_the_cure() -> None:
    with pytest.raises(RuntimeUnknown) as refusal:
        from_history(History(name="nightly", runs=(), left_out=2))
    assert "nothing to base it on: no finished run of nightly; 2 that ended otherwise" in refusal.value.message
    assert refusal.value.cure == "State the hours: --estimated-runtime 2.0"
    assert refusal.value.exit_code == 1


def test_runs_on_the_same_machine_go_first_then_runs_on_as_many_cpus() -> None:
    few = [run(100, machine="m5.large") for _ in range(2)]
    alike = [run(200, machine="m6g.large") for _ in range(2)]
    large = [run(50, machine="m5.8xlarge", vcpus=32) for _ in range(4)]
    history = History(name="nightly", runs=(*few, *alike, *large))
    by_cpus = from_history(history, offer())
    assert (by_cpus.seconds, by_cpus.says) == (
        (100, 100, 200, 200), "4 finished runs of nightly on machines of 2 vCPU",
    )  # fmt: skip
    exactly = from_history(history, offer("m5.8xlarge", 32))
    assert (exactly.seconds, exactly.says) == ((50,) * 4, "4 finished runs of nightly on m5.8xlarge")
    anywhere = from_history(history, offer("x1.large", 64))
    assert (anywhere.runs, anywhere.says) == (8, "8 finished runs of nightly on any machine")


def test_what_was_done_twice_is_taken_off() -> None:
    history = History(name="n", runs=(run(1_000, last=700, attempts=2), run(650)), left_out=1)
    begun_again = from_history(history, overhead_seconds=50)
    assert begun_again.seconds == (600, 650)
    saved = from_history(history, overhead_seconds=50, checkpoint_seconds=100)
    assert saved.seconds == (600, 850)
    assert saved.says == (
        "2 finished runs of n on any machine, 1 of them interrupted, less what they did twice;"
        " 1 that ended otherwise are left out"
    )
