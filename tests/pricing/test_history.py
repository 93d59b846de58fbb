"""Statistics of prices are exact, and what nobody vouched for is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tallygate.money import Money
from tallygate.pricing.history import VOUCHED, Change, Path, Pool, Vouched, path, percent, statistics, volatility
from tallygate.pricing.offers import PurchaseOption
from tallygate.times import Period

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POOL = Pool(
    provider="aws",
    region="us-east-1",
    zone="us-east-1a",
    instance_type="r5.4xlarge",
    purchase_option=PurchaseOption.SPOT,
)


def of(*changes: tuple[int, str | None], hours: int, readings: Sequence[Vouched] | None = None) -> Path:
    """The path of prices that changed at these hours; fully vouched for unless told otherwise."""
    window = Period(START, START + hours * HOUR)
    said = [Change(START + hour * HOUR, None if price is None else Money.of(price)) for hour, price in changes]
    return path(POOL, said, [Vouched(window.start, window.end)] if readings is None else readings, window)


def shown(price: Money | None) -> str | None:
    return None if price is None else price.shown()


def test_quantiles_weigh_prices_by_the_time_they_stood() -> None:
    found = statistics(of((0, "0.10"), (50, "0.20"), (95, "0.90"), hours=100))
    assert (shown(found.p50), shown(found.p95), shown(found.low), shown(found.high)) == ("0.10", "0.20", "0.10", "0.90")
    # One microsecond less at the lower prices, and the next one is needed.
    later = [
        Change(change.at - timedelta(microseconds=1) * (change.at > START), change.price)
        for change in (
            Change(START, Money.of("0.10")),
            Change(START + 50 * HOUR, Money.of("0.20")),
            Change(START + 95 * HOUR, Money.of("0.90")),
        )
    ]
    window = Period(START, START + 100 * HOUR)
    moved = statistics(path(POOL, later, [Vouched(window.start, window.end)], window))
    assert (shown(moved.p50), shown(moved.p95)) == ("0.20", "0.90")


def test_the_share_of_time_below_a_price_is_exact_and_equal_is_not_below() -> None:
    found = of((0, "0.10"), (1, "0.20"), hours=3)
    assert statistics(found, below=Money.of("0.20")).below == Fraction(1, 3)
    assert statistics(found, below=Money.of("0.200000001")).below == 1
    assert statistics(found).below is None
    assert percent(Fraction(1, 3)) == Decimal("33.3")


def test_a_price_before_the_window_is_in_force_when_it_begins() -> None:
    found = of((-500, "0.10"), (2, "0.20"), hours=4)
    assert [(span.start, shown(span.price)) for span in found.spans] == [(START, "0.10"), (START + 2 * HOUR, "0.20")]


def test_unknown_time_counts_in_coverage_and_in_nothing_else() -> None:
    readings = [Vouched(START, START), Vouched(START + 72 * HOUR, START + 72 * HOUR)]
    found = of((0, "0.10"), (72, "0.30"), hours=96, readings=readings)
    assert [shown(span.price) for span in found.spans] == ["0.10", None, "0.30"]
    said = statistics(found, below=Money.of("0.2"))
    assert (said.coverage, said.below, said.changes) == (Fraction(1, 2), Fraction(1, 2), 1)
    assert found.price_at(START + 30 * HOUR) is None
    assert volatility(found) is None  # no two neighbouring days are known


def test_readings_vouch_for_a_day_and_join_where_they_meet() -> None:
    readings = [Vouched(START + hour * HOUR, START + hour * HOUR) for hour in (30, 0, 12)]
    found = of((0, "0.10"), hours=100, readings=readings)
    assert [(span.start, span.end) for span in found.spans] == [
        (START, START + 54 * HOUR),
        (START + 54 * HOUR, START + 100 * HOUR),
    ]
    assert timedelta(hours=24) == VOUCHED


def test_what_is_not_for_sale_has_no_price_and_coming_back_alike_is_no_change() -> None:
    found = of((0, "0.10"), (10, None), (20, "0.10"), (25, "0.11"), hours=40)
    assert [shown(span.price) for span in found.spans] == ["0.10", None, "0.10", "0.11"]
    assert statistics(found).changes == 1


def test_volatility_counts_a_jump_once_up_and_once_down_and_never_passes_one() -> None:
    quiet = of((0, "1.00"), hours=24 * 10)
    assert volatility(quiet) == 0
    spike = of((0, "0.10"), (30, "1.00"), (60, "0.10"), hours=24 * 5)
    assert volatility(spike) == Fraction(9, 10) * 2 / 4
    wild = of(*[(24 * day, "1000" if day % 2 else "0.001") for day in range(6)], hours=24 * 6)
    told = volatility(wild)
    assert told is not None
    assert Fraction(99, 100) < told < 1


def test_an_empty_path_says_nothing_rather_than_zero() -> None:
    said = statistics(of(hours=10), below=Money.of("1"))
    assert (said.p50, said.p95, said.low, said.high, said.below, said.volatility) == (None,) * 6
    assert said.coverage == 0


@given(
    st.lists(st.tuples(st.integers(-50, 120), st.one_of(st.none(), st.integers(1, 5))), max_size=12),
    st.lists(st.tuples(st.integers(-60, 120), st.integers(0, 40)), max_size=6),
)
def test_every_path_agrees_with_looking_at_each_hour(
    steps: list[tuple[int, int | None]], looks: list[tuple[int, int]]
) -> None:
    """The plainest way to say what is known, hour by hour, against spans; and statistics by sorting those hours."""
    ordered = sorted(dict(steps).items())
    readings = [Vouched(START + (at - back) * HOUR, START + at * HOUR) for at, back in looks]
    found = of(*[(at, None if nanos is None else str(nanos)) for at, nanos in ordered], hours=100, readings=readings)

    def known(hour: int) -> int | None:
        if not any(at - back <= hour < at + 24 for at, back in looks):
            return None
        return next((nanos for at, nanos in reversed(ordered) if at <= hour), None)

    hours = [known(hour) for hour in range(100)]
    assert [found.price_at(START + hour * HOUR) for hour in range(100)] == [
        None if nanos is None else Money.of(nanos) for nanos in hours
    ]
    assert found.spans[0].start == START
    assert found.spans[-1].end == START + 100 * HOUR
    assert all(
        one.end == other.start and one.price != other.price
        for one, other in zip(found.spans, found.spans[1:], strict=False)
    )
    paid = sorted(nanos for nanos in hours if nanos is not None)
    said = statistics(found, below=Money.of(3))
    assert said.coverage == Fraction(len(paid), 100)
    if paid:
        assert said.p50 == Money.of(paid[-(-len(paid) * 50 // 100) - 1])
        assert said.p95 == Money.of(paid[-(-len(paid) * 95 // 100) - 1])
        assert said.below == Fraction(sum(nanos < 3 for nanos in paid), len(paid))
