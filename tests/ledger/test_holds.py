"""The pure rules, told as tables (``scenarios.txt``), and the arithmetic behind them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.errors import HoldClosed, UsageError
from tallygate.ledger.holds import (
    JARS,
    Account,
    Budget,
    EntryKind,
    Hold,
    Jar,
    Move,
    change,
    checked_amount,
    expire,
    extend,
    missing,
    settle,
    trim,
)
from tallygate.ledger.places import window_place
from tallygate.money import NANOS_MAX, Money
from tests.conftest import START, ManualClock
from tests.ledger.conftest import Scenario


class Vault:
    """One account kept in memory, moved by the rules alone."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.holds: dict[str, Hold] = {}
        self.account: Account

    def limit(self, amount: Money) -> None:
        budget = Budget(id="b", name="team", scope="team", limit=amount, created_at=self.clock.now())
        self.account = window_place(budget, self.clock.now()).unused(amount)

    def authorize(self, job: str, amount: Money) -> str:
        checked_amount(amount)
        if job in self.holds:
            return "nothing"
        if (lacking := missing(self.account, amount)).nanos > 0:
            return f"refused:{lacking.shown()}"
        nothing, now = Money.zero(), self.clock.now()
        self.holds[job] = Hold(
            account_id=self.account.id,
            job_id=job,
            amount=amount,
            captured=nothing,
            released=nothing,
            spent=nothing,
            expires_at=now + timedelta(hours=1),
            opened_at=now,
        )
        return self.moved((Move(EntryKind.AUTHORIZE, amount),))

    def extend(self, job: str, amount: Money) -> str:
        revised, moves = extend(self.holds[job], amount, expires_at=None)
        if (lacking := missing(self.account, amount)).nanos > 0:
            return f"refused:{lacking.shown()}"
        self.holds[job] = revised
        return self.moved(moves)

    def trim(self, job: str, keep: Money) -> str:
        self.holds[job], moves = trim(self.holds[job], keep)
        return self.moved(moves)

    def settle(self, job: str, target: Money, final: str = "") -> str:
        self.holds[job], moves = settle(self.holds[job], target, final=final == "final", now=self.clock.now())
        return self.moved(moves)

    def expire(self, job: str) -> str:
        self.holds[job], moves = expire(self.holds[job], now=self.clock.now())
        return self.moved(moves)

    def moved(self, moves: tuple[Move, ...]) -> str:
        for move in moves:
            limit, held, spent = (Money(nanos) for nanos in change(move.kind, move.amount))
            after = replace(
                self.account,
                limit=self.account.limit + limit,
                held=self.account.held + held,
                spent=self.account.spent + spent,
            )
            self.account = replace(after, excess=max(Money.zero(), -after.available))
        return "+".join(move.kind for move in moves) or "nothing"


def tell(vault: object, scenario: Scenario, clock: ManualClock) -> None:
    """Carry out a scenario's lines on anything that has a vault's methods, and compare what comes of them."""
    for line in scenario.lines:
        verb, *words = line.split()
        if verb == "limit":
            vault.limit(Money.of(words[0]))
        elif verb == "wait":
            clock.advance(60 * int(words[0]))
        elif verb == "jars":
            account = vault.account
            found = [jar.shown() for jar in (account.available, account.held, account.spent, account.excess)]
            assert words == found, line
        elif verb == "hold":
            hold = vault.holds[words[0]]
            amounts = [each.shown() for each in (hold.amount, hold.captured, hold.released, hold.spent)]
            assert words[1:] == [*amounts, "open" if hold.is_open else "closed"], line
        else:
            job, *amounts, outcome = words
            arguments = [word if word == "final" else Money.of(word) for word in amounts]
            assert outcome == outcome_of(vault, verb, job, arguments), line


def outcome_of(vault: object, verb: str, job: str, arguments: list[object]) -> object:
    try:
        return getattr(vault, verb)(job, *arguments)
    except HoldClosed:
        return "closed"
    except UsageError:
        return "usage"


def test_scenario(scenario: Scenario, clock: ManualClock) -> None:
    """The rules alone, without a database, do what the table says."""
    tell(Vault(clock), scenario, clock)


# --- the arithmetic of every kind


