"""Where the three clouds differ, and each in the manner it documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tallygate.errors import InsufficientCapacity, InvalidOrder, OutcomeUnknown
from tallygate.pricing.terms import PUBLISHED
from tallygate.providers.base import MachineState
from tallygate.simcloud.dialects import DIALECTS
from tallygate.simcloud.faults import ALWAYS
from tallygate.simcloud.timeline import HOUR, SECOND
from tallygate.simcloud.work import Work

LONG = Work(seconds=10**6)


def test_no_dialect_bills_more_than_the_published_terms_bound(dialect: str) -> None:
    cloud, terms = DIALECTS[dialect], PUBLISHED[dialect]
    assert terms.disk_gib_month is not None
    assert terms.public_address_hour is not None
    assert cloud.disk_nanos_gib_month <= terms.disk_gib_month.nanos
    assert cloud.address_nanos_hour <= terms.public_address_hour.nanos
    assert (cloud.terms.seconds_min, cloud.terms.seconds_step) == (terms.seconds_min, terms.seconds_step)


def test_every_end_takes_effect_within_the_kill_allowance(dialect: str) -> None:
    cloud = DIALECTS[dialect]
    limit = 0 if cloud.limit_lag is None else cloud.limit_lag[1]
    assert limit + cloud.end_lag[1] <= cloud.terms.kill_seconds
    assert cloud.kill_lag[1] <= cloud.terms.kill_seconds


# --- what makes a repeated create the same


def _end(scene: Any, machine: Any) -> None:
    scene.world.advance(60)
    scene.provider(machine.dialect.name).terminate(machine.id)
    scene.world.advance(200)
    assert machine.ended_at is not None


def test_amazon_answers_with_the_ended_machine_as_long_as_it_keeps_its_record(make_scene: Callable[..., Any]) -> None:
    scene = make_scene(1)
    order = scene.order("aws", work=LONG)
    machine = scene.world.machines[scene.provider("aws").launch(order).id]
    _end(scene, machine)
    again = scene.provider("aws").launch(order)
    assert (again.id, again.state) == (machine.id, MachineState.ENDED)
    scene.world.advance(2 * 3600)
    assert scene.provider("aws").launch(order).id != machine.id, "a token older than the record is a new token"


@pytest.mark.parametrize("dialect", ["azure"])
def test_a_name_is_free_again_once_its_machine_is_gone(make_scene: Callable[..., Any], dialect: str) -> None:
    scene = make_scene(1)
    order = scene.order(dialect, work=LONG)
    machine = scene.world.machines[scene.provider(dialect).launch(order).id]
    _end(scene, machine)
    assert scene.provider(dialect).launch(order).id != machine.id


def test_googles_name_is_free_again_too_but_an_end_in_the_past_is_not_accepted(make_scene: Callable[..., Any]) -> None:
    scene = make_scene(1)
    order = scene.order("gcp", work=LONG)
    machine = scene.world.machines[scene.provider("gcp").launch(order).id]
    _end(scene, machine)
    assert scene.provider("gcp").launch(order).id != machine.id
    scene.world.advance(2 * 3600)
    with pytest.raises(InvalidOrder, match="already passed"):
        scene.provider("gcp").launch(order)


@pytest.mark.parametrize(("dialect", "machines"), [("aws", 2), ("gcp", 2), ("azure", 1)])
def test_the_same_token_in_another_zone(make_scene: Callable[..., Any], dialect: str, machines: int) -> None:
    """Amazon's tokens and Google's names are zonal: the very mistake that our strictness forbids makes a second machine."""
    from dataclasses import replace

    scene = make_scene(1, strict=False)
    order = scene.order(dialect)
    scene.provider(dialect).launch(order)
    elsewhere = next(
        offer
        for offer in scene.provider(dialect).offers(scene.request())
        if offer.zone != order.offer.zone and offer.instance_type == order.offer.instance_type
    )
    build = scene.provider(dialect)._build(replace(order, offer=elsewhere))
    scene.world.cloud(dialect).create(build)
    assert len(scene.world.machines) == machines


def test_other_parameters_under_one_token_are_no_definite_refusal(make_scene: Callable[..., Any], dialect: str) -> None:
    from dataclasses import replace

    scene = make_scene(1, strict=False)
    order = scene.order(dialect)
    scene.provider(dialect).launch(order)
    with pytest.raises(OutcomeUnknown):
        scene.provider(dialect).launch(replace(order, run_seconds_max=60))
    assert len(scene.world.machines) == 1


# --- capacity, each in its own words and its own place


@pytest.mark.parametrize(
    ("dialect", "word", "at_least"),
    [
        ("aws", "InsufficientInstanceCapacity", 0),
        ("gcp", "ZONE_RESOURCE_POOL_EXHAUSTED", 4),
        ("azure", "AllocationFailed", 10),
    ],
)
def test_no_capacity_is_said_late_where_the_call_was_already_accepted(
    scene: Any, dialect: str, word: str, at_least: int
) -> None:
    order = scene.order(dialect)
    pool = scene.world.market.pool(dialect, order.offer.zone, order.offer.instance_type)
    pool.set_empty(scene.world.now, scene.world.now + HOUR)
    began = scene.world.now
    with pytest.raises(InsufficientCapacity, match=word):
        scene.provider(dialect).launch(order)
    assert scene.world.now - began >= at_least * SECOND


# --- ends


def test_a_late_create_at_google_comes_to_nothing_once_its_end_has_passed(scene: Any) -> None:
    scene.world.faults.set({"late_execution": ALWAYS})
    scene.world.faults.late_execution.seconds = (200, 300)
    with pytest.raises(OutcomeUnknown):
        scene.provider("gcp").launch(scene.order("gcp", seconds=100))
    scene.world.advance(1000)
    assert scene.world.machines == {}


@pytest.mark.parametrize("dialect", ["aws", "azure"])
def test_a_late_create_elsewhere_ends_itself_at_boot(scene: Any, dialect: str) -> None:
    scene.world.faults.set({"late_execution": ALWAYS})
    scene.world.faults.late_execution.seconds = (200, 300)
    with pytest.raises(OutcomeUnknown):
        scene.provider(dialect).launch(scene.order(dialect, seconds=100, work=LONG))
    scene.world.advance(1000)
    (machine,) = scene.world.machines.values()
    assert machine.end_cause == "expired"


def test_only_at_azure_a_stopped_machine_goes_on_billing_and_a_deallocated_one_does_not(
    make_scene: Callable[..., Any],
) -> None:
    for dialect in ("aws", "gcp", "azure"):
        scene = make_scene(1)
        scene.world.faults.set({"half_end": ALWAYS})
        machine = scene.launch(dialect, work=Work(seconds=60))
        scene.world.advance(1800)
        assert machine.meter is not None
        assert machine.state is MachineState.STOPPED
        assert (machine.meter.end is None) == (dialect == "azure")
    scene.world.faults.set({"lying_terminate": ALWAYS})
    scene.provider("azure").terminate(machine.id)
    scene.world.advance(200)
    assert machine.state is MachineState.STOPPED
    assert machine.meter is not None
    assert machine.meter.end is not None, "deallocated: its own time no longer bills"
    assert machine.sides[0].exists, "and it is not gone"


@pytest.mark.parametrize(("dialect", "seconds"), [("aws", 120), ("gcp", 30), ("azure", 30)])
def test_notice_is_as_long_as_the_cloud_says(scene: Any, dialect: str, seconds: int) -> None:
    machine = scene.launch(dialect, work=LONG)
    scene.world.advance(60)
    scene.world.take_back(machine, at=scene.world.now + 600 * SECOND)
    scene.world.advance(1800)
    assert machine.ended_at - machine.taken_at == seconds * SECOND


def test_resource_ids_look_like_the_clouds_own(make_scene: Callable[..., Any]) -> None:
    scene = make_scene(1)
    assert scene.launch("aws").id.startswith("i-")
    assert scene.launch("gcp").id.isdecimal()
    azure = scene.launch("azure")
    assert azure.id.startswith("/subscriptions/main/resourceGroups/")
    assert azure.id.endswith(azure.token)
    assert all(side.id.startswith("/subscriptions/main/resourceGroups/") for side in azure.sides)
