"""Virtual time, seeded randomness, the log."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tallygate.ids import new_id
from tallygate.simcloud.chance import Stream
from tallygate.simcloud.faults import Faults
from tallygate.simcloud.timeline import SECOND, Timeline
from tallygate.simcloud.world import SimulationViolation, World

ROOT = Path(__file__).resolve().parents[2]

BUSY_RUN = """
from tallygate.simcloud.world import World
from tallygate.simcloud.provider import sim_provider
from tallygate.simcloud.bills import SimBill
from tallygate.errors import ProviderError
from tallygate.money import Money
from tallygate.times import ALWAYS, text
from tallygate.providers.base import LaunchOrder
from datetime import timedelta
world = World({seed})
world.faults.swarm(world.stream("swarm"))
for dialect in ("aws", "gcp", "azure"):
    provider = sim_provider(world, dialect, install_id="x")
    for number in range(6):
        offer = list(world.market.offers(dialect, name=provider.name))[number * 2]
        not_after = world.instant() + timedelta(hours=2)
        token = f"tg-x-{{dialect}}{{number}}-1"
        tags = {{"tallygate-install": "x", "tallygate-job": f"{{dialect}}{{number}}", "tallygate-attempt": "1",
                "tallygate-token": token, "tallygate-not-after": text(not_after)}}
        order = LaunchOrder(token=token, offer=offer, price_max=offer.on_demand_price, tags=tags, agent_script="",
                            agent_document="", run_seconds_max=7200, not_after=not_after)
        try:
            provider.launch(order)
        except ProviderError as error:
            world.record("raised", error=type(error).__name__)
        world.record("listed", rows=len(provider.describe().launches))
        world.advance(300)
world.advance(3 * 86400)
bills = [repr(row) for d in ("aws", "gcp", "azure") for row in SimBill(world, d).charges(ALWAYS)]
world.record("billed", rows=len(bills), text=bills)
print(world.digest(), world.events_done, world.truth.total())
"""


def busy_run(seed: int, *, hash_seed: str) -> str:
    """What a busy world comes to, in a process of its own with its own order of hashing."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BUSY_RUN.format(seed=seed)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_same_seed_gives_the_same_bytes_whatever_the_order_of_hashing() -> None:
    assert busy_run(11, hash_seed="1") == busy_run(11, hash_seed="2")


def test_another_seed_gives_another_world() -> None:
    assert busy_run(11, hash_seed="1") != busy_run(12, hash_seed="1")


def test_events_come_in_the_order_of_their_instants_and_then_of_their_planning() -> None:
    world, came = World(1), []
    world.after(20, lambda: came.append("late"))
    world.after(10, lambda: came.append("first planned"))
    world.after(10, lambda: came.append("second planned"))
    world.advance(30)
    assert came == ["first planned", "second planned", "late"]


def test_every_event_sees_its_own_instant() -> None:
    world, seen = World(1), []
    start = world.instant()
    for seconds in (7, 3, 5):
        world.after(seconds, lambda: seen.append(world.clock.now() - start))
    world.advance(100)
    assert seen == [timedelta(seconds=3), timedelta(seconds=5), timedelta(seconds=7)]
    assert world.instant() == start + timedelta(seconds=100)


def test_a_cancelled_event_does_not_happen() -> None:
    world, came = World(1), []
    world.after(5, lambda: came.append("kept"))
    world.after(5, lambda: came.append("cancelled")).cancel()
    world.advance(10)
    assert came == ["kept"]
    assert world.next_at() is None


def test_an_event_planned_in_the_past_happens_now_and_never_moves_time_back() -> None:
    world, seen = World(1), []
    world.advance(60)
    world.at(world.instant() - timedelta(seconds=30), lambda: seen.append(world.now))
    now = world.now
    world.advance(1)
    assert seen == [now]


def test_an_event_may_wait_itself_and_others_go_on_meanwhile() -> None:
    world, came = World(1), []

    def waits() -> None:
        came.append("begins")
        world.clock.sleep(10)
        came.append("ends")

    world.after(1, waits)
    world.after(5, lambda: came.append("in between"))
    world.advance(2)
    assert came == ["begins", "in between", "ends"]
    assert world.now == world.start + 11 * SECOND


def test_a_wait_is_never_shorter_than_asked() -> None:
    world = World(1)
    world.clock.sleep(0.000_000_4)
    assert world.now == world.start + 1
    world.clock.sleep(0)
    assert world.now == world.start + 1


def test_milliseconds_are_whole_microseconds() -> None:
    world = World(1)
    for milliseconds in range(1, 1000):
        before = world.now
        world.clock.sleep(milliseconds / 1000)
        assert world.now - before == milliseconds * 1000


def test_checks_run_after_every_event() -> None:
    world, checked = World(1), []
    world.after_event.append(lambda: checked.append(world.now))
    for seconds in (1, 2):
        world.after(seconds, lambda: None)
    world.advance(5)
    assert checked == [world.start + SECOND, world.start + 2 * SECOND]


def test_a_clock_can_be_set_wrong_without_moving_the_world() -> None:
    world = World(1)
    wrong = world.new_clock()
    wrong.step(-3600)
    assert wrong.now() == world.clock.now() - timedelta(hours=1)
    wrong.sleep(5)
    assert world.instant() - wrong.now() == timedelta(hours=1)


