"""The measurement of budget enforcement in small: ours keeps every limit, each model of others shows what it was made to show."""

from __future__ import annotations

from functools import cache

import pytest

from bench import enforcement
from bench.__main__ import measurements
from bench.policies.contest import OURS, POLICIES, contest, play
from bench.policies.judge import ALLOWANCE, Judge, Score
from bench.policies.rivals import NoGate
from bench.policies.scenarios import SCENARIOS
from bench.policies.stage import Stage
from bench.policies.tables import HEADER, Total, row
from tallygate.errors import BudgetExceeded
from tallygate.jobs.job import Job
from tallygate.jobs.launch import Launcher
from tallygate.money import Money
from tallygate.simcloud.processes import Process
from tallygate.simcloud.timeline import SECOND
from tallygate.simcloud.truth import Meter
from tallygate.simcloud.workload import ASK_TAG, Ask

SEED = 1


@cache
def scores(scenario: str) -> dict[str, Score]:
    return contest(scenario, SEED)


# --- ours


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ours_never_passes_a_limit_and_leaves_no_machine(scenario: str) -> None:
    """Not a nano and not a second, and the simulation's own invariants hold."""
    for policy in OURS:
        found = scores(scenario)[policy]
        assert (found.overshoot, found.leaked, found.broken) == (0, 0, ())
        assert found.done > 0


def test_what_ours_costs_is_counted() -> None:
    """In calm, where no gate is needed, every job that ours does not finish shows as a refusal."""
    for policy in OURS:
        found = scores("calm")[policy]
        assert found.done + found.refused == found.asked
        assert found.false_refusals == found.refused


def test_a_mistake_in_ours_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving back at a job's end what its bill may still bring breaks a promise, and the measurement says so."""

    def give_everything_back(self: Launcher, job: Job, metered: Money) -> None:
        self._book.settle(job_id=job.id, target=metered, final=True)

    monkeypatch.setattr(Launcher, "settle_ended", give_everything_back)
    found = play(SCENARIOS["calm"].plan(SEED), "Tallygate", None)
    assert found.broken or found.overshoot
    results = {"calm": {policy: [found] for policy in POLICIES}}
    assert len(enforcement.failures(results)) == len(OURS)


# --- the models of others


def test_in_calm_the_others_do_everything_and_more_than_ours() -> None:
    """The scenario in which a gate is not needed is among the ten, and nobody does better there than without one."""
    for policy in POLICIES.keys() - OURS:
        found = scores("calm")[policy]
        assert (found.done, found.overshoot, found.false_refusals) == (found.asked, 0, 0)


@pytest.mark.parametrize(
    ("policy", "scenario"),
    [
        ("no gate", "burst"),
        ("no gate", "interruptions"),
        ("no gate", "nested months"),
        ("check, then act", "burst"),
        ("check, then act", "low estimates"),
        ("check, then act", "price jump"),
        ("check, then act", "crashes"),
        ("check, then act, at its best", "burst"),
        ("check the late bill", "late bills"),
        ("check the late bill", "burst"),
        ("soft cap, polled", "burst"),
        ("soft cap, polled", "blind"),
        ("soft cap, polled", "dead scheduler"),
    ],
)
def test_a_policy_passes_the_limit_in_the_scenario_made_for_it(policy: str, scenario: str) -> None:
    assert scores(scenario)[policy].overshoot > 0


@pytest.mark.parametrize(
    ("policy", "scenario"),
    [
        ("no gate", "crashes"),
        ("check, then act", "crashes"),
        ("no gate", "dead scheduler"),
        ("check, then act", "dead scheduler"),
        ("soft cap, polled", "dead scheduler"),
    ],
)
def test_a_policy_leaks_machines_in_the_scenario_made_for_it(policy: str, scenario: str) -> None:
    assert scores(scenario)[policy].leaked > 3600 * SECOND


def test_a_check_at_its_best_is_stronger_than_a_plain_one() -> None:
    """A time limit at the cloud ends what hangs when the scheduler is dead, and counting disks leaves less to go over by."""
    assert scores("dead scheduler")["check, then act, at its best"].leaked == 0
    found = scores("late bills")
    assert found["check, then act, at its best"].overshoot < found["check, then act"].overshoot


def test_those_who_look_for_strangers_leak_less() -> None:
    found = scores("crashes")
    assert found["soft cap, polled"].leaked < found["check, then act"].leaked
    assert found["check the late bill"].leaked < found["check, then act"].leaked


# --- the same world for all


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_run(policy: str) -> None:
    plan = SCENARIOS["interruptions"].plan(SEED)
    assert plan == SCENARIOS["interruptions"].plan(SEED)
    assert play(plan, policy, None) == play(plan, policy, None)


def test_every_policy_meets_the_same_prices() -> None:
    plan = SCENARIOS["price jump"].plan(SEED)
    seen = set()
    for policy in ("Tallygate", "no gate", "soft cap, polled"):
        stage = Stage(plan)
        made = POLICIES[policy](stage)
        stage.run(made)
        made.close()
        pools = [pool for name in ("aws", "gcp", "azure") for pool in stage.world.market.pools(name)]
        hours = range(stage.world.start, stage.end, 3600 * SECOND)
        seen.add(tuple(pool.price_at(at) for pool in pools for at in hours))
    assert len(seen) == 1


# --- the figures


def _ask_of(meter: Meter) -> int:
    return int(meter.tags[f"user-{ASK_TAG}"])


