"""Quotes keep what they promise: a small back-test in the simulated market. The large one is ``python -m bench calibration``."""

from __future__ import annotations

from bench import calibration


def test_nine_of_ten_finished_jobs_cost_what_was_quoted() -> None:
    outcomes = [each for seed in range(5_001, 5_111) if (each := calibration.one_job(seed)) is not None]
    finished = [each for each in outcomes if each.cost is not None]
    assert len(finished) > 90
    low, high = calibration.WITHIN
    assert low <= calibration.percent(outcomes) <= high
    assert all(each.cost <= each.quote.worst_case for each in finished)


def test_the_same_seed_is_the_same_job() -> None:
    assert calibration.one_job(7) == calibration.one_job(7)
