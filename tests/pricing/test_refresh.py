"""A refresh publishes whole markets, names those that failed, wastes nothing that is fresh, and can be ended at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tallygate.errors import CredentialsMissing, Unavailable, UnknownProvider, UsageError
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest, rank
from tallygate.pricing.refresh import MAX_AGE, MarketReport, Moves, Outcome, Report, Wanted, refresh, told
from tallygate.pricing.source import PriceSource, Sheet
from tallygate.simcloud.market import CALM
from tallygate.simcloud.timeline import microseconds
from tallygate.store.price_history import PriceHistory
from tallygate.times import Period

from .markets import Between, Gate, MemoryCatalog, Stall

US, EU = "us-east-1", "eu-west-1"


class Room:
    """A stall, a catalogue in memory, a history on disk, and refreshing without ceremony."""

    def __init__(self, folder: Path, stall: Stall) -> None:
        self.stall = stall
        self.catalog = MemoryCatalog()
        self.history = PriceHistory.open(str(folder / "history.db"))
        self.said: list[str] = []

    def refresh(self, *sources: PriceSource, stop: Any = lambda: False, **wanted: Any) -> Report:
        return refresh(
            sources or (self.stall.source(),),
            self.catalog,
            self.history,
            wanted=Wanted(**wanted),
            clock=self.stall.clock,
            say=self.said.append,
            stop=stop,
        )


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path, Stall())
    yield made
    made.history.close()


def outcomes(report: Report) -> dict[str, str]:
    return {str(each): each.outcome.value for each in report.markets}


def one(report: Report, region: str) -> MarketReport:
    (found,) = [each for each in report.markets if each.region == region]
    return found


def fail_in(region: str, error: Exception) -> Any:
    def before(asked: str) -> None:
        if asked == region:
            raise error

    return before


# --- what is read


def test_every_market_of_every_source_is_published_and_observed(room: Room) -> None:
    report = room.refresh(*map(room.stall.source, ("aws", "gcp", "azure")))
    assert set(outcomes(report).values()) == {"read"}
    assert len(report.markets) == 6
    assert report.exit_code == 0
    assert report.version == room.catalog.version()
    assert sum(each.offers for each in report.markets) == len(room.history.as_of(room.stall.clock.now()))
    assert len(room.said) == 6
    assert room.said[-1].startswith("6/6 sim-")


def test_what_is_fresh_is_not_read_again_unless_forced(room: Room) -> None:
    source = Between(room.stall.source())
    room.refresh(source)
    room.stall.timeline.advance(MAX_AGE.total_seconds())
    assert outcomes(room.refresh(source)) == {f"sim-aws {EU}": "fresh", f"sim-aws {US}": "fresh"}
    room.stall.timeline.advance(1)
    assert set(outcomes(room.refresh(source)).values()) == {"read"}
    assert set(outcomes(room.refresh(source, max_age=None)).values()) == {"read"}
    assert len(source.reads) == 6


def test_an_imported_list_is_never_fresh_and_its_size_is_no_measure(room: Room) -> None:
    sheet = room.stall.source().read(US)
    listed = [replace(offer, is_reference=True) for offer in sheet.offers]
    more = [replace(offer, instance_type=f"{offer.instance_type}-{n}") for offer in listed for n in range(3)]
    room.catalog.publish([replace(sheet, offers=tuple(more))])
    report = room.refresh()
    assert (one(report, US).outcome, one(report, US).offers) == (Outcome.READ, 24)


def test_a_list_imported_over_a_market_does_not_make_it_fresh(room: Room) -> None:
    room.refresh()
    room.stall.timeline.advance(7200)
    sheet = room.stall.source().read(US)
    room.catalog.publish([replace(sheet, offers=tuple(replace(each, is_reference=True) for each in sheet.offers))])
    assert one(room.refresh(region=US), US).outcome is Outcome.READ


def test_only_what_is_asked_for_is_read(room: Room) -> None:
    sources = [room.stall.source(each) for each in ("aws", "gcp")]
    report = room.refresh(*sources, providers=frozenset({"sim-aws"}), region=EU)
    assert outcomes(report) == {f"sim-aws {EU}": "read"}
    with pytest.raises(UnknownProvider, match="oracle") as error:
        room.refresh(*sources, providers=frozenset({"oracle"}))
    assert "sim-aws, sim-gcp" in error.value.cure
    with pytest.raises(UsageError, match="No price source is set up"):
        refresh(
            (),
            room.catalog,
            room.history,
            wanted=Wanted(),
            clock=room.stall.clock,
            say=room.said.append,
            stop=lambda: False,
        )


def test_a_region_that_does_not_exist_is_named_with_what_was_meant(room: Room) -> None:
    report = room.refresh(region="us-east-2")
    (found,) = report.markets
    assert (found.outcome, found.reason) == (Outcome.FAILED, "sim-aws has no region 'us-east-2'")
    assert US in found.cure
    assert report.exit_code == 3


def test_changes_of_price_are_counted(room: Room) -> None:
    assert one(room.refresh(back_fill=False), US).moves == Moves(appeared=24)
    room.stall.timeline.advance(48 * 3600)
    moves = one(room.refresh(), US).moves
    assert moves is not None
    assert (moves.up > 0, moves.down > 0, moves.appeared, moves.gone) == (True, True, 0, 0)
    assert moves.up + moves.down <= 12  # three zones of four types; on-demand prices stand


# --- what fails


def test_a_market_that_fails_is_named_with_its_reason_and_keeps_its_old_part(room: Room) -> None:
    room.refresh()
    old = room.catalog.by_market["sim-aws", US]
    room.stall.timeline.advance(7200)
    broken = Between(room.stall.source(), before=fail_in(US, Unavailable("us-east-1 answers HTML", cure="Wait")))
    report = room.refresh(broken, room.stall.source("gcp"))
    failed = one(report, US)
    assert (failed.outcome, failed.reason, failed.cure) == (Outcome.FAILED, "us-east-1 answers HTML", "Wait")
    assert failed.old_read_at == old.read_at
    assert room.catalog.by_market["sim-aws", US] == old
    assert [each.outcome for each in report.markets].count(Outcome.READ) == 3
    assert report.exit_code == 3
    assert any("us-east-1: failed: us-east-1 answers HTML" in line for line in room.said)


class Locked(Between):
    """A cloud without an account."""

    def regions(self) -> Any:
        raise CredentialsMissing("no key for sim-gcp")


def test_a_source_that_cannot_even_list_its_regions_is_named_and_the_others_go_on(room: Room) -> None:
    class Broken(Between):
        def regions(self) -> Any:
            raise Unavailable("sim-gcp does not answer")

    report = room.refresh(Broken(room.stall.source("gcp")), room.stall.source())
    assert outcomes(report) == {"sim-gcp": "failed", f"sim-aws {EU}": "read", f"sim-aws {US}": "read"}
    assert report.exit_code == 3


def test_a_cloud_without_an_account_has_not_failed_unless_it_was_asked_for(room: Room) -> None:
    report = room.refresh(Locked(room.stall.source("gcp")), room.stall.source())
    assert outcomes(report) == {"sim-gcp": "not set up", f"sim-aws {EU}": "read", f"sim-aws {US}": "read"}
    assert report.exit_code == 0
    named = room.refresh(Locked(room.stall.source("gcp")), providers=frozenset({"sim-gcp"}))
    assert outcomes(named) == {"sim-gcp": "failed"}
    assert named.exit_code == 3
    alone = room.refresh(Locked(room.stall.source("gcp")))
    assert (outcomes(alone), alone.exit_code) == ({"sim-gcp": "not set up"}, 3)


def test_unfit_rows_are_left_out_and_counted_by_reason(room: Room) -> None:
    def spoil(sheet: Sheet) -> Sheet:
        free = replace(sheet.offers[0], hourly_price=Money.zero())
        return replace(sheet, offers=(free, *sheet.offers[1:]), refused={"unit is unknown": 2})

    report = room.refresh(Between(room.stall.source(), after=spoil))
    found = one(report, US)
    assert dict(found.refused) == {"price is zero": 1, "unit is unknown": 2}
    assert found.offers == len(room.catalog.by_market["sim-aws", US].offers) == 23


def test_a_market_that_halved_is_kept_aside_until_that_is_accepted(room: Room) -> None:
    room.refresh()
    room.stall.timeline.advance(7200)
    small = Between(room.stall.source(), after=lambda sheet: replace(sheet, offers=sheet.offers[:3]))
    report = room.refresh(small)
    assert outcomes(report) == {f"sim-aws {EU}": "failed", f"sim-aws {US}": "failed"}
    assert "market halved (3 offers fit and 0 not, 24 before)" in one(report, US).reason
    assert "--accept-smaller" in one(report, US).cure
    assert len(room.history.as_of(room.stall.clock.now())) == 40  # nothing was taken for gone
    assert room.refresh(small, accept_smaller=True).exit_code == 0


def test_a_sheet_of_another_market_than_asked_for_is_refused(room: Room) -> None:
    swapped = Between(room.stall.source(), after=lambda sheet: replace(sheet, region=EU))
    report = room.refresh(swapped, region=US)
    assert "answered with the prices of sim-aws eu-west-1" in one(report, US).reason
    assert room.catalog.by_market == {}


def test_a_bug_in_a_source_is_raised_after_the_others_are_published(room: Room) -> None:
    buggy = Between(room.stall.source(), before=fail_in(US, KeyError("prices")))
    with pytest.raises(KeyError):
        room.refresh(buggy, room.stall.source("gcp"))
    assert len(room.catalog.by_market) == 3


# --- side by side


def test_reads_of_a_source_overlap_and_are_bounded(room: Room) -> None:
    class Wide(Between):
        def regions(self) -> Any:
            return [US, EU, *[f"{US}-{number}" for number in range(10)]]

    together = Event()
    source: Wide

    def meet(region: str) -> None:
        if source.busy >= 3:
            together.set()
        assert together.wait(20)

    source = Wide(room.stall.source(), before=meet)
    report = room.refresh(source, threads_per_source=3)
    assert source.busiest == 3
    assert len(report.markets) == 12


def test_a_slow_source_keeps_no_other_waiting(room: Room) -> None:
    gate = Gate(US)
    slow = Between(room.stall.source(), before=gate)

    def say(line: str) -> None:
        room.said.append(line)
        if sum("sim-gcp" in each for each in room.said) == 2:
            gate.open.set()  # only now does the slow one answer

    report = refresh(
        (slow, room.stall.source("gcp")),
        room.catalog,
        room.history,
        wanted=Wanted(threads_per_source=1),
        clock=room.stall.clock,
        say=say,
        stop=lambda: False,
    )
    assert set(outcomes(report).values()) == {"read"}


def test_what_is_finished_is_published_on_the_way_so_that_a_kill_loses_little(room: Room) -> None:
    source = Between(room.stall.source(), before=lambda region: room.stall.clock.step(11))
    room.refresh(source, threads_per_source=1)
    assert len(room.catalog.published) == 2


# --- ended early


def test_a_stop_publishes_what_is_whole_and_the_next_refresh_goes_on_there(room: Room) -> None:
    gate = Gate(US)
    source = Between(room.stall.source(), before=gate)

    def stop() -> bool:
        return gate.reached.is_set() and bool(room.said)

    # Two threads: one hangs in us-east-1 while the other brings eu-west-1.
    report = room.refresh(source, stop=stop, threads_per_source=2)
    gate.open.set()
    assert report.interrupted
    assert outcomes(report) == {f"sim-aws {EU}": "read", f"sim-aws {US}": "not reached"}
    assert list(room.catalog.by_market) == [("sim-aws", EU)]
    again = Between(room.stall.source())
    assert outcomes(room.refresh(again)) == {f"sim-aws {EU}": "fresh", f"sim-aws {US}": "read"}
    assert again.reads == [US]


def test_what_was_read_in_full_when_the_stop_came_is_kept(room: Room) -> None:
    def stop() -> bool:
        for thread in threading.enumerate():
            if thread.name == "prices sim-aws":
                thread.join(20)  # its answers wait in the queue, and nobody has taken one yet
        return True

    report = room.refresh(stop=stop, back_fill=False)
    assert not report.interrupted
    assert set(outcomes(report).values()) == {"read"}


def test_control_c_in_the_middle_publishes_what_is_whole(room: Room) -> None:
    def interrupt() -> bool:
        if room.said:
            raise KeyboardInterrupt
        return False

    gate = Gate(US)
    with pytest.raises(KeyboardInterrupt):
        room.refresh(Between(room.stall.source(), before=gate), stop=interrupt)
    gate.open.set()
    assert list(room.catalog.by_market) == [("sim-aws", EU)]


# --- history


def test_the_first_refresh_brings_the_past_and_the_next_does_not(room: Room) -> None:
    source = Between(room.stall.source())
    first = room.refresh(source)
    assert all(each.moves is not None and each.moves.past > 50 for each in first.markets)
    room.stall.timeline.advance(7200)
    room.refresh(source)
    assert len(source.history_since) == 2
    now = room.stall.clock.now()
    window = Period(now - timedelta(days=7), now)
    for path in room.history.paths("r5.4xlarge", window, purchase_option=PurchaseOption.SPOT):
        pool = room.stall.market.pool("aws", path.pool.zone, "r5.4xlarge")
        assert pool is not None
        for hour in range(7 * 24 - 2):
            at = window.start + timedelta(hours=hour, microseconds=1)
            assert path.price_at(at) == Money(pool.price_at(microseconds(at)))


def test_a_long_past_is_told_on_the_way(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallygate.pricing.refresh.TELL_PAST_EVERY", 100)
    room.refresh(region=US)
    assert room.said[0].startswith("sim-aws us-east-1: ")
    assert room.said[0].endswith(" past prices so far")


def test_no_past_is_asked_for_when_not_wanted_and_gaps_are_filled_when_it_is(room: Room) -> None:
    source = Between(room.stall.source())
    room.refresh(source, back_fill=False)
    first = room.stall.clock.now()
    assert source.history_since == []
    room.stall.timeline.advance(5 * 24 * 3600)
    assert (
        room.history.paths("r5.4xlarge", Period(first, room.stall.clock.now()))[0].price_at(first + timedelta(days=3))
        is None
    )
    room.refresh(source, back_fill=True)
    assert source.history_since == [first, first]
    spot = room.history.paths("r5.4xlarge", Period(first, room.stall.clock.now()), purchase_option=PurchaseOption.SPOT)
    assert all(span.price is not None for path in spot for span in path.spans)


def test_todays_prices_stay_when_the_past_cannot_be_read(room: Room) -> None:
    class Forgetful(Between):
        def _history(self, region: str, *, since: Any) -> Any:
            yield from list(super()._history(region, since=since))[:7]
            raise Unavailable("page 2 of the history never came")

    report = room.refresh(Forgetful(room.stall.source()))
    assert report.exit_code == 0
    found = one(report, US)
    assert found.notes == ("past prices could not be read: page 2 of the history never came",)
    assert found.moves is not None
    assert (found.moves.past, found.moves.appeared) == (0, 24)


def test_past_prices_of_a_market_that_failed_are_not_taken_for_those_of_the_next_try(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallygate.pricing.reading._CHUNK", 10)

    class Confused(Between):
        def _history(self, region: str, *, since: Any) -> Any:
            for each in super()._history(region, since=since):
                yield replace(each, hourly_price=Money.of("1999"))
            raise KeyError("NextToken")

    with pytest.raises(KeyError):
        room.refresh(Confused(room.stall.source()), region=US)
    room.refresh(region=US)
    now = room.stall.clock.now()
    paths = room.history.paths("r5.4xlarge", Period(now - timedelta(days=7), now))
    assert paths
    assert max(span.price for path in paths for span in path.spans if span.price is not None) < Money.of("10")


def test_a_source_without_a_past_is_refreshed_without_one(room: Room) -> None:
    report = room.refresh(Between(room.stall.source(), tells=False))
    assert all(each.moves is not None and each.moves.past == 0 for each in report.markets)


def test_three_refreshes_later_the_first_days_cheapest_list_comes_out_byte_for_byte(room: Room) -> None:
    request = ResourceRequest(vcpus_min=4)

    def cheapest(offers: list[Offer]) -> bytes:
        return "\n".join(repr(offer) for offer in rank(offers, request)[:20]).encode()

    lists = []
    for _ in range(3):
        room.refresh(*map(room.stall.source, ("aws", "gcp", "azure")))
        offers = [offer for sheet in room.catalog.by_market.values() for offer in sheet.offers]
        lists.append((room.stall.clock.now(), cheapest(offers)))
        room.stall.timeline.advance(24 * 3600)
    assert len({one for _, one in lists}) == 3
    for at, then in lists:
        assert cheapest(room.history.as_of(at)) == then
        assert cheapest(room.history.as_of(at + timedelta(hours=23))) == then


def test_prices_that_stand_still_are_kept_once(tmp_path: Path) -> None:
    room = Room(tmp_path, Stall(climate=CALM))
    for _ in range(4):
        room.refresh(back_fill=False)
        room.stall.timeline.advance(7200)
    assert room.history.counts()[:2] == (40, 40)
    room.history.close()


def test_a_market_is_told_in_one_line() -> None:
    found = MarketReport(
        provider="aws",
        region=US,
        outcome=Outcome.READ,
        offers=12_345,
        refused={"price is zero": 1_002},
        seconds=75,
        moves=Moves(up=3, down=4, past=1_000),
    )
    assert told(found) == "aws us-east-1: 12,345 offers in 1 min, 1,002 refused, 3 up, 4 down, 1,000 past prices"
