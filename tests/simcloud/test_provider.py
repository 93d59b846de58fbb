"""The provider: the ordinary promises in all three manners, what it refuses that no cloud would, and every fault seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tallygate.errors import (
    CredentialsMissing,
    InsufficientCapacity,
    InvalidOrder,
    LaunchRefused,
    OutcomeUnknown,
    PermissionDenied,
    QuotaExceeded,
    Throttled,
    Unavailable,
)
from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption, matches, rank
from tallygate.providers.base import MachineState, Provider, SupportsCheckpointRequest, SupportsExtension
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.faults import ALWAYS
from tallygate.simcloud.market import Climate
from tallygate.simcloud.provider import sim_provider
from tallygate.simcloud.timeline import HOUR, SECOND
from tallygate.simcloud.work import Work
from tallygate.simcloud.world import SimulationViolation

LONG = Work(seconds=10**6)


def settled(scene: Any) -> None:
    """Past every usual delay of visibility."""
    scene.world.advance(60)


# --- the promises of every provider


def test_it_is_a_provider_with_terms_and_a_name(scene: Any, dialect: str) -> None:
    provider: Provider = scene.provider(dialect)
    assert provider.name == f"sim-{dialect}"
    assert 0 < provider.terms.kill_seconds <= 300
    assert provider.terms.has_price_ceiling == (dialect != "gcp")
    assert isinstance(provider, SupportsCheckpointRequest)
    assert isinstance(provider, SupportsExtension) == (dialect != "gcp")


def test_offers_can_be_matched_and_ranked_above_it(scene: Any, dialect: str) -> None:
    request = replace(scene.request(), vcpus_min=4, purchase_options=frozenset({PurchaseOption.SPOT}))
    ranked = rank(scene.provider(dialect).offers(request), request)
    assert ranked
    assert all(matches(offer, request) for offer in ranked)


def test_the_same_order_twice_makes_one_machine(scene: Any, dialect: str) -> None:
    order = scene.order(dialect)
    first, second = scene.provider(dialect).launch(order), scene.provider(dialect).launch(order)
    assert first.id == second.id
    assert len(scene.world.machines) == 1


def test_the_same_order_after_a_lost_reply_finds_the_machine_it_made(scene: Any, dialect: str) -> None:
    order = scene.order(dialect)
    scene.world.faults.set({"lost_reply": ALWAYS})
    with pytest.raises(OutcomeUnknown):
        scene.provider(dialect).launch(order)
    scene.world.faults.heal()
    launch = scene.provider(dialect).launch(order)
    assert list(scene.world.machines) == [launch.id]


def test_a_machine_carries_its_tags_and_its_token_from_the_beginning(scene: Any, dialect: str) -> None:
    order = scene.order(dialect, tags={"user-team": "maths"})
    launch = scene.provider(dialect).launch(order)
    assert launch.token == order.token
    assert dict(launch.tags) == dict(order.tags)
    assert launch.resource_ids[0] == launch.id
    assert len(set(launch.resource_ids)) == 4
    settled(scene)
    (shown,) = scene.provider(dialect).describe().launches
    assert dict(shown.tags) == dict(order.tags)


def test_a_listing_finds_everything_across_its_pages_and_once(scene: Any, dialect: str) -> None:
    made = {scene.launch(dialect, work=LONG).id for _ in range(3 * DIALECTS[dialect].page_size + 1)}
    settled(scene)
    before = scene.provider(dialect).calls["describe"]
    listing = scene.provider(dialect).describe()
    assert listing.complete
    assert listing.problem is None
    assert sorted(launch.id for launch in listing.launches) == sorted(made)
    assert scene.provider(dialect).calls["describe"] == before + 1


def test_a_listing_is_dated_by_the_clouds_own_clock_and_before_anything_was_looked_at(scene: Any, dialect: str) -> None:
    provider = sim_provider(scene.world, dialect, install_id="other")
    asked = scene.world.instant()
    assert provider.describe().began_at == asked
    assert scene.world.instant() > asked


def test_other_installations_and_other_accounts_are_not_shown(scene: Any, dialect: str) -> None:
    scene.launch(dialect)
    settled(scene)
    neighbour = sim_provider(scene.world, dialect, install_id="neighbour")
    elsewhere = sim_provider(scene.world, dialect, install_id="test0000", account="elsewhere")
    assert neighbour.describe().launches == ()
    assert elsewhere.describe().launches == ()
    (machine_id,) = scene.world.machines
    elsewhere.terminate(machine_id)
    assert scene.world.machines[machine_id].is_alive


def test_a_machine_found_by_its_id_is_shown_alone(scene: Any, dialect: str) -> None:
    first, _ = scene.launch(dialect), scene.launch(dialect)
    settled(scene)
    listing = scene.provider(dialect).describe([first.id, "never-existed"])
    assert listing.complete
    assert [launch.id for launch in listing.launches] == [first.id]


def test_terminate_ends_it_and_twice_is_quiet(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=LONG)
    settled(scene)
    provider = scene.provider(dialect)
    provider.terminate(machine.id)
    assert machine.state is MachineState.STOPPING
    provider.terminate(machine.id)
    scene.world.advance(200)
    assert machine.state is MachineState.ENDED
    ended_at = machine.ended_at
    provider.terminate(machine.id)
    provider.terminate("never-existed")
    assert machine.ended_at == ended_at
    assert machine.end_cause == "terminated"


def test_an_end_is_shown_with_its_moment_and_reason_as_long_as_the_cloud_remembers(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=LONG)
    settled(scene)
    scene.provider(dialect).terminate(machine.id)
    scene.world.advance(200)
    listed, asked = scene.provider(dialect).describe(), scene.provider(dialect).describe([machine.id])
    remembers = {"aws": (True, True), "gcp": (False, True), "azure": (False, False)}[dialect]
    assert (bool(listed.launches), bool(asked.launches)) == remembers
    for launch in (*listed.launches, *asked.launches):
        assert launch.state is MachineState.ENDED
        assert launch.ended_at is not None
        assert (launch.end_source, launch.end_reason) == ("provider", "a terminate call")
    scene.world.advance(15 * 86400)
    assert scene.provider(dialect).describe([machine.id]).launches == ()


def test_a_later_end_can_be_given_where_the_cloud_allows_it(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, work=LONG)
    provider = scene.provider(dialect)
    if not isinstance(provider, SupportsExtension):
        assert machine.limit_at is not None
        return
    settled(scene)
    later = scene.world.instant() + timedelta(hours=2)
    for _ in range(2):
        provider.extend(machine.id, not_after=later, run_seconds_max=7200)
    scene.world.run_until(later - timedelta(minutes=2))
    assert machine.is_alive
    scene.world.advance(600)
    assert not machine.is_alive
    with pytest.raises(Unavailable):
        provider.extend(machine.id, not_after=later, run_seconds_max=7200)


def test_a_checkpoint_can_be_asked_for(scene: Any, dialect: str) -> None:
    machine = scene.launch(dialect, job="asked", work=Work(seconds=3000, checkpoint_seconds=1000))
    scene.world.advance(500)
    assert scene.world.fleet.works["asked"].saved == 0
    scene.provider(dialect).request_checkpoint(machine.id)
    assert scene.world.fleet.works["asked"].saved > 400
    assert machine.is_alive


# --- stricter than any cloud


@pytest.mark.parametrize("tag", ["install", "job", "attempt", "token", "not-after"])
def test_a_create_without_one_of_our_tags_is_a_violation(scene: Any, dialect: str, tag: str) -> None:
    order = scene.order(dialect)
    tags = {key: value for key, value in order.tags.items() if key != f"tallygate-{tag}"}
    with pytest.raises(SimulationViolation, match=f"tallygate-{tag}"):
        scene.provider(dialect).launch(replace(order, tags=tags))
    assert scene.world.machines == {}
    assert scene.world.violations


@pytest.mark.parametrize(
    "change",
    [
        {"run_seconds_max": 3601},
        {"price_max": Money(123_456_000)},
        {"disk_gib": 7},
        {"agent_document": "{ }"},
        {"agent_script": "#!/bin/bash"},
    ],
)
def test_other_parameters_under_a_used_token_are_a_violation(
    scene: Any, dialect: str, change: dict[str, object]
) -> None:
    order = scene.order(dialect)
    scene.provider(dialect).launch(order)
    with pytest.raises(SimulationViolation, match="other parameters"):
        scene.provider(dialect).launch(replace(order, **change))


def test_the_same_token_in_another_zone_is_a_violation(scene: Any, dialect: str) -> None:
    order = scene.order(dialect)
    scene.provider(dialect).launch(order)
    elsewhere = next(
        offer
        for offer in scene.provider(dialect).offers(scene.request())
        if offer.zone != order.offer.zone and offer.purchase_option is order.offer.purchase_option
    )
    with pytest.raises(SimulationViolation, match="other parameters"):
        scene.provider(dialect).launch(replace(order, offer=elsewhere))


def test_a_create_tagged_with_another_token_is_a_violation(scene: Any, dialect: str) -> None:
    order = scene.order(dialect)
    with pytest.raises(SimulationViolation, match="another token"):
        scene.provider(dialect).launch(replace(order, token="tg-test0000-other-1"))


def test_a_create_needs_a_committed_intent_with_its_token(make_scene: Callable[..., Any], dialect: str) -> None:
    committed: set[str] = set()
    scene = make_scene(1, intents=committed.__contains__)
    order = scene.order(dialect)
    with pytest.raises(SimulationViolation, match="without a committed intent"):
        scene.provider(dialect).launch(order)
    committed.add(order.token)
    assert scene.provider(dialect).launch(order).token == order.token


@pytest.mark.parametrize("call", ["offers", "launch", "describe", "terminate", "request_checkpoint"])
def test_no_call_may_be_made_with_a_transaction_open(make_scene: Callable[..., Any], dialect: str, call: str) -> None:
    open_transactions: list[str] = ["yes"]
    scene = make_scene(1, in_transaction=lambda: bool(open_transactions))
    provider = scene.provider(dialect)
    calls: dict[str, Callable[[], object]] = {
        "offers": lambda: list(provider.offers(scene.request())),
        "launch": lambda: provider.launch(scene.order(dialect)),
        "describe": provider.describe,
        "terminate": lambda: provider.terminate("any"),
        "request_checkpoint": lambda: provider.request_checkpoint("any"),
    }
    with pytest.raises(SimulationViolation, match="a transaction is open"):
        calls[call]()
    open_transactions.clear()
    calls[call]()


# --- definite refusals


def test_an_empty_pool_refuses_and_nothing_is_made(scene: Any, dialect: str) -> None:
    order = scene.order(dialect)
    pool = scene.world.market.pool(dialect, order.offer.zone, order.offer.instance_type)
    pool.set_empty(scene.world.now, scene.world.now + HOUR)
    with pytest.raises(InsufficientCapacity):
        scene.provider(dialect).launch(order)
    assert scene.world.machines == {}
    assert scene.world.truth.total() == 0


def test_a_price_above_the_ceiling_refuses_where_there_is_a_ceiling(scene: Any, dialect: str) -> None:
    order = scene.order(dialect, price_max=Money(10_000))
    if DIALECTS[dialect].terms.has_price_ceiling:
        with pytest.raises(InvalidOrder):
            scene.provider(dialect).launch(order)
        assert scene.world.machines == {}
    else:
        assert scene.world.machines[scene.provider(dialect).launch(order).id].build.ceiling is None


def test_the_quota_refuses(make_scene: Callable[..., Any], dialect: str) -> None:
    scene = make_scene(1, climate=Climate(interrupt=0, empty=0, jump=0, quota_vcpus=5))
    scene.launch(dialect)
    scene.launch(dialect)
    with pytest.raises(QuotaExceeded):
        scene.launch(dialect)


def test_what_is_not_sold_is_an_invalid_order(scene: Any, dialect: str) -> None:
    order = scene.order(dialect)
    with pytest.raises(InvalidOrder):
        scene.provider(dialect).launch(replace(order, offer=replace(order.offer, instance_type="none.such")))


# --- every fault shows, and as what a real adapter would make of it


def with_fault(scene: Any, name: str) -> None:
    scene.world.faults.set({name: ALWAYS})


@pytest.mark.parametrize(
    ("fault", "error", "made"),
    [
        ("lost_request", OutcomeUnknown, {False}),
        ("outage", OutcomeUnknown, {False}),
        ("lost_reply", OutcomeUnknown, {True}),
        ("odd_body", OutcomeUnknown, {True}),
        ("server_error", OutcomeUnknown, {True, False}),
        ("late_execution", OutcomeUnknown, {True}),
        ("expired_credentials", PermissionDenied, {False}),
        ("half_created", InsufficientCapacity, {False}),
    ],
)
def test_a_create_that_goes_wrong_is_refused_only_when_certainly_nothing_was_made(
    make_scene: Callable[..., Any], dialect: str, fault: str, error: type[Exception], made: set[bool]
) -> None:
    seen = set()
    for seed in range(8):
        scene = make_scene(seed)
        with_fault(scene, fault)
        with pytest.raises(error) as raised:
            scene.provider(dialect).launch(scene.order(dialect))
        scene.world.advance(400)
        seen.add(bool(scene.world.machines))
        assert scene.world.faults.struck[fault] > 0
        if isinstance(raised.value, LaunchRefused):
            assert scene.world.machines == {}
    assert seen == made


def test_a_late_create_comes_minutes_after_its_caller_gave_up(make_scene: Callable[..., Any], dialect: str) -> None:
    delays = set()
    for seed in range(20):
        scene = make_scene(seed)
        with_fault(scene, "late_execution")
        asked = scene.world.now
        with pytest.raises(OutcomeUnknown):
            scene.provider(dialect).launch(scene.order(dialect))
        scene.world.advance(600)
        (machine,) = scene.world.machines.values()
        delays.add((machine.created_at - asked) // SECOND)
    assert max(delays) > 60


def test_a_create_that_stops_half_way_leaves_something_that_bills_and_is_listed(scene: Any, dialect: str) -> None:
    with_fault(scene, "half_created")
    order = scene.order(dialect)
    with pytest.raises(LaunchRefused):
        scene.provider(dialect).launch(order)
    scene.world.faults.heal()
    scene.world.advance(3600)
    (shown,) = scene.provider(dialect).describe().launches
    assert (shown.token, shown.state, shown.started_at) == (order.token, MachineState.STOPPED, None)
    spent = scene.world.truth.job(order.tags["tallygate-job"])
    assert spent > 0
    scene.provider(dialect).terminate(shown.id)
    spent = scene.world.truth.total()
    scene.world.advance(3600)
    assert scene.world.truth.total() == spent
    assert scene.provider(dialect).describe().launches == ()


def test_throttling_refuses_before_anything_is_done_and_passes(scene: Any, dialect: str) -> None:
    with_fault(scene, "throttling")
    scene.world.cloud(dialect).bucket.take(scene.world.now, storm=True)
    outcomes = []
    for _ in range(12):
        try:
            scene.launch(dialect)
            outcomes.append("made")
        except Throttled:
            outcomes.append("throttled")
    assert outcomes.count("throttled") > 1
    assert outcomes.count("made") == len(scene.world.machines) > 0
    with pytest.raises(Unavailable):
        for _ in range(5):
            scene.provider(dialect).terminate("any")
    assert not scene.provider(dialect).describe().complete
    scene.world.faults.heal()
    scene.world.advance(30)
    scene.launch(dialect)


def test_too_many_calls_at_once_are_throttled_without_any_fault(scene: Any, dialect: str) -> None:
    bucket = scene.world.cloud(dialect).bucket
    taken = sum(bucket.take(scene.world.now, storm=False) for _ in range(500))
    assert taken < 500
    assert not bucket.take(scene.world.now, storm=False)
    assert bucket.take(scene.world.now + SECOND, storm=False)


@pytest.mark.parametrize("fault", ["outage", "lost_request", "expired_credentials", "server_error", "partial_page"])
def test_a_listing_that_did_not_come_whole_says_so_and_never_raises(scene: Any, dialect: str, fault: str) -> None:
    scene.launch(dialect)
    settled(scene)
    with_fault(scene, fault)
    listing = scene.provider(dialect).describe()
    assert not listing.complete
    assert listing.problem


def test_a_partial_listing_shows_the_pages_before_the_one_that_failed(
    make_scene: Callable[..., Any], dialect: str
) -> None:
    shown = set()
    for seed in range(30):
        scene = make_scene(seed)
        for _ in range(2 * DIALECTS[dialect].page_size + 1):
            scene.launch(dialect, work=LONG)
        settled(scene)
        scene.world.faults.set({"partial_page": 400_000})
        listing = scene.provider(dialect).describe()
        assert listing.complete == (len(listing.launches) == len(scene.world.machines))
        shown.add(len(listing.launches))
    page = DIALECTS[dialect].page_size
    assert shown == {0, page, 2 * page, 2 * page + 1}


def test_a_new_machine_may_be_missing_from_listings_for_minutes(make_scene: Callable[..., Any], dialect: str) -> None:
    hidden = 0
    for seed in range(20):
        scene = make_scene(seed)
        with_fault(scene, "delayed_visibility")
        machine = scene.launch(dialect, work=LONG)
        scene.world.advance(45)
        listing = scene.provider(dialect).describe()
        assert listing.complete, "nothing tells the caller"
        if not listing.launches:
            hidden += 1
            assert scene.provider(dialect).describe([machine.id]).launches == ()
            with pytest.raises(Unavailable):
                scene.provider(dialect).terminate(machine.id)
            assert machine.is_alive
        scene.world.advance(700)
        assert len(scene.provider(dialect).describe().launches) == 1
    assert hidden > 8


def test_a_row_may_come_twice_and_a_state_may_be_unheard_of(scene: Any, dialect: str) -> None:
    scene.launch(dialect, work=LONG)
    settled(scene)
    scene.world.faults.set({"repeated_row": ALWAYS, "unrecognised_state": ALWAYS})
    rows = scene.provider(dialect).describe().launches
    assert len(rows) == 2
    assert {row.state for row in rows} == {MachineState.UNRECOGNISED}


def test_a_terminate_may_be_taken_and_not_carried_out(make_scene: Callable[..., Any], dialect: str) -> None:
    scene = make_scene(1)
    machine = scene.launch(dialect, work=LONG)
    settled(scene)
    with_fault(scene, "lying_terminate")
    scene.provider(dialect).terminate(machine.id)
    scene.world.advance(200)
    assert machine.state is not MachineState.ENDED
    if dialect == "azure":
        assert machine.state is MachineState.STOPPED, "it deallocated instead"
        assert not machine.is_alive
    assert machine.bills
    scene.world.faults.heal()
    scene.provider(dialect).terminate(machine.id)
    scene.world.advance(200)
    assert machine.state is MachineState.ENDED
    assert not machine.bills


@pytest.mark.parametrize("fault", ["denied_terminate", "lost_request", "outage", "lost_reply", "server_error"])
def test_a_terminate_that_fails_says_so(scene: Any, dialect: str, fault: str) -> None:
    machine = scene.launch(dialect, work=LONG)
    settled(scene)
    with_fault(scene, fault)
    with pytest.raises(Unavailable):
        scene.provider(dialect).terminate(machine.id)
    assert (machine.state is MachineState.RUNNING) == (fault != "lost_reply")


def test_expired_credentials_stop_every_call_for_a_while(scene: Any, dialect: str) -> None:
    with_fault(scene, "expired_credentials")
    with pytest.raises(CredentialsMissing):
        scene.provider(dialect).offers(scene.request())
    scene.world.faults.set({"expired_credentials": 0})
    with pytest.raises(PermissionDenied):
        scene.launch(dialect)
    scene.world.advance(1801)
    scene.launch(dialect)


def test_a_slow_call_takes_longer_than_a_lease_may_last(make_scene: Callable[..., Any], dialect: str) -> None:
    took = []
    for seed in range(10):
        scene = make_scene(seed)
        with_fault(scene, "slow_call")
        began = scene.world.now
        scene.launch(dialect)
        took.append((scene.world.now - began) // SECOND)
    assert max(took) > 60


def test_a_caller_that_dies_while_waiting_changes_nothing_that_was_done(
    make_scene: Callable[..., Any], dialect: str
) -> None:
    """Death before the request leaves no machine, death after it leaves exactly one; nothing is undone or done twice."""

    class Died(BaseException):
        pass

    for waits, machines in ((1, 0), (2, 1)):
        left = [waits]
        scene = make_scene(1)

        def waiting(seconds: float, left: list[int] = left, scene: Any = scene) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Died
            scene.world.advance(seconds)

        provider = sim_provider(scene.world, dialect, install_id="test0000", waiting=waiting)
        order = scene.order(dialect)
        with pytest.raises(Died):
            provider.launch(order)
        assert len(scene.world.machines) == machines
        scene.provider(dialect).launch(order)
        assert len(scene.world.machines) == 1


def test_a_report_may_be_lost_and_a_job_may_hang(scene: Any, dialect: str) -> None:
    scene.world.faults.set({"lost_report": ALWAYS})
    scene.launch(dialect, job="mute", work=Work(seconds=100))
    scene.world.advance(600)
    scene.world.faults.set({"lost_report": 0, "hung_job": ALWAYS})
    hung = scene.launch(dialect, job="hung")
    scene.world.advance(2 * 3600)
    assert ("mute", 1) not in scene.world.fleet.said
    assert hung.end_cause == "deadline"
    assert scene.world.fleet.said["hung", 1].reason == "deadline"


def test_healing_ends_all_trouble(scene: Any, dialect: str) -> None:
    scene.world.faults.set({fault.name: ALWAYS for fault in scene.world.faults})
    with pytest.raises(OutcomeUnknown):
        scene.launch(dialect)
    scene.world.faults.heal()
    scene.launch(dialect)
    settled(scene)
    assert scene.provider(dialect).describe().complete