def test_one_draw_more_in_one_stream_shifts_no_other() -> None:
    one, other = World(5), World(5)
    one.stream("a").word()
    assert one.stream("b").word() == other.stream("b").word()
    assert Stream(5, "a").word() != Stream(5, "b").word()
    assert Stream(5, "a").word() != Stream(6, "a").word()


def test_streams_stay_in_their_bounds_and_reach_them() -> None:
    stream = Stream(3, "bounds")
    assert {stream.between(-1, 1) for _ in range(100)} == {-1, 0, 1}
    assert {stream.below(3) for _ in range(100)} == {0, 1, 2}
    spread = [stream.spread(10, 1000) for _ in range(5000)]
    assert min(spread) < 15
    assert 900 < max(spread) <= 1000
    assert sum(each < 100 for each in spread) > 1500, "small values are as likely per doubling as large ones"
    assert 180 < sum(stream.chance(200_000) for _ in range(1000)) < 220
    assert len(stream.bytes(13)) == 13


def test_a_chance_is_the_same_draw_as_any_other() -> None:
    one, other = Stream(8, "draws"), Stream(8, "draws")
    assert [one.chance(400_000) for _ in range(200)] == [other.below(1_000_000) < 400_000 for _ in range(200)]


def test_a_stream_is_the_entropy_of_ids() -> None:
    one, other = World(4), World(4)
    assert new_id(one.clock, one.entropy("ids")) == new_id(other.clock, other.entropy("ids"))


def test_the_digest_depends_on_every_line_of_the_log() -> None:
    def told(*lines: str) -> str:
        timeline = Timeline(1)
        for line in lines:
            timeline.record(line)
        return timeline.digest()

    assert told("a", "b") == told("a", "b")
    assert len({told("a", "b"), told("b", "a"), told("a"), told("a", "b", "b")}) == 4


def test_a_violation_is_kept_even_when_somebody_swallows_it() -> None:
    world = World(1)
    with pytest.raises(SimulationViolation):
        raise world.violate("something impossible")
    assert world.violations == ["something impossible"]


# --- faults as such


def test_a_fault_that_is_off_never_strikes_and_one_that_is_certain_always_does() -> None:
    faults = World(1).faults
    assert not any(faults.lost_reply.strikes() for _ in range(100))
    faults.set({"lost_reply": 1_000_000})
    assert all(faults.lost_reply.strikes() for _ in range(100))
    assert faults.struck == {"lost_reply": 100}


def test_switching_one_fault_on_does_not_move_when_another_strikes() -> None:
    def strikes(**also: int) -> list[bool]:
        faults = World(9).faults
        faults.set({"partial_page": 300_000, **also})
        found = []
        for _ in range(50):
            faults.server_error.strikes()
            found.append(faults.partial_page.strikes())
        return found

    assert strikes() == strikes(server_error=500_000)


def test_asking_a_fault_that_is_off_does_not_move_when_it_will_strike() -> None:
    def strikes(asked_while_off: int) -> list[bool]:
        lost = World(9).faults.lost_reply
        for _ in range(asked_while_off):
            lost.strikes()
        lost.rate = 300_000
        return [lost.strikes() for _ in range(50)]

    assert strikes(0) == strikes(7)


def test_a_swarm_leaves_each_fault_off_in_a_quarter_of_the_runs_and_one_at_its_worst_in_half_of_them() -> None:
    off: dict[str, int] = {}
    beyond = 0
    for seed in range(400):
        world = World(seed)
        world.faults.swarm(world.stream("swarm"))
        worse = [fault.name for fault in world.faults if fault.rate > fault.rate_max]
        assert len(worse) <= 1
        beyond += len(worse)
        for fault in world.faults:
            assert 0 <= fault.rate < 1_000_000
            off[fault.name] = off.get(fault.name, 0) + (fault.rate == 0)
    assert set(off) == set(world.faults.names)
    assert all(60 <= count <= 140 for count in off.values()), off
    assert 100 <= beyond <= 220


def test_a_swarm_can_be_told_to_leave_faults_out() -> None:
    world = World(1)
    world.faults.swarm(world.stream("swarm"), without=frozenset({"crash"}))
    assert world.faults.crash.rate == 0


def test_trouble_that_lasts_is_over_after_its_time_and_healing_ends_it_at_once() -> None:
    world = World(2)
    outage = world.faults.outage
    outage.rate = 1_000_000
    assert outage.is_on()
    outage.rate = 0
    assert outage.is_on(), "it goes on although nothing new begins"
    world.advance(outage.seconds[1] + 1)
    assert not outage.is_on()
    outage.rate = 1_000_000
    assert outage.is_on()
    world.faults.heal()
    assert not outage.is_on()


def test_trouble_in_one_place_is_none_in_another() -> None:
    outage = World(2).faults.outage
    outage.rate = 1_000_000
    assert outage.is_on("aws/main")
    outage.rate = 0
    assert outage.is_on("aws/main")
    assert not outage.is_on("gcp/main")


def test_every_class_of_fault_that_the_plan_names_is_there() -> None:
    named = {
        *("lost_reply", "late_execution", "partial_page", "delayed_visibility", "throttling", "lying_terminate"),
        *("half_created", "expired_credentials", "clock_step", "pause", "crash", "disk_full", "database_locked"),
    }
    assert named <= set(Faults(Timeline(1)).names)
