"""What every provider of machines must do. A test module inherits ``ProviderContract`` and offers the fixture ``desk``."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest

from tallygate.errors import LaunchRefused, OutcomeUnknown
from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption, ResourceRequest, matches
from tallygate.providers.base import AGENT_TAGS, Launch, LaunchOrder, MachineState, Provider

CALL_SECONDS_MAX = 30
"""No call may take longer, whatever happens on the other side."""


class Desk(Protocol):
    """Where machines are ordered: a provider, and the means to see what it really did."""

    provider: Provider
    other_installation: Provider

    def order(self, command: str = "sleep 60", *, seconds: int = 20, not_after: datetime | None = None) -> LaunchOrder:
        """An order with a fresh token."""
        ...

    def alive(self, token: str) -> int:
        """How many machines of this token really run now, whatever the provider says."""
        ...

    def launch_from_a_process_that_dies(self, order: LaunchOrder) -> None:
        """Launch, and kill the launching process before it can see the answer."""
        ...


def until(condition: Callable[[], bool], what: str, *, seconds: float = CALL_SECONDS_MAX) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def shown(desk: Desk, order: LaunchOrder) -> Launch | None:
    """The order's machine as the provider's full listing shows it."""
    listing = desk.provider.describe()
    assert listing.complete, listing.problem
    found = listing.by_token().get(order.token, [])
    assert len(found) <= 1
    return found[0] if found else None


def ended(desk: Desk, order: LaunchOrder, *, seconds: float = CALL_SECONDS_MAX) -> Launch:
    """The order's machine once it has ended."""
    found: list[Launch] = []

    def over() -> bool:
        launch = shown(desk, order)
        found[:] = [launch] if launch is not None and launch.state is MachineState.ENDED else []
        return bool(found)

    until(over, "the machine's end", seconds=seconds)
    return found[0]


def runs_once(desk: Desk, order: LaunchOrder) -> None:
    """Exactly one machine of this order runs, also a little later."""
    until(lambda: desk.alive(order.token) > 0, "the machine")
    time.sleep(0.2)
    assert desk.alive(order.token) == 1


