"""Planted bugs in launching, watching, leases and ends. See ``bugs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..errors import LaunchRefused, NoMatchingOffer, OutcomeUnknown, ProviderError, Unavailable
from ..jobs import launch as jobs_launch
from ..jobs import watch as jobs_watch
from ..jobs.job import Attempt, AttemptState, Job
from ..jobs.launch import Application, Launcher
from ..jobs.milestones import Milestone
from ..jobs.watch import ReconcileReport, Watcher
from ..pricing.estimate import Estimate
from ..providers.base import Launch, LaunchOrder, Listing, MachineState, Provider
from ..store.jobs import JobRepository
from ..times import Clock
from .bugs import patch, planting

CROWDED: Mapping[str, Any] = {
    "jobs": 30,
    "watchers": 4,
    "rates": {"pause": 200_000, "crash": 0, "disk_full": 0, "database_locked": 0},
}
"""Runs in which many processes look after the same jobs, and each of them is often held up."""

# --- launching


@planting("calls_before_recording", "the machine is asked for before anything is on record", "R9")
def _(stack: ExitStack) -> None:
    def submit(self: Launcher, application: Application, *, job_id: str) -> Job:
        now, best = self._clock.now(), application.estimates[0]
        job = self._job(application, job_id, best, now)
        attempt = self._attempt(job, best, number=1, now=now)
        launch = self._providers(attempt.offer.provider).launch(self._order(job, attempt))
        with self._transaction():
            self._book.authorize(
                job_id=job.id,
                budgets=application.budgets,
                job_limit=job.budget_limit,
                amount=job.hold,
                expires_at=attempt.worst_case_end,
            )
            self._store.add(job, request_key=application.request_key, request_digest=application.request_digest)
            self._store.add_attempt(attempt)
        return self.record_live(job, attempt, launch)

    patch(stack, Launcher, "submit", submit)


@planting("calls_inside_the_transaction", "the create call is made while the transaction is open", "R10")
def _(stack: ExitStack) -> None:
    def order(self: Launcher, job: Job, attempt: Attempt) -> LaunchOrder:
        return was(self, job, attempt)  # type: ignore[no-any-return]

    def carry_out(self: Launcher, job: Job, attempt: Attempt, *, others: Sequence[Estimate] = ()) -> Job:
        with self._transaction():
            launch = self._providers(attempt.offer.provider).launch(self._order(job, attempt))
        return self.record_live(job, attempt, launch)

    was = patch(stack, Launcher, "_order", order)
    patch(stack, Launcher, "carry_out", carry_out)


@planting("another_token_each_time", "every call makes up a token of its own", "R9")
def _(stack: ExitStack) -> None:
    def order(self: Launcher, job: Job, attempt: Attempt) -> LaunchOrder:
        made: LaunchOrder = was(self, job, attempt)
        token = f"{made.token}-{self._entropy.bytes(2).hex()}"
        return replace(made, token=token, tags={**made.tags, "tallygate-token": token})

    was = patch(stack, Launcher, "_order", order)


@planting("attempts_share_a_token", "the attempt's number is not part of its token", "R5", "X1", "R11")
def _(stack: ExitStack) -> None:
    patch(stack, jobs_launch, "launch_token", lambda install_id, job_id, attempt: f"tg-{install_id}-{job_id}")


@planting("launches_untagged", "the deadline is not on the machine's tags", "R3")
def _(stack: ExitStack) -> None:
    def order(self: Launcher, job: Job, attempt: Attempt) -> LaunchOrder:
        made: LaunchOrder = was(self, job, attempt)
        return replace(made, tags={key: value for key, value in made.tags.items() if key != "tallygate-not-after"})

    was = patch(stack, Launcher, "_order", order)


@planting("sends_a_later_deadline", "the machine is told an end a day later than is held for", "J3", "R4")
def _(stack: ExitStack) -> None:
    def order(self: Launcher, job: Job, attempt: Attempt) -> LaunchOrder:
        made: LaunchOrder = was(self, job, attempt)
        return replace(made, not_after=made.not_after + timedelta(days=1), run_seconds_max=made.run_seconds_max + 86400)

    was = patch(stack, Launcher, "_order", order)


@planting("sends_a_higher_ceiling", "the price ceiling sent is ten times the one held for", "J3", "M17")
def _(stack: ExitStack) -> None:
    def order(self: Launcher, job: Job, attempt: Attempt) -> LaunchOrder:
        made: LaunchOrder = was(self, job, attempt)
        return replace(made, price_max=made.price_max.times(10))

    was = patch(stack, Launcher, "_order", order)


@planting("a_timeout_is_a_refusal", "no answer is taken for no machine", "R7", "R2", "M17")
def _(stack: ExitStack) -> None:
    def unknown(self: Launcher, job: Job, attempt: Attempt, error: OutcomeUnknown) -> None:
        self._record_refusal(job, attempt, LaunchRefused(error.message), ())

    patch(stack, Launcher, "_record_unknown", unknown)


@planting("tries_the_next_after_no_answer", "no answer sends the launch on to the next offer", "R7", "R1", "R2", "M17")
def _(stack: ExitStack) -> None:
    def carry_out(self: Launcher, job: Job, attempt: Attempt, *, others: Sequence[Estimate] = ()) -> Job:
        while True:
            try:
                launch = self._providers(attempt.offer.provider).launch(self._order(job, attempt))
                return self.record_live(job, attempt, launch)
            except (LaunchRefused, OutcomeUnknown) as error:
                following = self._record_refusal(job, attempt, LaunchRefused(error.message), others)
            if following is None:
                raise NoMatchingOffer(f"Nothing could be launched for {job.id}")
            job, attempt, others = following

    patch(stack, Launcher, "carry_out", carry_out)


@planting("never_too_late", "a launcher that was held up calls all the same", "R9", rates={"pause": 300_000})
def _(stack: ExitStack) -> None:
    patch(stack, Launcher, "_late", lambda self, attempt: None)


@planting(
    "looks_before_it_waits", "a launcher looks whether it is late, and then waits before it calls", "R9", was_ours=True
)
def _(stack: ExitStack) -> None:
    def late(self: Launcher, attempt: Attempt) -> LaunchRefused | None:
        found = was(self, attempt)
        self._passing(Milestone.CREATE_CALLED)
        return found  # type: ignore[no-any-return]

    was = patch(stack, Launcher, "_late", late)


# --- concluding


@planting("one_listing_is_enough", "a machine missing from one listing has ended", "R7", "M17", "R8")
def _(stack: ExitStack) -> None:
    def missing(
        self: Watcher, provider: Provider, listing: Listing, job: Job, attempt: Attempt, report: ReconcileReport
    ) -> None:
        earlier = listing.began_at - jobs_watch.NEWBORN - jobs_watch.GRACE
        was(
            self,
            provider,
            listing,
            job,
            replace(attempt, missing_since=earlier, launched_at=min(attempt.launched_at or earlier, earlier)),
            report,
        )

    was = patch(stack, Watcher, "_missing", missing)


@planting(
    "newborns_go_missing",
    "a machine may be missing as soon as it was launched",
    "R7",
    was_ours=True,
    rates={"delayed_visibility": 900_000},
)
def _(stack: ExitStack) -> None:
    patch(stack, jobs_watch, "NEWBORN", timedelta())


@planting("partial_pages_are_whole", "what a broken listing does not show is not there", "R7", "M17")
def _(stack: ExitStack) -> None:
    def reconcile(self: Watcher, provider: Any, report: ReconcileReport) -> None:
        was(self, _Whole(provider), report)

    was = patch(stack, Watcher, "_reconcile_provider", reconcile)


@planting("a_failed_listing_is_empty", "a listing that failed shows that nothing is there", "R7", "M17")
def _(stack: ExitStack) -> None:
    def reconcile(self: Watcher, provider: Any, report: ReconcileReport) -> None:
        was(self, _Whole(provider, empty=True), report)

    was = patch(stack, Watcher, "_reconcile_provider", reconcile)


@planting("voids_when_the_lease_ends", "an intent without a machine is void when its lease has run out", "R7", "R2")
def _(stack: ExitStack) -> None:
    def without(
        self: Watcher, provider: Provider, listing: Listing, job: Job, attempt: Attempt, report: ReconcileReport
    ) -> None:
        if not listing.complete:
            return was(self, provider, listing, job, attempt, report)  # type: ignore[no-any-return]
        void = replace(attempt, state=AttemptState.VOID, end_reason="lease over", lease_owner=None, lease_until=None)
        with self._transaction():
            if self._store.save_attempt(void, was=attempt):
                self._launcher.end_unlaunched(job, "lease over")
        return None

    was = patch(stack, Watcher, "_without_machine", without)


@planting("stopping_is_ended", "a machine that is shutting down counts as ended", "R7", "R8")
def _(stack: ExitStack) -> None:
    _shown_as_ended(stack, MachineState.STOPPING)


@planting("stopped_is_ended", "a machine that stands still, and bills, counts as ended", "R7", strict=False)
def _(stack: ExitStack) -> None:
    _shown_as_ended(stack, MachineState.STOPPED)


@planting("a_strange_state_is_ended", "a state that nobody knows counts as ended", "R7")
def _(stack: ExitStack) -> None:
    _shown_as_ended(stack, MachineState.UNRECOGNISED)


@planting("told_to_end_is_ended", "a terminate call that was answered has ended the machine", "R7")
def _(stack: ExitStack) -> None:
    def terminate(
        self: Watcher, provider: Provider, machine_id: str, job: Job, why: str, report: ReconcileReport
    ) -> None:
        was(self, provider, machine_id, job, why, report)
        _write_ended(self, job)

    was = patch(stack, Watcher, "_terminate", terminate)


@planting("not_found_is_ended", "a terminate call that fails is taken for a machine that is gone", "R7")
def _(stack: ExitStack) -> None:
    def terminate(
        self: Watcher, provider: Provider, machine_id: str, job: Job, why: str, report: ReconcileReport
    ) -> None:
        try:
            was(self, provider, machine_id, job, why, report)
        except ProviderError:
            _write_ended(self, job)

    was = patch(stack, Watcher, "_terminate", terminate)


@planting("a_report_is_an_end", "a machine that reported its end is taken for gone", "R7")
def _(stack: ExitStack) -> None:
    def keep(
        self: Watcher, provider: Provider, job: Job, attempt: Attempt, launch: Launch, report: ReconcileReport
    ) -> None:
        said = self._reports.report(job, attempt)
        if said is not None:
            ended = replace(launch, state=MachineState.ENDED, ended_at=said.ended_at, end_source="report")
            self._finish(job, attempt, ended, report, terms_of=provider)
            return
        was(self, provider, job, attempt, launch, report)

    was = patch(stack, Watcher, "_keep", keep)


# --- ending


@planting("deadlines_are_not_watched", "a machine past its deadline is never told to end", "J4", "R5", strict=False)
def _(stack: ExitStack) -> None:
    def reason(self: Watcher, job: Job, attempt: Attempt, reached: Any, now: Any) -> str | None:
        return job.stop_reason or "asked to end" if job.stop_requested_at is not None else None

    patch(stack, Watcher, "_reason_to_stop", reason)


@planting("nobody_hears_a_stop", "a user's wish to end a job is never acted on", "J4")
def _(stack: ExitStack) -> None:
    def reason(self: Watcher, job: Job, *others: Any) -> str | None:
        return was(self, replace(job, stop_requested_at=None), *others)  # type: ignore[no-any-return]

    was = patch(stack, Watcher, "_reason_to_stop", reason)


@planting("stopped_jobs_come_back", "an interrupted job is launched again although it was asked to end", "J4", jobs=30)
def _(stack: ExitStack) -> None:
    def outcome(job: Job, *others: Any) -> Any:
        return was(replace(job, stop_requested_at=None), *others)

    def again(self: Watcher, job: Job, *others: Any) -> Any:
        return was_again(self, replace(job, stop_requested_at=None), *others)

    was = patch(stack, jobs_watch, "_outcome", outcome)
    was_again = patch(stack, Watcher, "_again", again)
    patch(stack, Launcher, "is_wanted", lambda self, job_id: True)


@planting(
    "decides_on_what_it_read_before",
    "whether a job is still wanted is what its row said before the launcher was held up",
    "J4",
    was_ours=True,
    **CROWDED,
)
def _(stack: ExitStack) -> None:
    patch(stack, Launcher, "is_wanted", lambda self, job_id: True)


@planting(
    "adopts_and_goes_on_unleased",
    "a watcher that has adopted a machine judges it without a lease of its own",
    "J2",
    "R12",
    was_ours=True,
    **CROWDED,
)
def _(stack: ExitStack) -> None:
    def lease(self: Watcher, attempt: Attempt) -> Attempt | None:
        return attempt if attempt.machine_id is not None and attempt.metered_seconds == 0 else was(self, attempt)

    was = patch(stack, Watcher, "_lease", lease)


@planting(
    "a_listing_is_of_its_beginning",
    "what a listing does not show was gone when it was begun, however long it took",
    *("R8", "M17"),
    was_ours=True,
    rates={"slow_call": 700_000},
)
def _(stack: ExitStack) -> None:
    class Backdated(_Whole):
        def __init__(self, provider: Any, began_at: datetime) -> None:
            super().__init__(provider)
            self._began_at = began_at

        def describe(self, ids: Sequence[str] | None = None) -> Listing:
            listing: Listing = self._provider.describe(ids)
            return replace(listing, began_at=self._began_at)

    def missing(
        self: Watcher, provider: Provider, listing: Listing, job: Job, attempt: Attempt, report: ReconcileReport
    ) -> None:
        was(self, Backdated(provider, listing.began_at), listing, job, attempt, report)

    was = patch(stack, Watcher, "_missing", missing)


@planting(
    "void_at_the_deadline",
    "an intent without a machine is void when its time is over, although a request may still be on its way",
    "R7",
    was_ours=True,
    longest=30,
    watchers=4,
    rates={"late_execution": 600_000, "crash": 0, "pause": 0},
)
def _(stack: ExitStack) -> None:
    patch(stack, jobs_watch, "_last_birth", lambda provider, attempt: attempt.worst_case_end)


@planting("ends_the_healthy", "a machine is told to end at the first sight of it", "R6")
def _(stack: ExitStack) -> None:
    def keep(
        self: Watcher, provider: Provider, job: Job, attempt: Attempt, launch: Launch, report: ReconcileReport
    ) -> None:
        was(self, provider, job, attempt, launch, report)
        if attempt.state is AttemptState.LIVE:
            provider.terminate(launch.id)

    was = patch(stack, Watcher, "_keep", keep)


@planting("tells_once", "a machine is told to end once, and believed to obey", "R5", rates={"lying_terminate": 500_000})
def _(stack: ExitStack) -> None:
    told: set[str] = set()

    def terminate(
        self: Watcher, provider: Provider, machine_id: str, job: Job, why: str, report: ReconcileReport
    ) -> None:
        if machine_id not in told:
            told.add(machine_id)
            was(self, provider, machine_id, job, why, report)

    was = patch(stack, Watcher, "_terminate", terminate)


@planting("no_reaper", "machines without an open attempt are left alone", "R5")
def _(stack: ExitStack) -> None:
    patch(stack, Watcher, "_sweep", lambda self, provider, listing, report: None)


@planting("intents_are_left_alone", "an intent whose launcher died waits for ever", "R5")
def _(stack: ExitStack) -> None:
    def without(self: Watcher, provider: Any, listing: Any, job: Any, attempt: Attempt, report: Any) -> None:
        self._release_lease(attempt)

    patch(stack, Watcher, "_without_machine", without)


@planting(
    "never_adopts",
    "a machine of an unanswered launch is not taken for the attempt's",
    "R5",
    "R7",
    "M17",
    "R6",
    rates={"lost_reply": 500_000},
)
def _(stack: ExitStack) -> None:
    def together(
        self: Watcher, provider: Any, listing: Listing, attempt: Attempt, found: Sequence[Launch], report: Any
    ) -> None:
        seen = () if attempt.state in (AttemptState.INTENT, AttemptState.UNKNOWN) else found
        was(self, provider, listing, attempt, seen, report)

    was = patch(stack, Watcher, "_bring_together", together)


@planting("dates_ends_by_its_own_clock", "an observed end is dated by when it was seen", "R8", "J2")
def _(stack: ExitStack) -> None:
    def finish(self: Watcher, job: Job, attempt: Attempt, launch: Launch, report: Any, **more: Any) -> None:
        was(self, job, attempt, replace(launch, ended_at=self._clock.now()), report, **more)

    was = patch(stack, Watcher, "_finish", finish)


@planting(
    "listings_dated_by_our_clock",
    "a listing is dated by the clock of whoever asks",
    *("M17", "R7", "R8", "R2"),
    was_ours=True,
    rates={"clock_step": 600_000},
)
def _(stack: ExitStack) -> None:
    class Dated(_Whole):
        def __init__(self, provider: Any, clock: Clock) -> None:
            super().__init__(provider)
            self._clock = clock

        def describe(self, ids: Sequence[str] | None = None) -> Listing:
            began_at = self._clock.now()
            listing: Listing = self._provider.describe(ids)
            return replace(listing, began_at=began_at)

    def reconcile(self: Watcher, provider: Any, report: ReconcileReport) -> None:
        was(self, Dated(provider, self._clock), report)

    was = patch(stack, Watcher, "_reconcile_provider", reconcile)


@planting("forgets_what_earlier_attempts_cost", "a job is metered its last attempt only", "J2")
def _(stack: ExitStack) -> None:
    def metered(self: Launcher, job_id: str, currency: str) -> Any:
        return self._store.attempts(job_id)[-1].metered_cost

    patch(stack, Launcher, "metered", metered)


# --- leases


@planting(
    "leases_what_it_has_read",
    "a lease is given on the row as it was read, not as it is",
    *("J2", "R12"),
    was_ours=True,
    **CROWDED,
)
def _(stack: ExitStack) -> None:
    def lease(self: JobRepository, attempt: Attempt, *, owner: str, **more: Any) -> Attempt | None:
        leased: Attempt | None = was(self, attempt, owner=owner, **more)
        if leased is None:
            return None
        return replace(attempt, fence=leased.fence, lease_owner=owner, lease_until=leased.lease_until)

    was = patch(stack, JobRepository, "lease", lease)


@planting("takes_any_lease", "a lease is taken whoever holds it", "R12")
def _(stack: ExitStack) -> None:
    patch(stack, jobs_watch, "may_be_taken", lambda attempt, process, now: True)


@planting(
    "fences_do_not_hold", "a write goes through whatever the row's fence has become", "R12", "R15", "X1", **CROWDED
)
def _(stack: ExitStack) -> None:
    def save_attempt(self: JobRepository, attempt: Attempt, *, was: Attempt) -> bool:
        current = self.attempt_with(attempt.token)
        assert current is not None
        return before(self, replace(attempt, fence=current.fence), was=replace(was, state=current.state))  # type: ignore[no-any-return]

    before = patch(stack, JobRepository, "save_attempt", save_attempt)


# --- what several of them use


class _Whole:
    """A provider whose listings are called complete whatever came of them."""

    def __init__(self, provider: Any, *, empty: bool = False) -> None:
        self._provider = provider
        self._empty = empty

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def describe(self, ids: Sequence[str] | None = None) -> Listing:
        listing: Listing = self._provider.describe(ids)
        if listing.complete:
            return listing
        return replace(listing, complete=True, launches=() if self._empty else listing.launches)


def _shown_as_ended(stack: ExitStack, state: MachineState) -> None:
    """Machines in ``state`` are shown as ended now."""

    def together(
        self: Watcher, provider: Any, listing: Listing, attempt: Attempt, found: Sequence[Launch], report: Any
    ) -> None:
        now = self._clock.now()
        seen = [
            replace(each, state=MachineState.ENDED, ended_at=now, end_source="provider")
            if each.state is state
            else each
            for each in found
        ]
        was(self, provider, listing, attempt, seen, report)

    was = patch(stack, Watcher, "_bring_together", together)


def _write_ended(watcher: Watcher, job: Job) -> None:
    """Write down that a job's machine has ended, without having seen it."""
    attempt = watcher._store.attempts(job.id)[-1]
    if attempt.machine_id is None or not attempt.state.is_open:
        return
    gone = Launch(
        id=attempt.machine_id,
        provider=attempt.offer.provider,
        token=attempt.token,
        state=MachineState.ENDED,
        region=attempt.offer.region,
        zone=attempt.offer.zone,
        instance_type=attempt.offer.instance_type,
        launched_at=attempt.launched_at or attempt.created_at,
        ended_at=watcher._clock.now(),
        end_source="terminate",
    )
    try:
        provider = watcher._providers(attempt.offer.provider)
    except Unavailable:
        return
    watcher._finish(watcher._store.get(job.id), attempt, gone, ReconcileReport(), terms_of=provider)
