"""Planted bugs in the gate, the ledger and the intake of bills. See ``bugs``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..billing import attribute, collect
from ..billing import settle as bill_settle
from ..billing.attribute import Registry
from ..billing.charge import Charge
from ..errors import LaunchRefused
from ..jobs import extend as jobs_extend
from ..jobs import plan, watch
from ..jobs.job import Attempt, Job, JobState
from ..jobs.launch import Application, Launcher
from ..jobs.milestones import Milestone
from ..ledger import book as ledger_book
from ..ledger import holds as ledger_holds
from ..ledger.book import Book
from ..ledger.holds import EntryKind, Hold
from ..ledger.places import Place
from ..money import Money
from ..pricing import estimate as pricing_estimate
from ..pricing.estimate import Estimate
from ..pricing.terms import Terms
from ..store import charges as store_charges
from ..store.charges import ChargeRepository
from ..times import Period
from .bugs import patch, planting

# --- the gate


@planting("budgets_open_soft", "every budget is opened as one that admits anything", "M1", "M13")
def _(stack: ExitStack) -> None:
    def unused(self: Place, limit: Money) -> Any:
        return replace(was(self, limit), hard=False)

    was = patch(stack, Place, "unused", unused)


@planting(
    "budgets_of_double_size",
    "a budget is kept with twice the limit that was asked for",
    "M13",
    jobs=60,
    strict=True,
)
def _(stack: ExitStack) -> None:
    def add_budget(self: Book, *, limit: Money, **more: Any) -> Any:
        return was(self, limit=limit.times(2), **more)

    was = patch(stack, Book, "add_budget", add_budget)


@planting("only_the_jobs_own_account", "money is held on the job's own account and on no budget", "D04")
def _(stack: ExitStack) -> None:
    def authorize(self: Book, *, budgets: Sequence[Any], **more: Any) -> list[Hold]:
        return was(self, budgets=(), **more)  # type: ignore[no-any-return]

    was = patch(stack, Book, "authorize", authorize)


@planting("only_the_nearest_budget", "of nested budgets only the innermost is drawn on", "D04")
def _(stack: ExitStack) -> None:
    def authorize(self: Book, *, budgets: Sequence[Any], **more: Any) -> list[Hold]:
        return was(self, budgets=list(budgets)[-1:], **more)  # type: ignore[no-any-return]

    was = patch(stack, Book, "authorize", authorize)


@planting("holds_the_estimate", "what is held is the estimate, not the worst case", "J5", "M17")
def _(stack: ExitStack) -> None:
    def cheaper(self: Launcher, application: Application, job_id: str, best: Estimate, now: datetime) -> Job:
        job: Job = was(self, application, job_id, best, now)
        return replace(job, hold=best.expected)

    was = patch(stack, Launcher, "_job", cheaper)


@planting("holds_no_kill_allowance", "the time that a machine's end takes is not held for", "J5", "M17")
def _(stack: ExitStack) -> None:
    def estimate(offer: Any, terms: Terms, **more: Any) -> Estimate:
        found: Estimate = was(offer, replace(terms, kill_seconds=0), **more)
        return replace(found, kill_seconds=terms.kill_seconds)

    was = patch(stack, plan, "estimate", estimate)


@planting("holds_no_sides", "disks and addresses are not held for", "M17")
def _(stack: ExitStack) -> None:
    sides = pricing_estimate.Sides

    def bare(offer: Any, terms: Terms, *, disk_gib: int, egress_gib: int) -> Any:
        found = was(offer, terms, disk_gib=disk_gib, egress_gib=egress_gib)
        nothing = Money.zero(found.disk_hour.currency)
        return replace(found, disk_hour=nothing, address_hour=nothing)

    was = patch(stack, sides, "of", staticmethod(bare))


@planting("holds_todays_price", "the hold is at today's price although the machine may become dearer", "J5", "M17")
def _(stack: ExitStack) -> None:
    def estimate(offer: Any, terms: Terms, **more: Any) -> Estimate:
        found: Estimate = was(offer, terms, **more)
        cheaper = offer.hourly_price.for_seconds(found.run_seconds_max + found.kill_seconds, round_up=True)
        dearer = found.price_max.for_seconds(found.run_seconds_max + found.kill_seconds, round_up=True)
        return replace(found, worst_case=found.worst_case - dearer + cheaper)

    was = patch(stack, plan, "estimate", estimate)


@planting("next_offer_need_not_fit", "after a refusal the next offer is launched whatever it can cost", "J5", "M17")
def _(stack: ExitStack) -> None:
    def refusal(self: Launcher, job: Job, attempt: Attempt, why: LaunchRefused, others: Sequence[Estimate]) -> Any:
        return was(self, job, attempt, why, [replace(each, worst_case=job.hold) for each in others])

    was = patch(stack, Launcher, "_record_refusal", refusal)


@planting("money_in_the_window_of_the_end", "a job draws on the budget's window in which it may end", "D07")
def _(stack: ExitStack) -> None:
    def window_place(budget: Any, at: datetime) -> Place:
        return was(budget, at + timedelta(hours=20))  # type: ignore[no-any-return]

    was = patch(stack, ledger_book, "window_place", window_place)


@planting("hold_and_job_apart", "the hold is committed before the job is written", "A02")
def _(stack: ExitStack) -> None:
    def submit(self: Launcher, application: Application, *, job_id: str) -> Job:
        best = application.estimates[0]
        with self._transaction():
            self._book.authorize(
                job_id=job_id,
                budgets=application.budgets,
                job_limit=best.budget,
                amount=best.worst_case,
                expires_at=self._clock.now() + timedelta(seconds=best.run_seconds_max + best.kill_seconds),
            )
        self._passing(Milestone.INTENT_WRITTEN)
        return was(self, application, job_id=job_id)  # type: ignore[no-any-return]

    was = patch(stack, Launcher, "submit", submit)


@planting("a_key_is_forgotten", "a request key is not kept, so the same request again is another job", "A26")
def _(stack: ExitStack) -> None:
    def submit(self: Launcher, application: Application, *, job_id: str) -> Job:
        return was(self, replace(application, request_key=None, request_digest=None), job_id=job_id)  # type: ignore[no-any-return]

    was = patch(stack, Launcher, "submit", submit)


# --- holds while machines run


@planting("gives_back_at_the_meter", "an ended job keeps nothing for the bill beyond its meter", "M17", was_ours=True)
def _(stack: ExitStack) -> None:
    def settle_ended(self: Launcher, job: Job, metered: Money) -> None:
        self._book.settle(job_id=job.id, target=metered, final=True)

    patch(stack, Launcher, "settle_ended", settle_ended)


@planting(
    "frees_what_was_never_seen",
    "what no listing shows any more is taken never to have been",
    "M17",
    was_ours=True,
    strict=True,
    rates={"crash": 100_000, "lost_reply": 500_000, "outage": 400_000, "expired_credentials": 300_000},
)
def _(stack: ExitStack) -> None:
    def most(self: Launcher, job: Job, attempts: Sequence[Attempt]) -> Money:
        return was(self, job, [each for each in attempts if each.machine_id is not None])  # type: ignore[no-any-return]

    was = patch(stack, Launcher, "most", most)


@planting("keeps_nothing_when_trimming", "trimming a hold gives back all of it", "M17")
def _(stack: ExitStack) -> None:
    def trim(self: Book, *, job_id: str, keep: Money, reason: str = "") -> list[Hold]:
        return was(self, job_id=job_id, keep=Money.zero(keep.currency), reason=reason)  # type: ignore[no-any-return]

    was = patch(stack, Book, "trim", trim)


@planting("frees_money_when_asked_to_end", "the hold is given back when a user asks for the end", "M15", "M17")
def _(stack: ExitStack) -> None:
    from .installation import Desk

    def terminate(self: Desk, job_id: str, *, reason: str) -> None:
        was(self, job_id, reason=reason)
        if self.book.holds(job_id):
            self.book.settle(job_id=job_id, target=Money.zero(), final=True)

    was = patch(stack, Desk, "terminate", terminate)


@planting("next_attempt_gets_the_whole_hold", "a further attempt may cost all that was ever held", "J5", "M17")
def _(stack: ExitStack) -> None:
    def again(self: watch.Watcher, job: Job, attempt: Attempt, metered: Money) -> Estimate | None:
        if job.stop_requested_at is not None or attempt.number >= self._policy.attempts_max:
            return None
        return self._reestimate(job, attempt, job.hold)

    patch(stack, watch.Watcher, "_again", again)


@planting("extends_for_nothing", "an extension moves the end and holds no more", "J1", "J3")
def _(stack: ExitStack) -> None:
    def extend(self: Book, *, job_id: str, **more: Any) -> list[Hold]:
        return self.holds(job_id)

    patch(stack, Book, "extend", extend)


@planting("extends_the_machine_first", "the machine hears of its later end before anything is held", "J3")
def _(stack: ExitStack) -> None:
    def extend(job: Job, attempt: Attempt, *, hours: Any, provider: Any, **more: Any) -> Job:
        seconds = int(hours * 3600)
        if attempt.machine_id is not None and hasattr(provider, "extend"):
            later = attempt.not_after + timedelta(seconds=seconds)
            provider.extend(attempt.machine_id, not_after=later, run_seconds_max=attempt.run_seconds_max + seconds)
        return was(job, attempt, hours=hours, provider=provider, **more)  # type: ignore[no-any-return]

    was = patch(stack, jobs_extend, "extend", extend)


@planting(
    "extends_twice_for_one_key",
    "an extension that is repeated under its key extends again",
    "J1",
    was_ours=True,
    jobs=30,
    rates={"crash": 60_000},
)
def _(stack: ExitStack) -> None:
    patch(stack, Book, "extension", lambda self, *, job_id, key: None)


@planting(
    "extends_without_lease",
    "an extension is written beside a watcher that writes too",
    *("R12", "J1"),
    was_ours=True,
    jobs=30,
    watchers=4,
    rates={"pause": 200_000, "crash": 0, "disk_full": 0, "database_locked": 0},
)
def _(stack: ExitStack) -> None:
    class Unleased:
        def __init__(self, store: Any) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        def lease(self, attempt: Attempt, **more: Any) -> Attempt:
            return attempt

    def extended(job: Job, attempt: Attempt, more: int, key: str, terms: Terms, store: Any, *others: Any) -> Attempt:
        return was(job, attempt, more, key, terms, Unleased(store), *others)  # type: ignore[no-any-return]

    was = patch(stack, jobs_extend, "_extended", extended)
    patch(stack, jobs_extend, "may_be_taken", lambda attempt, process, now: True)


# --- the journal


@planting("counts_on_top", "a bill is added to what was spent before instead of settled to", "M14", "M5")
def _(stack: ExitStack) -> None:
    def settle(self: Book, *, job_id: str, target: Money, final: bool, reason: str = "") -> list[Hold]:
        if reason.startswith("bill"):
            target = target + self.holds(job_id)[0].spent
        return was(self, job_id=job_id, target=target, final=final, reason=reason)  # type: ignore[no-any-return]

    was = patch(stack, Book, "settle", settle)


@planting("books_no_more_than_was_held", "what was spent beyond the hold is not booked", "M14", strict=False)
def _(stack: ExitStack) -> None:
    def settle(self: Book, *, job_id: str, target: Money, final: bool, reason: str = "") -> list[Hold]:
        most = self.holds(job_id)[0].amount
        return was(self, job_id=job_id, target=min(target, most), final=final, reason=reason)  # type: ignore[no-any-return]

    was = patch(stack, Book, "settle", settle)


@planting("never_gives_back", "a lower bill than before changes nothing", "M14")
def _(stack: ExitStack) -> None:
    def settle(self: Book, *, job_id: str, target: Money, final: bool, reason: str = "") -> list[Hold]:
        most = max(target, self.holds(job_id)[0].spent)
        return was(self, job_id=job_id, target=most, final=final, reason=reason)  # type: ignore[no-any-return]

    was = patch(stack, Book, "settle", settle)


@planting("one_nano_off", "every capture is written one nano too high in its entry", "M2", "M5")
def _(stack: ExitStack) -> None:
    def posted(self: Book, account_id: str, kind: EntryKind, amount: Money, key: str, **more: Any) -> None:
        wrong = amount + Money(1, amount.currency) if kind is EntryKind.CAPTURE else amount
        was(self, account_id, kind, wrong, key, **more)

    was = patch(stack, Book, "_post", posted)


@planting("settles_one_account", "only the first of a job's accounts is settled", "M5")
def _(stack: ExitStack) -> None:
    def locked(self: Book, job_id: str) -> list[Hold]:
        return was(self, job_id)[:1]  # type: ignore[no-any-return]

    was = patch(stack, Book, "_locked", locked)


@planting("release_takes_the_captured_too", "closing a hold gives back what was captured as well", "M5", "M2", "X1")
def _(stack: ExitStack) -> None:
    def settle(hold: Hold, target: Money, *, final: bool, now: datetime) -> Any:
        revised, moves = was(hold, target, final=final, now=now)
        if final and hold.is_open:
            revised = replace(revised, released=revised.released + revised.captured)
        return revised, moves

    was = patch(stack, ledger_book, "settle", settle)
    assert ledger_holds.settle is was, "the book uses the rule"


# --- bills


@planting("first_bill_for_ever", "the first bill that names a job is never replaced", "M14")
def _(stack: ExitStack) -> None:
    def once(self: collect.Collector, source: Any, period: Period, **more: Any) -> Any:
        known = self._store.versions(source.name, period)
        if known:
            return collect.Outcome(source=source.name, period=period, version=known[-1], changed=False)
        return was(self, source, period, **more)

    was = patch(stack, collect.Collector, "collect", once)


@planting("credits_are_dropped", "lines below zero are left out", "M7", "M14")
def _(stack: ExitStack) -> None:
    def tally(charges: Iterator[Charge], registry: Registry) -> attribute.Tally:
        every = list(charges)
        counted: attribute.Tally = was([each for each in every if each.billed_cost.nanos > 0], registry)
        patch_totals(counted, every)
        return counted

    def patch_totals(counted: attribute.Tally, every: Sequence[Charge]) -> None:
        """The control total is checked; a careless author makes the check agree."""
        totals: dict[str, int] = {}
        for each in every:
            totals[each.billed_cost.currency] = totals.get(each.billed_cost.currency, 0) + each.billed_cost.nanos
        agreeing[id(counted)] = totals

    agreeing: dict[int, dict[str, int]] = {}
    was = patch(stack, collect, "tally", tally)

    def totals(self: attribute.Tally) -> dict[str, int]:
        return agreeing.pop(id(self)) if id(self) in agreeing else honest(self)

    honest = patch(stack, attribute.Tally, "totals", totals)


@planting("nobodys_lines_are_dropped", "what no job bears is not written down", "M7", "M14")
def _(stack: ExitStack) -> None:
    patch(stack, store_charges, "_nobodys_rows", lambda counted: [])


@planting("final_at_the_first_bill", "a cost is called final as soon as a bill names it", "M18")
def _(stack: ExitStack) -> None:
    patch(stack, bill_settle, "_awaited", lambda attempt, complete_through: "")


@planting("closes_with_the_job", "the hold is closed at the first bill after the job's end", "M17", was_ours=True)
def _(stack: ExitStack) -> None:
    patch(stack, bill_settle.JobBill, "closes", property(lambda self: self.is_over))


@planting("never_closes", "the hold stays open after the last bill", "M14")
def _(stack: ExitStack) -> None:
    patch(stack, bill_settle.JobBill, "closes", property(lambda self: False))


@planting("costs_lag_a_version", "jobs are settled to the costs before the new ones", "M14", "M7")
def _(stack: ExitStack) -> None:
    def replace_costs(self: ChargeRepository, version: Any, counted: Any, *, at: datetime) -> set[str] | None:
        if self.complete_through(version.source, version.period.start) is None:
            return was(self, version, counted, at=at)  # type: ignore[no-any-return]
        return None

    was = patch(stack, ChargeRepository, "replace_costs", replace_costs)


@planting("an_ended_job_is_billed_as_running", "a job's state is lost on the way to its bill", "M14")
def _(stack: ExitStack) -> None:
    def facts(self: ChargeRepository, job_id: str) -> Any:
        return replace(was(self, job_id), state=JobState.RUNNING)

    was = patch(stack, ChargeRepository, "facts", facts)