class ProviderContract:
    """Promises of a provider. Its name in the registry is ``provider_name``."""

    provider_name: str

    # --- offers

    def test_every_offer_has_a_price_a_moment_and_a_source(self, desk: Desk) -> None:
        offers = list(desk.provider.offers(ResourceRequest()))
        assert offers
        for offer in offers:
            assert offer.provider == desk.provider.name == self.provider_name
            assert offer.hourly_price > Money.zero(offer.hourly_price.currency)
            assert offer.priced_at.tzinfo is not None
            assert offer.price_source
            assert offer.vcpus >= 1
            assert offer.memory_gib > 0
        places = [(each.region, each.zone, each.instance_type, each.purchase_option) for each in offers]
        assert len(set(places)) == len(places)

    @pytest.mark.parametrize(
        "request_",
        [
            ResourceRequest(vcpus_min=2),
            ResourceRequest(vcpus_max=1),
            ResourceRequest(memory_gib_min=Decimal(1)),
            ResourceRequest(purchase_options=frozenset({PurchaseOption.ON_DEMAND})),
        ],
    )
    def test_a_request_loses_no_offer_that_matches_it(self, desk: Desk, request_: ResourceRequest) -> None:
        everything = list(desk.provider.offers(ResourceRequest()))
        names = {offer.instance_type for offer in desk.provider.offers(request_) if matches(offer, request_)}
        assert names == {offer.instance_type for offer in everything if matches(offer, request_)}

    def test_its_terms_name_a_source(self, desk: Desk) -> None:
        assert desk.provider.terms.source
        assert desk.provider.terms.kill_seconds > 0
        assert desk.provider.terms.seconds_step >= 1

    # --- launching

    def test_a_launched_machine_runs_and_carries_its_tags_from_the_start(self, desk: Desk) -> None:
        order = desk.order()
        launch = desk.provider.launch(order)
        found = shown(desk, order)
        assert found is not None
        assert found.id == launch.id
        assert found.token == order.token
        assert found.state in (MachineState.PENDING, MachineState.RUNNING)
        assert set(AGENT_TAGS) <= set(found.tags)
        assert found.tags.items() >= order.tags.items()
        assert (found.ended_at, found.end_source) == (None, None)
        assert found.launched_at <= datetime.now(UTC)
        runs_once(desk, order)

    def test_the_same_token_is_the_same_machine(self, desk: Desk) -> None:
        order = desk.order()
        first = desk.provider.launch(order)
        second = desk.provider.launch(order)
        assert second.id == first.id
        runs_once(desk, order)

    def test_the_same_token_from_eight_launchers_at_once_is_one_machine(self, desk: Desk) -> None:
        order = desk.order()
        with ThreadPoolExecutor(8) as pool:
            ids = {launch.id for launch in pool.map(desk.provider.launch, [order] * 8)}
        assert len(ids) == 1
        runs_once(desk, order)

    def test_after_a_lost_reply_the_token_finds_its_machine(self, desk: Desk) -> None:
        order = desk.order()
        desk.launch_from_a_process_that_dies(order)
        runs_once(desk, order)
        assert shown(desk, order) is not None
        desk.provider.launch(order)
        runs_once(desk, order)

    def test_a_token_of_a_machine_that_has_ended_starts_no_other(self, desk: Desk) -> None:
        order = desk.order("exit 0")
        first = desk.provider.launch(order)
        ended(desk, order)
        again = desk.provider.launch(order)
        assert (again.id, again.state) == (first.id, MachineState.ENDED)
        assert desk.alive(order.token) == 0

    def test_a_token_with_a_different_order_is_an_alarm_and_not_a_refusal(self, desk: Desk) -> None:
        order = desk.order()
        desk.provider.launch(order)
        with pytest.raises(OutcomeUnknown, match="token"):
            desk.provider.launch(replace(order, run_seconds_max=order.run_seconds_max + 1))
        runs_once(desk, order)

    def test_an_order_whose_time_has_passed_is_refused_and_makes_nothing(self, desk: Desk) -> None:
        order = desk.order(not_after=datetime.now(UTC) - timedelta(seconds=1))
        with pytest.raises(LaunchRefused):
            desk.provider.launch(order)
        assert shown(desk, order) is None
        assert desk.alive(order.token) == 0

    def test_an_unknown_type_of_machine_is_refused_and_makes_nothing(self, desk: Desk) -> None:
        order = desk.order()
        order = replace(order, offer=replace(order.offer, instance_type="no-such-machine"))
        with pytest.raises(LaunchRefused):
            desk.provider.launch(order)
        assert shown(desk, order) is None

    # --- looking

    def test_only_machines_of_our_own_installation_are_shown(self, desk: Desk) -> None:
        order = desk.order()
        launch = desk.provider.launch(order)
        for listing in (desk.other_installation.describe(), desk.other_installation.describe([launch.id])):
            assert listing.complete
            assert listing.launches == ()

    def test_a_machine_is_found_by_its_id(self, desk: Desk) -> None:
        first, second = desk.order(), desk.order()
        launch = desk.provider.launch(first)
        desk.provider.launch(second)
        listing = desk.provider.describe([launch.id, "tg-nobody-knows-this-1"])
        assert listing.complete
        assert [each.id for each in listing.launches] == [launch.id]

    def test_with_nothing_there_a_listing_is_complete_and_empty(self, desk: Desk) -> None:
        before = datetime.now(UTC)
        listing = desk.provider.describe()
        assert (listing.complete, listing.launches, listing.problem) == (True, (), None)
        assert before <= listing.began_at <= datetime.now(UTC)

    # --- the end

    def test_a_command_that_ends_ends_its_machine(self, desk: Desk) -> None:
        order = desk.order("exit 7")
        desk.provider.launch(order)
        launch = ended(desk, order)
        assert (launch.exit_status, launch.end_reason) == (7, "finished")
        assert launch.end_source
        assert launch.started_at is not None
        assert launch.ended_at is not None
        assert launch.launched_at <= launch.started_at <= launch.ended_at
        assert desk.alive(order.token) == 0

    def test_terminate_ends_a_machine_and_the_listing_says_so(self, desk: Desk) -> None:
        order = desk.order("sleep 600", seconds=600)
        launch = desk.provider.launch(order)
        began = time.monotonic()
        desk.provider.terminate(launch.id)
        assert time.monotonic() - began < CALL_SECONDS_MAX
        found = ended(desk, order)
        assert found.end_source
        assert found.end_reason == "stopped"
        assert found.ended_at is not None
        assert desk.alive(order.token) == 0

    def test_terminate_twice_and_terminate_what_never_was_are_quiet(self, desk: Desk) -> None:
        order = desk.order("sleep 600", seconds=600)
        launch = desk.provider.launch(order)
        desk.provider.terminate(launch.id)
        desk.provider.terminate(launch.id)
        ended(desk, order)
        desk.provider.terminate(launch.id)
        desk.provider.terminate("tg-nobody-knows-this-1")

    def test_another_installation_cannot_end_our_machine(self, desk: Desk) -> None:
        order = desk.order()
        launch = desk.provider.launch(order)
        desk.other_installation.terminate(launch.id)
        time.sleep(0.5)
        runs_once(desk, order)

    @pytest.mark.parametrize("bound", ["running time", "absolute end"])
    def test_a_machine_ends_by_itself_with_its_launcher_dead(self, desk: Desk, bound: str) -> None:
        """Whoever asked for it is killed at once. The job would run for ever, and does not heed requests to stop."""
        began = time.monotonic()
        if bound == "running time":
            order = desk.order("trap '' TERM; while :; do sleep 1; done", seconds=3)
        else:
            end = datetime.now(UTC) + timedelta(seconds=3)
            order = desk.order("trap '' TERM; while :; do sleep 1; done", seconds=600, not_after=end)
        desk.launch_from_a_process_that_dies(order)
        until(lambda: desk.alive(order.token) == 1, "the machine")
        until(lambda: desk.alive(order.token) == 0, "its end", seconds=3 + desk.provider.terms.kill_seconds)
        assert time.monotonic() - began < CALL_SECONDS_MAX
        launch = ended(desk, order)
        assert launch.end_reason == "deadline"
        assert launch.ended_at is not None
        lived = (launch.ended_at - launch.launched_at).total_seconds()
        assert 0 < lived <= 3 + desk.provider.terms.kill_seconds
        assert launch.ended_at <= order.not_after + timedelta(seconds=desk.provider.terms.kill_seconds)