@pytest.mark.parametrize("kind", EntryKind)
def test_every_kind_moves_money_between_two_jars_and_makes_none(kind: EntryKind) -> None:
    source, target = JARS[kind]
    assert source is not target
    limit, held, spent = change(kind, Money(7))
    available = limit - held - spent
    moved = {Jar.LIMIT: -limit, Jar.AVAILABLE: available, Jar.HELD: held, Jar.SPENT: spent}
    assert moved.pop(source) == -7
    assert moved.pop(target) == 7
    assert set(moved.values()) == {0}


# --- whatever happens to a hold

cents = st.integers(min_value=0, max_value=1_000)

acts = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), st.integers(min_value=-50, max_value=1_500), st.booleans()),
        st.tuples(st.just("trim"), cents),
        st.tuples(st.just("extend"), st.integers(min_value=1, max_value=500)),
        st.tuples(st.just("expire")),
    ),
    max_size=12,
)


def fresh(amount: int) -> Hold:
    nothing = Money.zero()
    return Hold(
        account_id="a",
        job_id="j",
        amount=Money(amount),
        captured=nothing,
        released=nothing,
        spent=nothing,
        expires_at=START,
        opened_at=START,
    )


@given(amount=st.integers(min_value=1, max_value=1_000), acts=acts)
def test_a_hold_always_adds_up(amount: int, acts: list[tuple[object, ...]]) -> None:
    """Held and spent follow from the entries alone; a closed hold keeps nothing and never opens again (M5)."""
    hold = fresh(amount)
    held, spent, was_closed = amount, 0, False
    for act in acts:
        try:
            if act[0] == "settle":
                after, moves = settle(hold, Money(act[1]), final=act[2], now=START)
            elif act[0] == "trim":
                after, moves = trim(hold, Money(act[1]))
            elif act[0] == "extend":
                after, moves = extend(hold, Money(act[1]), expires_at=None)
            else:
                after, moves = expire(hold, now=START)
        except HoldClosed:
            assert not hold.is_open
            continue
        for move in moves:
            assert move.amount.nanos > 0
            _, held_change, spent_change = change(move.kind, move.amount)
            held, spent = held + held_change, spent + spent_change
        assert (after == hold) == (not moves and after.is_open == hold.is_open)
        assert after.revision == hold.revision + (after != hold)
        hold = after
        assert hold.remaining.nanos == held >= 0
        assert hold.spent.nanos == spent
        assert hold.captured.nanos >= 0
        assert hold.released.nanos >= 0
        assert hold.is_open or hold.remaining.is_zero
        assert not (was_closed and hold.is_open)
        was_closed = not hold.is_open


@given(amount=st.integers(min_value=1, max_value=1_000), targets=st.lists(st.integers(0, 1_000), min_size=1))
def test_an_open_hold_covers_what_it_covered_at_first(amount: int, targets: list[int]) -> None:
    """However often the bill of a running job is restated, spent and held together never fall below the hold."""
    hold = fresh(amount)
    for target in targets:
        hold, _ = settle(hold, Money(target), final=False, now=START)
        assert (hold.spent + hold.remaining).nanos == max(amount, target)


# --- bounds


def test_an_amount_beyond_one_row_is_refused() -> None:
    most = Money(NANOS_MAX)
    assert checked_amount(most) == most
    with pytest.raises(UsageError):
        checked_amount(Money(NANOS_MAX + 1))
    with pytest.raises(UsageError):
        extend(fresh(1), most, expires_at=None)
    with pytest.raises(UsageError):
        settle(fresh(1), Money(-NANOS_MAX - 1), final=True, now=START)


def test_an_extension_never_shortens_a_hold() -> None:
    hold = fresh(1)
    assert extend(hold, Money(1), expires_at=START - timedelta(hours=1))[0].expires_at == START
    assert extend(hold, Money(1), expires_at=START + timedelta(hours=1))[0].expires_at == START + timedelta(hours=1)


def test_a_soft_account_lacks_nothing(clock: ManualClock) -> None:
    vault = Vault(clock)
    vault.limit(Money(5))
    assert missing(vault.account, Money(7)) == Money(2)
    assert missing(replace(vault.account, hard=False), Money(7)) == Money(0)


def test_currencies_are_never_mixed(clock: ManualClock) -> None:
    """Adding euros to a hold in dollars is refused by the arithmetic itself (M10)."""
    with pytest.raises(UsageError, match="cannot be mixed"):
        settle(fresh(1), Money(1, "EUR"), final=False, now=START)
    with pytest.raises(UsageError, match="cannot be mixed"):
        extend(fresh(1), Money(1, "EUR"), expires_at=None)
