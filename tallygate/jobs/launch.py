"""Launching: hold the money, write the intent, call the provider, record what happened.

    transaction 1   holds on every account, job, attempt, token and lease, or nothing
    no transaction  the create call, with the stored token
    transaction 2   under the attempt's fence: live, or void (certainly no machine), or unknown (the money stays held)

A process may die between any two lines here. Whatever it leaves behind is one of the attempt states that ``watch``
knows how to take further; nothing is guessed from an exception that is not a provider's own word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ..errors import LaunchRefused, NoMatchingOffer, OutcomeUnknown, UsageError
from ..ids import Entropy, ProcessIdentity, launch_token, new_id
from ..ledger.book import Book
from ..ledger.holds import Budget
from ..money import Money, total
from ..pricing.estimate import Estimate, most
from ..providers.base import Launch, LaunchOrder, MachineState, Provider
from ..times import Clock, text
from . import agent
from .job import Attempt, AttemptState, CostState, Job, JobSpec, JobState, JobStore
from .milestones import Milestone, Passing, pass_by

LEASE_SECONDS = 120
"""How long a launcher may take between writing its intent and its create call, and a watcher for one attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A job that has passed the gate and asks to be launched.

    ``estimates`` are the acceptable offers, best first; the first one's worst case is held. ``budgets`` are the named
    budgets it is charged to. ``request_key`` and ``request_digest`` make a repeated request find the first one's job.
    """

    name: str
    spec: JobSpec
    estimates: Sequence[Estimate]
    budgets: Sequence[Budget] = ()
    charged_to: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    request_key: str | None = None
    request_digest: str | None = None


class Launcher:
    """Carries out the launch protocol for one installation."""

    def __init__(
        self,
        *,
        store: JobStore,
        book: Book,
        transaction: Callable[[], AbstractContextManager[None]],
        providers: Callable[[str], Provider],
        clock: Clock,
        entropy: Entropy,
        process: ProcessIdentity,
        install_id: str,
        agent_settings: agent.Settings,
        passing: Passing = pass_by,
    ) -> None:
        self._store = store
        self._book = book
        self._transaction = transaction
        self._providers = providers
        self._clock = clock
        self._entropy = entropy
        self._process = process
        self._install_id = install_id
        self._agent_settings = agent_settings
        self._passing = passing

    # --- the three steps

    def submit(self, application: Application, *, job_id: str) -> Job:
        """Hold, write and launch. The job is live when this returns.

        Raises ``BudgetExceeded`` with nothing written; ``NoMatchingOffer`` when every offer was definitely refused
        (the job is kept as failed, its money is free again); ``OutcomeUnknown`` when nobody can say, with the money
        still held.
        """
        now = self._clock.now()
        best = application.estimates[0]
        job = self._job(application, job_id, best, now)
        attempt = self._attempt(job, best, number=1, now=now)
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
            self._store.event(job.id, "held", f"${job.hold.shown(4)} for at most {attempt.offer}", at=now)
            self._passing(Milestone.INTENT_WRITTEN)
        self._passing(Milestone.INTENT_COMMITTED)
        return self.carry_out(job, attempt, others=application.estimates[1:])

    def carry_out(self, job: Job, attempt: Attempt, *, others: Sequence[Estimate] = ()) -> Job:
        """Make the create call of a leased attempt in state ``intent`` and record the answer.

        ``watch`` comes here too, to finish what a dead launcher began, where the provider's tokens last.
        """
        while True:
            self._passing(Milestone.CREATE_CALLED)
            refusal = self._late(attempt)
            if refusal is None:
                try:
                    launch = self._providers(attempt.offer.provider).launch(self._order(job, attempt))
                except LaunchRefused as error:
                    refusal = error
                except OutcomeUnknown as error:
                    self._record_unknown(job, attempt, error)
                    raise
                else:
                    self._passing(Milestone.CREATE_ANSWERED)
                    return self.record_live(job, attempt, launch)
            following = self._record_refusal(job, attempt, refusal, others)
            if following is None:
                raise NoMatchingOffer(
                    f"No machine could be launched for job {job.id}: {refusal.message}", cure=refusal.cure
                )
            job, attempt, others = following

    def record_live(self, job: Job, attempt: Attempt, launch: Launch) -> Job:
        """Write that the attempt's machine exists. When somebody else has moved the attempt on, theirs stands."""
        now = self._clock.now()
        live = replace(
            attempt,
            state=AttemptState.LIVE,
            machine_id=launch.id,
            resource_ids=launch.resource_ids,
            public_address=launch.public_address,
            launched_at=launch.launched_at,
            started_at=launch.started_at,
            lease_owner=None,
            lease_until=None,
        )
        running = launch.state is MachineState.RUNNING and launch.started_at is not None
        with self._transaction():
            if self._store.save_attempt(live, was=attempt):
                self._store.save_job(
                    replace(
                        job,
                        state=JobState.RUNNING if running else JobState.LAUNCHED,
                        started_at=job.started_at or launch.started_at,
                        updated_at=now,
                    ),
                    was=job,
                )
                self._store.event(job.id, "launched", f"{launch.id} as {attempt.offer}", at=now)
            self._passing(Milestone.LIVE_WRITTEN)
        self._passing(Milestone.LIVE_COMMITTED)
        return self._store.get(job.id)

    def requeue(self, job: Job, estimate: Estimate, *, number: int) -> Attempt:
        """Write the intent of the next attempt of an interrupted job, inside what its holds still keep.

        Must be called inside the transaction that records the interruption; ``carry_out`` follows outside it.
        """
        now = self._clock.now()
        attempt = self._attempt(job, estimate, number=number, now=now)
        self._store.add_attempt(attempt)
        self._store.event(job.id, "requeued", f"attempt {number} on {attempt.offer}", at=now)
        return attempt

    # --- what was answered

    def _late(self, attempt: Attempt) -> LaunchRefused | None:
        """A launcher that was held up past its lease or the machine's end must not call any more.

        The last thing before the call. Clocks can be set back, so the store is asked as well: whoever has taken the
        attempt since has raised its fence.
        """
        current = self._store.attempt_with(attempt.token)
        now = self._clock.now()
        if (
            now >= attempt.not_after
            or (attempt.lease_until is not None and now >= attempt.lease_until)
            or current is None
            or current.fence != attempt.fence
        ):
            return LaunchRefused("This process was held up so long that the launch was no longer its own to make")
        return None

    def _record_unknown(self, job: Job, attempt: Attempt, error: OutcomeUnknown) -> None:
        now = self._clock.now()
        unknown = replace(attempt, state=AttemptState.UNKNOWN, lease_owner=None, lease_until=None)
        with self._transaction():
            if self._store.save_attempt(unknown, was=attempt):
                self._store.event(job.id, "unknown", f"{error.message}; ${job.hold.shown(4)} stay held", at=now)
        self._passing(Milestone.UNKNOWN_COMMITTED)

    def _record_refusal(
        self, job: Job, attempt: Attempt, refusal: LaunchRefused, others: Sequence[Estimate]
    ) -> tuple[Job, Attempt, Sequence[Estimate]] | None:
        """Void the attempt; then the next offer's intent, or the end of the job and all its money back."""
        now = self._clock.now()
        void = replace(attempt, state=AttemptState.VOID, end_reason=refusal.message, lease_owner=None, lease_until=None)
        following: tuple[Job, Attempt, Sequence[Estimate]] | None = None
        with self._transaction():
            if not self._store.save_attempt(void, was=attempt):
                raise OutcomeUnknown(f"Job {job.id} was taken over by another process while it was being launched")
            self._store.event(job.id, "refused", f"{attempt.offer}: {refusal.message}", at=now)
            fitting = [other for other in others if other.worst_case <= job.hold]
            if fitting:
                chosen, rest = fitting[0], fitting[1:]
                moved = replace(job, offer=chosen.offer, run_seconds_max=chosen.run_seconds_max, updated_at=now)
                self._store.save_job(moved, was=job)
                if self.is_wanted(job.id):
                    attempt = self._attempt(moved, chosen, number=attempt.number + 1, now=now)
                    self._store.add_attempt(attempt)
                    following = moved, attempt, rest
            if following is None:
                self.end_unlaunched(self._store.get(job.id), refusal.message)
            self._passing(Milestone.REFUSAL_WRITTEN)
        self._passing(Milestone.REFUSAL_COMMITTED)
        return following

    def is_wanted(self, job_id: str) -> bool:
        """Whether nobody has asked the job to end. Asked in a transaction that has written the job's row before, so that
        the answer stands until it commits: a job was read long ago when its launcher was held up since."""
        return self._store.get(job_id).stop_requested_at is None

    def end_unlaunched(self, job: Job, reason: str) -> None:
        """Close a job whose last attempt certainly has no machine: everything not yet spent is free again."""
        now = self._clock.now()
        metered = self.metered(job.id, job.hold.currency)
        self.settle_ended(job, metered)
        state = JobState.TERMINATED if job.stop_requested_at else JobState.FAILED
        ended = replace(
            job,
            state=state,
            cost_state=CostState.METERED,
            metered_cost=metered,
            ended_at=now,
            updated_at=now,
            reason=job.stop_reason or reason,
        )
        self._store.save_job(ended, was=job)
        self._store.event(job.id, state, reason, at=now)

    def settle_ended(self, job: Job, metered: Money) -> None:
        """Book what the ended attempts of a job were metered, and keep held what their bills may bring beyond that.

        A meter knows the price of the launch and the machine alone; the bill follows the price up to its ceiling and
        has disks and addresses on it. The rest goes back at once, what is kept when the bill is final.
        """
        kept = self.most(job, self._store.attempts(job.id)) - metered
        if kept.nanos <= 0:
            self._book.settle(job_id=job.id, target=metered, final=True)
            return
        self._book.settle(job_id=job.id, target=metered, final=False)
        self._book.trim(job_id=job.id, keep=kept)

    def most(self, job: Job, attempts: Iterable[Attempt]) -> Money:
        """The most that the ended ones of a job's ``attempts`` can be billed; zero when certainly none had a machine.

        An attempt that is void because nothing of it was ever seen may have had one, until its worst case's end.
        """
        return total((self._most(job, each) for each in attempts if each.ended_at is not None), job.hold.currency)

    def _most(self, job: Job, attempt: Attempt) -> Money:
        assert attempt.ended_at is not None
        lived = -(((attempt.launched_at or attempt.created_at) - attempt.ended_at) // timedelta(seconds=1))
        return most(
            attempt.offer,
            self._providers(attempt.offer.provider).terms,
            attempt.price_max,
            seconds=lived,
            disk_gib=job.spec.disk_gib,
            egress_gib=job.spec.egress_gib,
        )

    def metered(self, job_id: str, currency: str) -> Money:
        """What all attempts of a job have metered so far."""
        return total((attempt.metered_cost for attempt in self._store.attempts(job_id)), currency)

    # --- nouns

    def _job(self, application: Application, job_id: str, best: Estimate, now: datetime) -> Job:
        if len(application.name) > 63:
            raise UsageError(f"The job name {application.name[:70]!r} is longer than 63 characters")
        return Job(
            id=job_id,
            name=application.name,
            state=JobState.LAUNCHING,
            cost_state=CostState.ESTIMATED,
            spec=application.spec,
            offer=best.offer,
            estimated_runtime_seconds=best.estimated_seconds,
            run_seconds_max=best.run_seconds_max,
            budget_limit=best.budget,
            estimated_cost=best.expected,
            hold=best.worst_case,
            charged_to=application.charged_to,
            tags=application.tags,
            metadata=application.metadata,
            submitted_at=now,
            updated_at=now,
        )

    def _attempt(self, job: Job, estimate: Estimate, *, number: int, now: datetime) -> Attempt:
        return Attempt(
            id=new_id(self._clock, self._entropy),
            job_id=job.id,
            number=number,
            token=launch_token(self._install_id, job.id, number),
            state=AttemptState.INTENT,
            offer=estimate.offer,
            price_max=estimate.price_max,
            run_seconds_max=estimate.run_seconds_max,
            kill_seconds=estimate.kill_seconds,
            not_after=now + timedelta(seconds=estimate.run_seconds_max),
            created_at=now,
            metered_cost=Money.zero(estimate.price_max.currency),
            fence=1,
            lease_owner=self._process.name,
            lease_until=now + timedelta(seconds=LEASE_SECONDS),
        )

    def _order(self, job: Job, attempt: Attempt) -> LaunchOrder:
        return LaunchOrder(
            token=attempt.token,
            offer=attempt.offer,
            price_max=attempt.price_max,
            tags={
                **{f"user-{key}": value for key, value in job.tags.items()},
                "tallygate-install": self._install_id,
                "tallygate-job": job.id,
                "tallygate-attempt": str(attempt.number),
                "tallygate-token": attempt.token,
                "tallygate-not-after": text(attempt.not_after),
            },
            agent_script=agent.script(),
            agent_document=agent.document(job, attempt, self._agent_settings),
            run_seconds_max=attempt.run_seconds_max,
            not_after=attempt.not_after,
            disk_gib=job.spec.disk_gib,
        )
