"""Watching: compare what the providers show with what we have on record, and bring the two together.

One pass, per provider: list the cloud first, read our rows after, decide, act.

    seen in the cloud     our attempt           what happens
    alive                 intent, unknown       adopted
    alive                 live                  metered; thresholds, deadline and stop requests are acted on
    alive, another id     live                  the recorded one stays, the other is ended
    ended                 open                  finished: end recorded, metered, settled
    nothing               intent, unknown       finished where tokens last; else void once its time has surely passed
    nothing               live                  asked for by id; gone twice in complete listings means ended
    alive                 closed, or none       an orphan: marked at the first sight, ended at a later one
    listing incomplete    anything              nothing is concluded from what is not in it

Where a cloud forgets its ended machines, an attempt of which nothing is seen may have had one all the same: the attempt
is void, and its money stays held until the bill can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from ..errors import NoMatchingOffer, OutcomeUnknown, ProviderError, Refusal
from ..ids import ProcessIdentity
from ..ledger.book import Book
from ..money import Money
from ..pricing.estimate import Estimate
from ..providers.base import Launch, Listing, MachineState, Provider, SupportsCheckpointRequest
from ..times import Clock, instant
from .agent import Report
from .job import Attempt, AttemptState, CostState, Job, JobState, JobStore, may_be_taken
from .launch import LEASE_SECONDS, Launcher
from .milestones import Milestone, Passing, pass_by
from .thresholds import DEFAULT, Action, Threshold, admits_another_attempt, due

GRACE = timedelta(seconds=60)
"""How long a machine may be missing from listings, or look like an orphan, before that counts."""

NEVER_SEEN = "never_seen"
"""How the end of an attempt is known whose machine, if there was one, lived and ended while nobody looked."""

NEWBORN = timedelta(minutes=15)
"""How long after its launch a machine that is nowhere to be seen means nothing: clouds show late what they have made."""

ORPHAN_KILLS_MIN = 3
ORPHAN_KILLS_SHARE = 5
"""At most three orphans, or one in five of all machines seen, are ended in one pass. More than that looks like our
own mistake: a restored old database makes every machine an orphan. Then a person has to look."""


class Reports(Protocol):
    """Where the machines' own reports are found."""

    def report(self, job: Job, attempt: Attempt) -> Report | None: ...


