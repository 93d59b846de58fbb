"""The whole system in a hostile world: no promise is broken, whatever the seed, and every check that says so can fail."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tallygate.jobs.watch import NEWBORN
from tallygate.simcloud import bugs, campaign, simulation
from tallygate.simcloud.faults import BREAKING_TIMERS
from tallygate.simcloud.invariants import INVARIANTS
from tallygate.simcloud.known_seeds import KNOWN
from tallygate.simcloud.simulation import Outcome, Settings, Simulation, simulate
from tallygate.simcloud.timeline import SECOND

ROOT = Path(__file__).resolve().parents[2]
REGRESSIONS = Path(__file__).with_name("regressions.txt")

SEEDS = 2000
CHUNK = 40
SECONDS_MAX = 180
"""All chunks together take at most so long; the summary says how many seeds that were."""


def told(outcome: Outcome) -> str:
    return "\n".join([*map(str, outcome.violations), outcome.settings.replay()])


# --- no promise is broken


@pytest.fixture
def until(tmp_path_factory: pytest.TempPathFactory) -> float:
    """When the time of all seeds together is up. Workers that run side by side share the start."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "first-seed"
    try:
        with shared.open("x") as file:
            file.write(str(time.time()))
    except FileExistsError:
        for _ in range(100):
            if shared.stat().st_size:
                break
            time.sleep(0.01)
    return float(shared.read_text()) + SECONDS_MAX


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seed_breaks_a_promise(first: int, until: float, record_property: Callable[[str, object], None]) -> None:
    done = 0
    for seed in range(first, first + CHUNK):
        if time.time() >= until:
            break
        outcome = simulate(Settings(seed=seed))
        assert outcome.is_clean, told(outcome)
        done += 1
    record_property("simulated_seeds", done)
    assert done or first, "not even the first seed was run"


@pytest.mark.parametrize("settings", campaign.regressions(REGRESSIONS), ids=Settings.replay)
def test_what_once_broke_a_promise_keeps_them_all(settings: Settings) -> None:
    outcome = simulate(settings)
    assert outcome.is_clean, told(outcome)


def test_in_a_hundred_seeds_everything_happens_that_should() -> None:
    """A simulation in which something never happens proves nothing of it."""
    report = campaign.Report()
    for seed in range(SEEDS, SEEDS + 100):
        report.add(simulate(Settings(seed=seed)))
        if report.seeds >= 10 and not report.missing():
            break
    assert report.missing() == []
    assert 0 < report.strict < report.seeds


# --- nobody is left to stop the machines


@pytest.mark.parametrize("dialect", ["aws", "gcp", "azure"])
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_with_everything_dead_from_the_first_second_machines_end_themselves_inside_their_holds(
    seed: int, dialect: str, tmp_path: Path
) -> None:
    settings = Settings(seed=seed, jobs=20, strict=True, scheduler_dies_at=1, rates={"crash": 0, "pause": 0})
    run = Simulation(settings, tmp_path)
    try:
        # Everybody asks in the first minute, so that machines are on their way when everything dies.
        asks = tuple(replace(ask, provider=dialect, at=ask.number % 3) for ask in run.workload.asks)
        run.workload = replace(run.workload, asks=asks)
        outcome = run.run()
        assert outcome.is_clean, told(outcome)
        records = run.house.invariants.records
        first = min(machine.created_at for machine in run.world.machines.values())
        early = [each for each in run.world.machines.values() if each.created_at <= first + SECOND]
        assert early
        for machine in early:
            row = records.by_token[machine.token]
            assert machine.dialect.name == dialect
            assert machine.ended_at is not None
            assert machine.ended_at <= machine.not_after + row["kill_seconds"] * SECOND  # type: ignore[operator]
            hold = records.own_hold(machine.job_id or "")
            assert hold is not None
            assert run.world.truth.machine(machine.id) <= hold["amount_nanos"]  # type: ignore[operator]
    finally:
        run.close()


# --- the same run


def test_the_same_settings_give_the_same_log_to_the_byte() -> None:
    first: list[str] = []
    second: list[str] = []
    settings = Settings(seed=12, store="file")
    digests = {simulate(settings, log=first.append).digest, simulate(settings, log=second.append).digest}
    assert first == second
    assert len(digests) == 1
    assert simulate(Settings(seed=12)).digest in digests, "where the database is changes nothing"
    assert simulate(Settings(seed=13)).digest not in digests


