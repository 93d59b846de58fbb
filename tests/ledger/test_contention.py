"""Real processes race for one budget and for three nested ones; the full size runs as ``python -m bench contention``."""

from __future__ import annotations

import pytest

from bench.contention import NESTED, ONE, contend, kill_rounds, naive_overshoot

ADMISSIONS = 1_000
"""By each of eight processes: a tenth of the full size."""


@pytest.mark.parametrize("names", [ONE, NESTED], ids=["one budget", "three nested budgets"])
def test_eight_processes_never_pass_the_limit(database_url: str, names: tuple[str, ...]) -> None:
    """Never over at any sampled moment, no drift, no lock error, while about twice the limit is asked for (D01, M16)."""
    found = contend(database_url, names=names, admissions=ADMISSIONS)
    assert found.problems == []
    assert found.held > ADMISSIONS
    assert found.refused > ADMISSIONS
    assert found.sampled.looks > 10


def test_a_launcher_that_reads_and_then_writes_overspends(database_url: str) -> None:
    """The same race without the conditional write: the harness would notice."""
    assert naive_overshoot(database_url, admissions=ADMISSIONS // 10).nanos > 0


def test_killed_processes_leave_whole_admissions_behind(database_url: str) -> None:
    """After kill -9 of all of them, again and again, the books are right and every acknowledged hold is there (D02)."""
    acknowledged, problems = kill_rounds(database_url, processes=8, rounds=3)
    assert problems == []
    assert acknowledged > 0
