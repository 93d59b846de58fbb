"""Rework: the formula against the process it describes, lived through, and the spread against the formula."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from tallygate.pricing.rework import expected_seconds, lost_seconds
from tallygate.pricing.spread import Spread, mixed

CASES = [
    # work, interruptions an hour, saved every, restart
    (36_000, "0.2", None, 60),
    (36_000, "0.2", 600, 60),
    (36_000, "0.02", None, 120),
    (7_200, "1", 1_800, 300),
    (100_000, "0.1", 7_200, 0),
    (600_000, "0.5", 1_200, 90),
]


def lived(work: int, per_hour: float, checkpoint: int | None, restart: int, *, lives: int) -> list[float]:
    """The seconds that a job takes, job by job, with interruptions drawn one by one."""
    chance, found = random.Random(11), []
    for _ in range(lives):
        done = spent = setup = 0.0
        while True:
            taken = chance.expovariate(per_hour / 3600)
            if taken >= setup + work - done:
                break
            spent += taken
            reached = done + max(0.0, taken - setup)
            if checkpoint:
                done = max(done, reached // checkpoint * checkpoint)
            setup = restart
        found.append(spent + setup + work - done)
    return sorted(found)


@pytest.mark.parametrize(("work", "rate", "checkpoint", "restart"), CASES)
def test_the_expected_time_is_what_many_lives_come_to(
    work: int, rate: str, checkpoint: int | None, restart: int
) -> None:
    lives = lived(work, float(rate), checkpoint, restart, lives=4_000)
    mean = sum(lives) / len(lives)
    assert float(expected_seconds(work, Decimal(rate), checkpoint, restart)) == pytest.approx(mean, rel=0.03)


@pytest.mark.parametrize(("work", "rate", "checkpoint", "restart"), CASES)
def test_the_spread_of_what_is_lost_has_the_formulas_mean_and_the_lives_quantiles(
    work: int, rate: str, checkpoint: int | None, restart: int
) -> None:
    spread = lost_seconds(work, Decimal(rate), checkpoint, restart, at_most=work * 30)
    expected = expected_seconds(work, Decimal(rate), checkpoint, restart)
    assert float(spread.mean) + work == pytest.approx(float(expected), rel=0.01)
    lives = lived(work, float(rate), checkpoint, restart, lives=4_000)
    for share in ("0.5", "0.9"):
        assert float(spread.quantile(Decimal(share)) + work) == pytest.approx(
            lives[int(float(share) * len(lives))], rel=0.08
        )


def test_without_interruptions_work_takes_what_it_takes() -> None:
    assert expected_seconds(3600, Decimal(0), None, 60) == 3600
    assert lost_seconds(3600, Decimal(0), None, 60, at_most=10**6) == Spread.certain(0)


def test_saving_more_often_never_takes_longer_and_more_interruptions_never_less() -> None:
    by_interval = [expected_seconds(36_000, Decimal("0.3"), each, 60) for each in (300, 600, 1800, 9000, 36_000, None)]
    assert by_interval == sorted(by_interval)
    by_rate = [expected_seconds(36_000, Decimal(each) / 1000, 600, 60) for each in range(0, 2_000, 100)]
    assert by_rate == sorted(by_rate)
    assert by_rate[0] == 36_000


def test_work_shorter_than_the_interval_is_work_that_is_never_saved() -> None:
    rate = Decimal("0.5")
    assert expected_seconds(600, rate, 3600, 60) == expected_seconds(600, rate, None, 60)


def test_a_hopeless_job_has_an_expected_time_beyond_all_bounds_and_no_error() -> None:
    """A month of work that is never saved, on machines that last 13 minutes."""
    assert expected_seconds(30 * 86_400, Decimal("4.6"), None, 60) > 10**100
    assert lost_seconds(30 * 86_400, Decimal("4.6"), None, 60, at_most=10**6).values[-1] == 10**6


@pytest.mark.parametrize(
    ("work", "rate", "checkpoint", "restart"),
    [(-1, "0", None, 0), (1, "-1", None, 0), (1, "1", 0, 0), (1, "1", None, -1)],
)
def test_nonsense_is_refused(work: int, rate: str, checkpoint: int | None, restart: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        expected_seconds(work, Decimal(rate), checkpoint, restart)


# --- spreads


def test_a_quantile_is_the_smallest_value_that_so_much_does_not_exceed() -> None:
    spread = Spread.of([(30, 1), (10, 2), (20, 1)])
    assert [spread.quantile(Decimal(each)) for each in ("0.01", "0.5", "0.51", "0.75", "0.76", "1")] == [
        10, 10, 20, 20, 30, 30,
    ]  # fmt: skip
    assert spread.share_up_to(19) == Decimal("0.5")
    assert (spread.share_up_to(9), spread.share_up_to(30)) == (0, 1)


def test_thinning_keeps_the_mean_and_about_the_quantiles() -> None:
    spread = Spread.of((value * value, 1 + value % 3) for value in range(1, 900))
    thin = spread.thinned(50)
    assert len(thin.values) <= 50
    assert float(thin.mean) == pytest.approx(float(spread.mean), rel=1e-5)
    for share in ("0.05", "0.5", "0.95"):
        assert float(thin.quantile(Decimal(share))) == pytest.approx(float(spread.quantile(Decimal(share))), rel=0.05)


def test_sums_and_mixtures_have_the_means_they_must_have() -> None:
    one, other = Spread.of([(1, 1), (3, 1)]), Spread.of([(10, 1), (20, 3)])
    assert one.plus(other).mean == one.mean + other.mean
    assert mixed([(one, 10**9), (other, 3 * 10**9)]).mean == (one.mean + 3 * other.mean) / 4
    assert one.plus(other).at_most(12).values == (11, 12)