@dataclass(slots=True)
class ReconcileReport:
    """What one pass saw and did, one line each."""

    seen: int = 0
    actions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    open_attempts: int = 0

    def did(self, line: str) -> None:
        self.actions.append(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPolicy:
    """``attempts_max``: how many machines one job may use up, the first included."""

    thresholds: tuple[Threshold, ...] = DEFAULT
    attempts_max: int = 3


class Watcher:
    """Reconciles one installation's jobs with its providers."""

    def __init__(
        self,
        *,
        launcher: Launcher,
        store: JobStore,
        book: Book,
        transaction: Callable[[], AbstractContextManager[None]],
        providers: Callable[[str], Provider],
        reports: Reports,
        reestimate: Callable[[Job, Attempt, Money], Estimate],
        clock: Clock,
        process: ProcessIdentity,
        install_id: str,
        policy: WatchPolicy,
        passing: Passing = pass_by,
    ) -> None:
        self._launcher = launcher
        self._store = store
        self._book = book
        self._transaction = transaction
        self._providers = providers
        self._reports = reports
        self._reestimate = reestimate
        self._clock = clock
        self._process = process
        self._install_id = install_id
        self._policy = policy
        self._passing = passing

    def reconcile(self, provider_names: Iterable[str]) -> ReconcileReport:
        """One pass over the named providers. A provider that fails is reported and does not stop the others."""
        report = ReconcileReport()
        for name in provider_names:
            try:
                provider = self._providers(name)
            except ProviderError as error:
                report.problems.append(f"{name}: {error.message}")
                continue
            self._reconcile_provider(provider, report)
        report.open_attempts = self._store.count_open_attempts()
        return report

    def _reconcile_provider(self, provider: Provider, report: ReconcileReport) -> None:
        listing = provider.describe()
        if not listing.complete:
            report.problems.append(f"{provider.name}: the listing is incomplete ({listing.problem})")
        report.seen += len(listing.launches)
        by_token = listing.by_token()
        for attempt in self._store.open_attempts(provider.name):
            leased = self._lease(attempt)
            if leased is None:
                continue
            try:
                self._bring_together(provider, listing, leased, by_token.get(attempt.token, []), report)
            except (ProviderError, NoMatchingOffer) as error:
                report.problems.append(f"job {attempt.job_id}: {error.message}")
        self._sweep(provider, listing, report)

    # --- one attempt

    def _bring_together(
        self, provider: Provider, listing: Listing, attempt: Attempt, found: Sequence[Launch], report: ReconcileReport
    ) -> None:
        job = self._store.get(attempt.job_id)
        if attempt.state in (AttemptState.INTENT, AttemptState.UNKNOWN):
            if not found:
                self._without_machine(provider, listing, job, attempt, report)
                return
            launch = min(found, key=lambda each: each.launched_at)
            job = self._launcher.record_live(job, attempt, launch)
            report.did(f"job {job.id}: adopted {launch.id}")
            adopted = self._reread(attempt)  # whoever recorded it gave the lease back
            leased = self._lease(adopted) if adopted.state.is_open else None
            if leased is None:
                return
            attempt = leased
        for extra in found:
            if extra.id != attempt.machine_id and extra.state is not MachineState.ENDED:
                self._terminate(provider, extra.id, job, "a second machine of the same attempt", report)
        launch_found = next((each for each in found if each.id == attempt.machine_id), None)
        if launch_found is None:
            self._missing(provider, listing, job, attempt, report)
        elif launch_found.state is MachineState.ENDED:
            self._finish(job, attempt, launch_found, report, terms_of=provider)
        else:
            self._keep(provider, job, attempt, launch_found, report)

    def _without_machine(
        self, provider: Provider, listing: Listing, job: Job, attempt: Attempt, report: ReconcileReport
    ) -> None:
        """An intent that shows no machine: finish what was begun where that is safe, else wait until it is void."""
        now = self._clock.now()
        if provider.terms.token_lasts and now < attempt.not_after:
            self._launcher.carry_out(job, attempt)
            report.did(f"job {job.id}: launched again under the same token")
        elif listing.complete and listing.began_at > _last_birth(provider, attempt) + GRACE:
            certain = provider.terms.remembers_ended
            void = replace(
                attempt,
                state=AttemptState.VOID,
                ended_at=None if certain else _last_birth(provider, attempt),
                end_source=None if certain else NEVER_SEEN,
                end_reason="no machine appeared",
                lease_owner=None,
                lease_until=None,
            )
            with self._transaction():
                if self._store.save_attempt(void, was=attempt):
                    self._launcher.end_unlaunched(job, "no machine had appeared when its time had passed")
            money = "its money is free again" if certain else "what one could have cost stays held until the bill is in"
            report.did(f"job {job.id}: no machine ever appeared, {money}")
        else:
            self._release_lease(attempt)

    def _missing(
        self, provider: Provider, listing: Listing, job: Job, attempt: Attempt, report: ReconcileReport
    ) -> None:
        """A machine on record that a listing does not show."""
        tells = listing.complete and listing.began_at >= self._surely_shown(provider, job, attempt)
        if not tells or attempt.machine_id is None:
            self._release_lease(attempt)
            return
        asked = provider.describe([attempt.machine_id])
        shown = next((each for each in asked.launches if each.id == attempt.machine_id), None)
        if shown is not None and shown.state is MachineState.ENDED:
            self._finish(job, attempt, shown, report, terms_of=provider)
            return
        if shown is not None or not asked.complete:
            self._release_lease(attempt)
            return
        since = attempt.missing_since or asked.began_at  # when the listing was begun it may still have been there
        if attempt.missing_since is None or listing.began_at < since + GRACE:
            marked = replace(attempt, missing_since=since, lease_owner=None, lease_until=None)
            self._store.save_attempt(marked, was=attempt)
            report.did(f"job {job.id}: {attempt.machine_id} is missing; looking again later")
            return
        gone = Launch(
            id=attempt.machine_id,
            provider=provider.name,
            token=attempt.token,
            state=MachineState.ENDED,
            region=attempt.offer.region,
            zone=attempt.offer.zone,
            instance_type=attempt.offer.instance_type,
            launched_at=attempt.launched_at or attempt.created_at,
            started_at=attempt.started_at,
            ended_at=since,
            end_source="last_seen",
            end_reason="the provider no longer knows the machine",
        )
        self._finish(job, attempt, gone, report, terms_of=provider)

    def _surely_shown(self, provider: Provider, job: Job, attempt: Attempt) -> datetime:
        """From when on a machine that is not shown is gone: not while it is so young that it may not be shown yet,
        unless its own report says that it has ended."""
        shown = (attempt.launched_at or attempt.created_at) + NEWBORN
        said = self._reports.report(job, attempt)
        if said is None or said.ended_at is None:
            return shown
        return min(shown, said.ended_at + timedelta(seconds=provider.terms.kill_seconds))

    def _keep(self, provider: Provider, job: Job, attempt: Attempt, launch: Launch, report: ReconcileReport) -> None:
        """Meter a machine that runs, and act on its deadline, its stop request and its thresholds."""
        now = self._clock.now()
        launched_at = attempt.launched_at or launch.launched_at
        seconds = provider.terms.billed_seconds(max(0, int((now - launched_at).total_seconds())))
        cost = attempt.offer.hourly_price.for_seconds(seconds)
        before = self._launcher.metered(job.id, cost.currency) - attempt.metered_cost
        reached = due(
            self._policy.thresholds, metered=before + cost, hold=job.hold, done_percent=attempt.warned_percent
        )
        why = self._reason_to_stop(job, attempt, reached, now)
        stopping = why is not None or attempt.state is AttemptState.TERMINATING
        metered = replace(
            attempt,
            state=AttemptState.TERMINATING if stopping else AttemptState.LIVE,
            started_at=attempt.started_at or launch.started_at,
            public_address=launch.public_address or attempt.public_address,
            metered_seconds=seconds,
            metered_cost=cost,
            missing_since=None,
            warned_percent=max([attempt.warned_percent, *(each.percent for each in reached)]),
            lease_owner=None,
            lease_until=None,
        )
        running = launch.state is MachineState.RUNNING and metered.started_at is not None
        state = JobState.RUNNING if running and job.state in (JobState.LAUNCHING, JobState.LAUNCHED) else job.state
        with self._transaction():
            if not self._store.save_attempt(metered, was=attempt):
                return
            started_at = job.started_at or metered.started_at
            self._store.save_job(
                replace(job, state=state, started_at=started_at, metered_cost=before + cost, updated_at=now), was=job
            )
            for each in reached:
                self._store.event(
                    job.id, each.action, f"{each.percent}% of ${job.hold.shown(4)} held has been used", at=now
                )
        for each in reached:
            report.did(f"job {job.id}: {each.percent}% of its hold used ({each.action})")
            if each.action is Action.CHECKPOINT and isinstance(provider, SupportsCheckpointRequest):
                provider.request_checkpoint(launch.id)
        if stopping:
            self._passing(Milestone.TERMINATE_CALLED)
            self._terminate(provider, launch.id, job, why or "its end was already asked for", report)
            self._passing(Milestone.TERMINATE_ANSWERED)

    def _reason_to_stop(self, job: Job, attempt: Attempt, reached: Sequence[Threshold], now: datetime) -> str | None:
        if job.stop_requested_at is not None:
            return job.stop_reason or "asked to end"
        if now >= attempt.not_after:
            return "its deadline has passed"
        if any(each.action is Action.STOP for each in reached):
            return "its hold is used up"
        return None

    # --- the end of an attempt

    def _finish(
        self, job: Job, attempt: Attempt, launch: Launch, report: ReconcileReport, *, terms_of: Provider
    ) -> None:
        """Record an observed end, meter it, and settle; or launch an interrupted job again inside its hold."""
        self._passing(Milestone.END_OBSERVED)
        now = self._clock.now()
        launched_at = attempt.launched_at or launch.launched_at
        ended_at = max(launch.ended_at or now, launched_at)
        lived = -((launched_at - ended_at) // timedelta(seconds=1))
        seconds = terms_of.terms.billed_seconds(lived)
        cost = attempt.offer.hourly_price.for_seconds(seconds)
        metered = self._launcher.metered(job.id, cost.currency) - attempt.metered_cost + cost
        said = self._reports.report(job, attempt)
        exit_status = launch.exit_status if said is None else said.exit_status
        state, reason = _outcome(job, attempt, launch, said, exit_status)
        ended = replace(
            attempt,
            state=AttemptState.ENDED,
            started_at=attempt.started_at or launch.started_at,
            ended_at=ended_at,
            end_source=launch.end_source or "provider",
            end_reason=reason,
            exit_status=exit_status,
            metered_seconds=seconds,
            metered_cost=cost,
            missing_since=None,
            lease_owner=None,
            lease_until=None,
        )
        again = self._again(job, ended, metered) if state is JobState.INTERRUPTED else None
        if state is JobState.INTERRUPTED and again is None:
            state = JobState.FAILED
        finished = replace(
            job,
            state=state,
            metered_cost=metered,
            started_at=job.started_at or ended.started_at,
            updated_at=now,
            exit_status=exit_status,
            reason=reason,
        )
        if again is None:
            finished = replace(finished, cost_state=CostState.METERED, ended_at=ended_at)
        following: Attempt | None = None
        with self._transaction():
            if not self._store.save_attempt(ended, was=attempt):
                return
            self._store.event(job.id, state, reason, at=now)
            self._passing(Milestone.END_WRITTEN)
            if again is None:
                self._launcher.settle_ended(job, metered)
            else:
                self._book.settle(job_id=job.id, target=metered, final=False)
            self._store.save_job(finished, was=job)
            if again is not None:
                following = self._relaunch(finished, again, number=attempt.number + 1, now=now)
            self._passing(Milestone.SETTLEMENT_WRITTEN)
        self._passing(Milestone.END_COMMITTED)
        report.did(f"job {job.id}: {state}, {reason}; metered ${metered.shown(4)}")
        if following is not None:
            self._launcher.carry_out(self._store.get(job.id), following)
            report.did(f"job {job.id}: launched again as attempt {following.number}")

    def _relaunch(self, job: Job, again: Estimate, *, number: int, now: datetime) -> Attempt | None:
        """The next attempt of an interrupted job, or its end when somebody has asked for that in the meantime."""
        if not self._launcher.is_wanted(job.id):
            self._launcher.end_unlaunched(self._store.get(job.id), "asked to end")
            return None
        relaunched = replace(job, state=JobState.LAUNCHING, offer=again.offer, exit_status=None, updated_at=now)
        self._store.save_job(relaunched, was=job)
        return self._launcher.requeue(relaunched, again, number=number)

    def _again(self, job: Job, attempt: Attempt, metered: Money) -> Estimate | None:
        """The next attempt's bounds inside what the bills of all attempts so far leave of the hold at the worst, or None
        when there shall be none. ``attempt`` is the one that has just ended."""
        if job.stop_requested_at is not None or attempt.number >= self._policy.attempts_max:
            return None
        if not admits_another_attempt(self._policy.thresholds, metered=metered, hold=job.hold):
            return None
        others = [each for each in self._store.attempts(job.id) if each.id != attempt.id]
        try:
            return self._reestimate(job, attempt, job.hold - self._launcher.most(job, [*others, attempt]))
        except Refusal:
            return None

    # --- orphans

    def _sweep(self, provider: Provider, listing: Listing, report: ReconcileReport) -> None:
        """End machines of ours that no open attempt stands for: seen twice, old enough, and never many at once."""
        now = self._clock.now()
        alive = [each for each in listing.launches if each.state is not MachineState.ENDED]
        kills_left = max(ORPHAN_KILLS_MIN, len(alive) // ORPHAN_KILLS_SHARE)
        for launch in alive:
            if launch.tags.get("tallygate-install") != self._install_id:
                continue
            attempt = self._store.attempt_with(launch.token)
            if attempt is not None and attempt.state.is_open:
                continue
            if attempt is None and not _is_overdue(launch, now):
                report.problems.append(f"{launch.id} carries our tags, but its token {launch.token} is not on record")
                continue
            first_seen = self._store.sight_orphan(provider.name, launch.id, launch.token, at=now)
            if now - first_seen < GRACE or now - launch.launched_at < GRACE:
                report.did(
                    f"{launch.id}: an orphan, marked; it is ended when it is still there after {GRACE.seconds} s"
                )
                continue
            if not kills_left:
                report.problems.append(f"{launch.id} is an orphan, but too many were ended in this pass already")
                continue
            kills_left -= 1
            try:
                provider.terminate(launch.id)
            except ProviderError as error:
                report.problems.append(f"{launch.id} is an orphan and could not be told to end: {error.message}")
                continue
            self._store.swept(provider.name, launch.id, at=now)
            report.did(f"{launch.id}: an orphan, told to end")

    # --- inside

    def _terminate(self, provider: Provider, machine_id: str, job: Job, why: str, report: ReconcileReport) -> None:
        provider.terminate(machine_id)
        report.did(f"job {job.id}: {machine_id} told to end, {why}")

    def _lease(self, attempt: Attempt) -> Attempt | None:
        now = self._clock.now()
        if not may_be_taken(attempt, self._process, now):
            return None
        until = now + timedelta(seconds=LEASE_SECONDS)
        return self._store.lease(attempt, owner=self._process.name, until=until, now=now)

    def _release_lease(self, attempt: Attempt) -> None:
        self._store.save_attempt(replace(attempt, lease_owner=None, lease_until=None), was=attempt)

    def _reread(self, attempt: Attempt) -> Attempt:
        current = self._store.attempt_with(attempt.token)
        if current is None:
            raise OutcomeUnknown(f"Attempt {attempt.token} has vanished from the database")
        return current


def _outcome(
    job: Job, attempt: Attempt, launch: Launch, said: Report | None, exit_status: int | None
) -> tuple[JobState, str]:
    """How a job stands after its machine's observed end, and why."""
    if said is not None and said.reason == "finished":
        if exit_status == 0:
            return JobState.COMPLETED, "the command exited with 0"
        return JobState.FAILED, f"the command exited with {exit_status}"
    if job.stop_requested_at is not None:
        return JobState.TERMINATED, job.stop_reason or "asked to end"
    reason = launch.end_reason if said is None else said.reason
    if reason == "deadline" or (launch.ended_at is not None and launch.ended_at >= attempt.not_after):
        return JobState.TERMINATED, "its deadline was reached"
    if attempt.state is AttemptState.TERMINATING:
        return JobState.TERMINATED, "its hold was used up"
    if said is not None and said.reason not in ("interrupted", "stopped"):
        return JobState.FAILED, f"the machine could not run it ({said.reason}): {said.detail}"
    return JobState.INTERRUPTED, launch.end_reason or "the machine went away"


def _last_birth(provider: Provider, attempt: Attempt) -> datetime:
    """Until when an attempt that shows no machine may still have one: a request can be carried out late, and a cloud shows
    late what it has made. Not where a listing shows every machine there ever was."""
    return attempt.worst_case_end + (timedelta() if provider.terms.remembers_ended else NEWBORN)


def _is_overdue(launch: Launch, now: datetime) -> bool:
    tagged = launch.tags.get("tallygate-not-after")
    return tagged is not None and now > instant(tagged) + GRACE