def _by_the_second(meter: Meter, end: int) -> list[int]:
    """What a meter stands at after each billed second, in nanos an hour times seconds, added up one by one."""
    lived = -(-((meter.end if meter.end is not None else end) - meter.start) // SECOND)
    sums = [0]
    for second in range(max(60, lived)):
        sums.append(sums[-1] + meter.price_at(meter.start + second * SECOND))
    return sums


@pytest.mark.parametrize("scenario", ["crashes", "interruptions"])
@pytest.mark.parametrize("policy", ["no gate", "soft cap, polled", "Tallygate"])
def test_overshoot_is_what_adding_up_every_second_of_every_meter_gives(scenario: str, policy: str) -> None:
    stage = Stage(SCENARIOS[scenario].plan(SEED))
    made = POLICIES[policy](stage)
    stage.run(made)
    judged = Judge(stage, None).score(made)
    made.close()
    meters = [(meter, _by_the_second(meter, stage.end)) for meter in stage.world.truth.meters]
    ends = [meter.end for meter, _ in meters if meter.end is not None]
    instants = {stage.end, *range(stage.world.start, stage.end, 600 * SECOND), *ends, *(end - 1 for end in ends)}

    def spent(at: int) -> int:
        total = 0
        for meter, sums in meters:
            gone = meter.waived and meter.end is not None and at >= meter.end
            lived = -(-(min(at, meter.end or at) - meter.start) // SECOND)
            if at >= meter.start and not gone:
                total += sums[max(60, lived)] // 3600
        return total

    (limit,) = (budget.limit.nanos for budget in stage.plan.budgets)
    by_hand = max(0, *(spent(at) - limit for at in instants))
    assert abs(judged.overshoot - by_hand) <= len(meters)  # each meter is rounded once
    assert abs(judged.spent - spent(stage.end)) <= len(meters)


def test_leaked_time_is_what_looking_every_ten_seconds_gives() -> None:
    stage = Stage(SCENARIOS["crashes"].plan(SEED))
    policy = NoGate(stage)
    stage.run(policy)
    judge = Judge(stage, None)
    judged = judge.score(policy).leaked
    step, unwanted, machines = 10 * SECOND, 0, 0
    for number in stage.asks:
        lives = [
            (each.meter.start, each.meter.end, each.end_cause, each.stopping_at)
            for each in stage.machines_of(number)
            if each.meter is not None and each.meter.end is not None
        ]
        machines += len(lives)
        finish = min(stopping for _, _, cause, stopping in lives if cause == "finished" and stopping is not None)
        for at in range(stage.world.start, stage.end, step):
            alive = sum(start <= at < end for start, end, _, _ in lives)
            unwanted += step * max(0, alive - (at < finish))
    assert judged > 3600 * SECOND
    assert judged <= unwanted + machines * step
    assert unwanted <= judged + machines * (ALLOWANCE + step)


class _RefusesAll(NoGate):
    """Never passes a limit, and never does anything."""

    def submit(self, process: Process, ask: Ask) -> None:
        raise BudgetExceeded("No")


@pytest.mark.parametrize("scenario", ["calm", "burst"])
def test_refusing_everything_does_not_win(scenario: str) -> None:
    """Each ask that would have fitted beside those counted before it is a false refusal: by hand, in order of asking."""
    oracle = scores(scenario)["no gate"]
    plan = SCENARIOS[scenario].plan(SEED)
    stage = Stage(plan)
    policy = _RefusesAll(stage)
    stage.run(policy)
    found = Judge(stage, oracle).score(policy)
    left, fitting = plan.budgets[0].limit.nanos, 0
    for number in sorted(stage.refused, key=lambda each: (stage.refused[each], each)):
        if oracle.cost_of[number] <= left:
            left -= oracle.cost_of[number]
            fitting += 1
    assert (found.done, found.refused, found.false_refusals) == (0, found.asked, fitting)
    assert fitting > 0


def test_a_second_machine_and_unfinished_work_are_wasted() -> None:
    """Without a gate in the crashes, at least the dearer half of every pair of machines is wasted, and never all money."""
    found = scores("crashes")["no gate"]
    assert 0 < found.wasted < found.spent
    refused_by_cap = scores("burst")["soft cap, polled"]
    assert (refused_by_cap.done, refused_by_cap.wasted) == (0, refused_by_cap.spent)


# --- how it is shown


def test_the_measurement_is_listed_and_its_helpers_are_not() -> None:
    assert "enforcement" in measurements()
    assert not {"policies", "contest", "judge", "rivals"} & measurements().keys()


def test_something_is_never_shown_as_nothing() -> None:
    shown = row("x", Total(runs=1000, over_runs=1, overshoot=1, overshoot_max=1, leaked=1, asked=9999, done=9998))
    assert shown[1:6] == ("1 %", "$0.01", "$0.01", "0.1", "99 %")


def test_the_readme_shows_the_table_of_every_policy() -> None:
    """Written by the command, with the columns and policies of today."""
    text = enforcement.README.read_text(encoding="utf-8")
    table = text.partition(enforcement.BEGIN)[2].partition(enforcement.END)[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert lines[0] == "| " + " | ".join(HEADER) + " |"
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(POLICIES)
    for line in lines[2 : 2 + len(OURS)]:
        assert line.split(" | ")[1:5] == ["0 %", "$0.00", "$0.00", "0.0"]