def test_processes_that_hash_differently_carry_out_the_same_run() -> None:
    def answer(hash_seed: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-m", "tallygate", "simulate", "--seed", "21", "--json"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    assert answer("1") == answer("4242")


def test_the_printed_command_shows_the_same_violation_again() -> None:
    seed, _ = KNOWN["one_listing_is_enough"]
    words = [sys.executable, "-m", "tallygate", "simulate", "--bug", "one_listing_is_enough", "--seed", str(seed)]

    def run(command: list[str]) -> tuple[int, dict[str, object]]:
        done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, json.loads(done.stdout)

    code, first = run(words)
    replay = shlex.split(str(first["replay"]))
    assert replay[0] == "tallygate"
    assert run([sys.executable, "-m", *replay]) == (code, first)
    assert code == 1
    assert first["violations"]


def test_every_setting_that_matters_is_in_the_replay_and_in_a_line_of_the_file(tmp_path: Path) -> None:
    settings = Settings(
        seed=5, jobs=7, hours=9, store="file", strict=False, scheduler_dies_at=3, watchers=2, longest=999,
        rates={"crash": 5, "pause": 0},
    )  # fmt: skip
    assert settings.replay() == (
        "tallygate simulate --seed 5 --jobs 7 --hours 9 --store file --timers break --scheduler-dies-at 3"
        " --watchers 2 --longest 999 --rate crash=5 --rate pause=0"
    )
    outcome = replace(simulate(Settings(seed=5, jobs=1, hours=1)), settings=settings)
    file = tmp_path / "regressions.txt"
    assert campaign.keep_regressions(file, [outcome]) == 1
    assert campaign.keep_regressions(file, [outcome, outcome]) == 0
    assert campaign.regressions(file) == [settings]


# --- the checks can fail


@pytest.mark.parametrize("name", bugs.all_bugs())
def test_every_planted_bug_is_caught_by_the_invariant_that_must(name: str) -> None:
    bug = bugs.all_bugs()[name]
    seed, invariant = KNOWN[name]
    with bug.plant():
        outcome = simulate(bugs.settings_for(bug, seed))
    assert invariant in bug.caught_by
    assert invariant in {violation.invariant for violation in outcome.violations}
    assert f"--bug {name}" in outcome.settings.replay(name)


def test_there_are_enough_bugs_and_each_is_taken_out_again() -> None:
    every = bugs.all_bugs()
    assert len(every) >= 60
    assert set(KNOWN) == set(every)
    assert {name for bug in every.values() for name in bug.caught_by} <= set(INVARIANTS)
    for name in ("holds_the_estimate", "no_reaper", "decides_on_what_it_read_before"):
        assert simulate(Settings(seed=KNOWN[name][0])).is_clean


def test_true_spend_is_compared_with_limits_between_commits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody left to commit anything, machines that cost more than was held are found at the next event."""
    bug = bugs.all_bugs()["holds_no_sides"]
    found: list[int] = []
    for seed in range(40):
        settings = Settings(seed=seed, strict=True, scheduler_dies_at=1, rates={"crash": 0})
        with bug.plant():
            outcome = simulate(settings)
        if {each.invariant for each in outcome.violations} == {"M17"}:
            hour = (outcome.violations[0].at - simulation.START).total_seconds() / 3600
            if hour < settings.hours:
                found.append(seed)
                break
    assert found


def test_a_fault_that_breaks_timers_never_strikes_where_they_are_said_to_work() -> None:
    for seed in range(5):
        assert not BREAKING_TIMERS & set(simulate(Settings(seed=seed, strict=True)).struck)


def test_after_the_last_fault_five_rounds_are_enough(tmp_path: Path) -> None:
    assert simulation.ROUNDS == 5
    assert (int(NEWBORN.total_seconds()) + 600) * SECOND == simulation._PATIENCE
    run = Simulation(Settings(seed=1), tmp_path)
    try:
        assert run.run().is_clean
        assert run.house.invariants.records.open_attempts() == []
        assert not any(machine.bills for machine in run.world.machines.values())
    finally:
        run.close()
