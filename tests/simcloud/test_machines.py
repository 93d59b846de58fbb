"""What machines do by themselves, and what that truly costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest

from tallygate.money import Money
from tallygate.pricing.estimate import Policy, estimate
from tallygate.pricing.offers import PurchaseOption
from tallygate.providers.base import MachineState
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.faults import ALWAYS, BREAKING_TIMERS
from tallygate.simcloud.machines import Machine
from tallygate.simcloud.market import Climate
from tallygate.simcloud.timeline import HOUR, SECOND
from tallygate.simcloud.truth import Meter, rounded
from tallygate.simcloud.work import Work

LONG = Work(seconds=10**6)


def by_brute_force(meter: Meter, at: int) -> int:
    """A meter's cost added up second by second, in decimals and from the definition alone."""
    if meter.waived and meter.end is not None and at >= meter.end:
        return 0
    until = at if meter.end is None else min(at, meter.end)
    if until < meter.start:
        return 0
    begun_seconds = (until - meter.start + SECOND - 1) // SECOND
    seconds = max(begun_seconds, meter.dialect.terms.seconds_min)
    assert meter.dialect.terms.seconds_step == 1
    total = sum(_nano_hours(meter, meter.start + second * SECOND) for second in range(seconds))
    return int((Decimal(total) / HOUR).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _nano_hours(meter: Meter, since: int) -> int:
    """What one second costs, in nanos an hour times microseconds. A price may change inside it, on a whole second."""
    if meter.pool is None:
        return meter.rate * SECOND
    change = since // SECOND * SECOND + SECOND
    before, after = _capped(meter, meter.pool.price_at(since)), _capped(meter, meter.pool.price_at(change))
    return before * (change - since) + after * (since + SECOND - change)


def _capped(meter: Meter, nanos: int) -> int:
    return nanos if meter.ceiling is None else min(nanos, meter.ceiling)


# --- the truth


def test_the_truth_is_the_price_path_added_up_second_by_second(make_scene: Callable[..., Any], dialect: str) -> None:
    for seed in range(6):
        scene = make_scene(seed, climate=Climate(jump=300_000, interrupt=0, empty=0))
        machine = scene.launch(dialect, seconds=6 * 3600, work=Work(seconds=5 * 3600 + seed * 777))
        for _ in range(14):
            scene.world.advance(1801)
            for meter in scene.world.truth.of():
                assert meter.nanos(scene.world.now) == by_brute_force(meter, scene.world.now)
        assert machine.ended_at is not None
        assert scene.world.truth.machine(machine.id) == sum(
            by_brute_force(meter, scene.world.now) for meter in scene.world.truth.of()
        )


def test_a_cost_is_rounded_half_to_even_and_only_once() -> None:
    assert [rounded(HOUR * half // 2) for half in (1, 3, 5, 7)] == [0, 2, 2, 4]
    assert rounded(HOUR // 2 + 1) == 1
    assert rounded(HOUR * 7 - 1) == 7


def test_asking_about_the_past_gives_what_was_true_then(make_scene: Callable[..., Any], dialect: str) -> None:
    scene = make_scene(3, climate=Climate(jump=300_000, empty=0))
    machine = scene.launch(dialect, seconds=8 * 3600, work=LONG)
    seen = []
    for _ in range(20):
        scene.world.advance(1111)
        seen.append((scene.world.now, scene.world.truth.machine(machine.id)))
    if machine.meter is not None and not machine.meter.waived:
        assert [scene.world.truth.machine(machine.id, at) for at, _ in seen] == [nanos for _, nanos in seen]


def test_a_job_costs_what_its_machines_cost_and_everything_what_all_jobs_cost(scene: Any, dialect: str) -> None:
    first = scene.launch(dialect, job="one", work=Work(seconds=100))
    scene.world.advance(600)
    second = scene.launch(dialect, job="one", attempt=2)
    other = scene.launch(dialect, job="two")
    scene.world.advance(7200)
    truth = scene.world.truth
    assert truth.job("one") == truth.machine(first.id) + truth.machine(second.id) > 0
    assert truth.total() == truth.job("one") + truth.job("two")
    assert truth.job("two") == truth.machine(other.id)
    assert truth.jobs() == ["one", "two"]
    assert truth.job("nobody") == 0


def test_a_machine_that_lives_ten_seconds_bills_the_minimum(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=Work(seconds=1))
    while machine.ended_at is None:
        scene.world.step()
    meter = machine.meter
    assert meter is not None
    lived = (meter.end - meter.start) // SECOND
    assert lived < 120
    billed = DIALECTS[dialect].terms.billed_seconds(lived)
    assert meter.nanos(scene.world.now) == Money(meter.pool.price_at(meter.start)).for_seconds(billed).nanos


def test_machine_time_bills_from_running_and_side_resources_from_their_making(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect)
    assert machine.started_at is None or machine.started_at > machine.created_at
    disk = machine.sides[0].meter
    assert disk.start == machine.created_at
    assert scene.world.truth.machine(machine.id, machine.created_at + SECOND) == sum(
        side.meter.nanos(machine.created_at + SECOND) for side in machine.sides
    )


def test_a_spot_machine_never_pays_more_than_its_ceiling(make_scene: Callable[..., Any]) -> None:
    scene = make_scene(1)
    machine = scene.launch("aws", work=LONG, price_max=Money(50_000_000))
    scene.world.advance(100)
    assert machine.meter is not None
    machine.meter.nanos(scene.world.now)
    scene.world.reprice(machine.build.pool, 700_000_000, at=scene.world.now + HOUR // 2)
    scene.world.advance(4000)
    assert machine.end_cause == "price"
    assert machine.meter is not None
    machine.meter.waived = False  # it was taken back within its first hour, but would have cost this
    lived = -(-(machine.meter.end - machine.meter.start) // SECOND)
    assert machine.meter.nanos_to(machine.meter.billed_to(scene.world.now)) <= 50_000_000 * lived // 3600 + 1


def test_a_price_that_is_moved_by_a_scenario_counts_from_its_own_instant(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=LONG)
    scene.world.advance(1000)
    meter, price = machine.meter, machine.build.pool.price_at(scene.world.now)
    assert meter is not None
    meter.nanos(scene.world.now)
    moved = scene.world.now - scene.world.now % SECOND
    scene.world.reprice(machine.build.pool, price + price // 2, at=moved)
    scene.world.advance(1000)
    assert machine.build.pool.price_at(scene.world.now) == price + price // 2
    assert meter.nanos(scene.world.now) == by_brute_force(meter, scene.world.now)


def test_an_on_demand_machine_pays_its_list_price_whatever_the_spot_market_does(make_scene: Callable[..., Any]) -> None:
    scene = make_scene(1, climate=Climate(jump=900_000))
    offer = scene.offer("aws", option=PurchaseOption.ON_DEMAND)
    machine = scene.launch("aws", offer=offer, work=Work(seconds=3000))
    scene.world.advance(7200)
    assert machine.end_cause == "finished"
    assert machine.meter is not None
    lived = -(-(machine.meter.end - machine.meter.start) // SECOND)
    assert machine.meter.nanos(scene.world.now) == offer.hourly_price.for_seconds(lived).nanos


def test_time_that_amazon_takes_back_within_the_first_hour_is_free_but_its_disk_is_not(scene: Any) -> None:
    machine = scene.launch("aws", work=LONG)
    scene.world.advance(60)
    scene.world.take_back(machine, at=scene.world.now + 20 * 60 * SECOND)
    scene.world.advance(3600)
    assert machine.end_cause == "interrupted"
    assert machine.meter is not None
    assert machine.meter.nanos(scene.world.now) == 0
    assert machine.meter.nanos(machine.meter.end - 1) > 0
    assert scene.world.truth.machine(machine.id) > 0


# --- ends


def test_a_machine_ends_when_its_work_is_done_and_reports_it(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, job="worker", work=Work(seconds=600, exit_status=3))
    scene.world.advance(3500)
    assert (machine.state, machine.end_cause) == (MachineState.ENDED, "finished")
    assert machine.started_at is not None
    assert 600 <= (machine.ended_at - machine.started_at) // SECOND <= 600 + 20 + 15 + 60
    said = scene.world.fleet.said["worker", 1]
    assert (said.reason, said.exit_status) == ("finished", 3)
    assert said.report().exit_status == 3


def test_without_work_to_finish_it_ends_at_its_deadline(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=LONG)
    scene.world.advance(3 * 3600)
    assert machine.state is MachineState.ENDED
    assert machine.end_cause == "deadline"
    assert (
        machine.not_after - 60 * SECOND
        <= machine.ended_at
        <= machine.not_after + machine.dialect.terms.kill_seconds * SECOND
    )


def test_uptime_ends_it_even_when_the_clock_is_wrong(scene: Any, dialect: str) -> None:
    scene.world.faults.set({"wrong_machine_clock": ALWAYS})
    machine = scene.launch(dialect, work=LONG)
    scene.world.advance(3 * 3600)
    assert machine.end_cause in ("deadline", "limit")
    assert machine.ended_at <= machine.not_after + 180 * SECOND


def test_with_broken_timers_only_the_clouds_own_limit_ends_it(scene: Any, dialect: str) -> None:
    scene.world.faults.set({"broken_timer": ALWAYS})
    machine = scene.launch(dialect, work=LONG)
    scene.world.advance(10 * 86400)
    if DIALECTS[dialect].limit_lag is None:
        assert machine.is_alive
    else:
        assert machine.end_cause == "limit"
        assert machine.ended_at <= machine.not_after + machine.dialect.terms.kill_seconds * SECOND
    assert not machine.sound


def test_a_machine_whose_time_has_passed_at_boot_ends_at_once(scene: Any) -> None:
    machine = scene.launch("aws", seconds=1, work=LONG)
    while machine.ended_at is None:
        scene.world.step()
    assert machine.end_cause == "expired"
    assert machine.ended_at - machine.started_at <= machine.dialect.end_lag[1] * SECOND
    assert machine.work is None, "it never began its job"


def test_a_machine_is_taken_back_with_notice_and_what_it_saved_is_kept(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, job="resumes", work=Work(seconds=3000, checkpoint_seconds=300))
    scene.world.advance(100)
    taken = scene.world.now + 1000 * SECOND
    scene.world.take_back(machine, at=taken)
    scene.world.run_until(taken)
    assert machine.is_alive, "there is notice"
    saved = scene.world.fleet.works["resumes"].saved
    assert 900 < saved < 1101
    scene.world.advance(machine.dialect.notice_seconds)
    assert (machine.state, machine.end_cause) == (MachineState.ENDED, "interrupted")
    assert scene.world.fleet.said["resumes", 1].reason == "interrupted"

    again = scene.launch(dialect, job="resumes", attempt=2)
    scene.world.advance(3600)
    assert again.end_cause == "finished"
    assert (again.ended_at - again.started_at) // SECOND < 3000 - saved + 100


def test_a_job_that_never_saves_begins_again(scene: Any, dialect: str) -> None:
    first = scene.launch(dialect, job="stubborn", work=Work(seconds=2000, checkpoint_seconds=0))
    scene.world.advance(1000)
    scene.provider(dialect).terminate(first.id)
    scene.world.advance(200)
    assert first.ended_at is not None
    assert scene.world.fleet.works["stubborn"].saved == 0


def test_notice_is_given_once_and_extending_does_not_put_it_off(scene: Any) -> None:
    machine = scene.launch("aws", work=LONG)
    scene.world.advance(100)
    scene.world.take_back(machine, at=scene.world.now + 60 * SECOND)
    scene.world.advance(100)
    later = machine.not_after + HOUR
    scene.world.fleet.extend(machine, not_after=later, run_seconds_max=machine.run_seconds_max + 3600)
    scene.world.advance(100)
    assert machine.end_cause == "interrupted"
    assert sum(" notice " in line for line in scene.world.log) == 1


def test_a_machine_that_is_given_a_later_end_keeps_it(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=LONG)
    scene.world.advance(600)
    later = machine.not_after + 1800 * SECOND
    scene.world.fleet.extend(machine, not_after=later, run_seconds_max=machine.run_seconds_max + 1800)
    scene.world.advance(3 * 3600)
    assert machine.ended_at is not None
    if machine.dialect.extends:
        assert later - 60 * SECOND <= machine.ended_at
    else:
        assert machine.ended_at < later, "the provider's own limit stands"


def test_a_pool_that_runs_dry_takes_machines_with_it(make_scene: Callable[..., Any]) -> None:
    ends = set()
    for seed in range(12):
        scene = make_scene(seed)
        order = scene.order("aws", work=LONG)
        pool = scene.world.market.pool("aws", order.offer.zone, order.offer.instance_type)
        pool.set_empty(scene.world.now + 900 * SECOND, scene.world.now + 1800 * SECOND)
        machine = scene.world.machines[scene.provider("aws").launch(order).id]
        scene.world.advance(7200)
        ends.add(machine.end_cause)
    assert ends == {"interrupted", "deadline"}


# --- side resources


def test_everything_made_with_a_machine_goes_with_it(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=Work(seconds=60))
    scene.world.advance(7200)
    assert {side.kind for side in machine.sides} == {"disk", "address", "interface"}
    assert all(side.meter.end == machine.ended_at for side in machine.sides)
    assert not machine.bills
    assert scene.world.remains == []
    settled = scene.world.truth.total()
    scene.world.advance(86400)
    assert scene.world.truth.total() == settled


def test_what_stays_behind_bills_until_it_is_cleared(scene: Any, dialect: str) -> None:
    scene.world.faults.set({"leftover": ALWAYS})
    machine = scene.launch(dialect, work=Work(seconds=60))
    scene.world.advance(3600)
    assert machine.state is MachineState.ENDED
    (remains,) = scene.world.remains
    before = scene.world.truth.machine(machine.id)
    scene.world.advance(3600)
    growing = scene.world.truth.machine(machine.id) - before
    assert growing > 0
    scene.world.fleet.clear(remains)
    settled = scene.world.truth.machine(machine.id)
    scene.world.advance(3600)
    assert scene.world.truth.machine(machine.id) == settled
    assert scene.world.remains == []


def test_a_machine_that_ends_only_half_way_stands_still_until_told(scene: Any, dialect: str) -> None:
    scene.world.faults.set({"half_end": ALWAYS})
    machine = scene.launch(dialect, work=Work(seconds=60))
    scene.world.advance(3600)
    assert machine.state is MachineState.STOPPED
    assert machine.bills, "its disk does in any case"
    assert machine.is_alive == DIALECTS[dialect].stopped_bills
    assert (machine in scene.world.alive()) == machine.is_alive
    scene.provider(dialect).terminate(machine.id)
    scene.world.advance(200)
    assert machine.state is MachineState.ENDED
    assert not machine.bills
    assert not machine.sound, "that it was ended in the end does not make it one that ends by itself"


def test_a_larger_disk_bills_more(scene: Any, dialect: str) -> None:
    small = scene.launch(dialect, disk_gib=100, work=Work(seconds=600))
    large = scene.launch(dialect, disk_gib=200, work=Work(seconds=600))
    assert large.sides[0].meter.rate in range(2 * small.sides[0].meter.rate, 2 * small.sides[0].meter.rate + 2)


# --- the promise


def _launched(scene: Any, dialect: str) -> Iterator[tuple[Machine, Money]]:
    """Machines of several kinds with the hold that our own gate would ask for each."""
    provider = scene.provider(dialect)
    offers = list(scene.world.market.offers(dialect, name=provider.name))
    for _ in range(3):
        offer = scene.world.stream("test").pick(offers)
        found = estimate(
            offer,
            provider.terms,
            hours=Decimal(scene.world.stream("test").between(1, 40)) / 10,
            budget=None,
            policy=Policy(),
            now=scene.world.instant(),
        )
        order = scene.order(dialect, seconds=found.run_seconds_max, offer=offer, price_max=found.price_max)
        made = scene.world.cloud(dialect).create(provider._build(order))
        if isinstance(made, Machine):
            yield made, found.worst_case


@pytest.mark.parametrize("share", range(4))
def test_a_thousand_worlds_end_by_deadline_and_kill_allowance_inside_their_holds(
    make_scene: Callable[..., Any], share: int
) -> None:
    """With working timers, nobody watching and everything else going wrong that can."""
    checked = 0
    for seed in range(share, 1000, 4):
        scene = make_scene(seed, climate=Climate(jump=300_000, interrupt=300_000))
        scene.world.faults.swarm(scene.world.stream("swarm"), without=BREAKING_TIMERS)
        launched = list(_launched(scene, ("aws", "gcp", "azure")[seed % 3]))
        for machine, _ in launched:
            scene.world.run_until(machine.not_after + machine.dialect.terms.kill_seconds * SECOND)
            assert machine.state is MachineState.ENDED, f"seed {seed}: {machine.id} is {machine.state}"
        scene.world.advance(86400)
        for machine, hold in launched:
            assert machine.sound
            assert scene.world.truth.machine(machine.id) <= hold.nanos, f"seed {seed}: {machine.id}"
            checked += 1
    assert checked > 500
