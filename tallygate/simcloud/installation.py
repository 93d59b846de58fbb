"""One installation inside a simulated world: the product's own classes, wired for one process as ``app`` wires them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ..billing.collect import Collector
from ..billing.snapshots import Snapshots
from ..errors import Conflict, CredentialsMissing, TransitionRefused, Unavailable, UsageError
from ..ids import new_id
from ..jobs import agent, extend
from ..jobs.job import Attempt, Job, JobSpec
from ..jobs.launch import Application, Launcher
from ..jobs.milestones import Milestone
from ..jobs.plan import Defaults, Planner
from ..jobs.staging import Manifest
from ..jobs.submission import Submission, digest
from ..jobs.watch import ReconcileReport, Watcher, WatchPolicy
from ..ledger.book import Book
from ..money import Money
from ..pricing.estimate import Estimate, Policy, within
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest
from ..pricing.terms import Terms
from ..providers.base import Provider
from ..store.charges import ChargeRepository
from ..store.database import Database
from ..store.jobs import JobRepository
from ..store.journal import JournalStore
from .bills import SimBill
from .dialects import DIALECTS
from .invariants import Invariants
from .processes import Process, Session
from .provider import sim_provider
from .timeline import SECOND
from .workload import ASK_TAG, Ask
from .world import World

if TYPE_CHECKING:
    from ..ids import Entropy

ACCOUNT = "main"
PROVIDERS = tuple(DIALECTS)


class Installation:
    """What all processes of one installation share: a store, an id, and the clouds it uses."""

    def __init__(self, world: World, database: Database, *, install_id: str, folder: Path, strict: bool) -> None:
        self.world = world
        self.database = database
        self.install_id = install_id
        self.folder = folder
        self.bills = {name: SimBill(world, name, account=ACCOUNT, name=name) for name in PROVIDERS}
        self.invariants = Invariants(world, database, install_id=install_id, account=ACCOUNT, strict=strict)

    def desk(self, process: Process) -> Desk:
        """Everything that one process works with."""
        return Desk(self, process)


class Desk:
    """The product as one process sees it. The names of the acts are those of ``App``."""

    def __init__(self, installation: Installation, process: Process) -> None:
        world = installation.world
        self._installation = installation
        self._world = world
        self._process = process
        self._session = Session(installation.database, process)
        self._entropy: Entropy = world.entropy(process.name)
        self.jobs = JobRepository(self._session)
        self.book = Book(JournalStore(self._session), clock=process, entropy=self._entropy)
        self._providers: dict[str, Provider] = {}
        self.launcher = Launcher(
            store=self.jobs,
            book=self.book,
            transaction=self._session.transaction,
            providers=self.provider,
            clock=process,
            entropy=self._entropy,
            process=process,
            install_id=installation.install_id,
            agent_settings=agent.Settings(),
            passing=process.passing,
        )

    # --- the world outside

    def provider(self, name: str) -> Provider:
        found = self._providers.get(name)
        if found is None:
            plain = sim_provider(
                self._world,
                name,
                install_id=self._installation.install_id,
                account=ACCOUNT,
                name=name,
                waiting=self._waiting,
                intents=self._is_intended,
                in_transaction=lambda: self._session.in_transaction,
            )
            found = self._providers[name] = self._installation.invariants.watched(self._process, plain)
        return found

    def _waiting(self, seconds: float) -> None:
        """The time a call takes: others run meanwhile, and whoever called may not live to hear the answer."""
        self._process.family.wait(self._process, int(seconds * SECOND), "call")
        self._process.reach("call")

    def _is_intended(self, token: str) -> bool:
        row = self._installation.database.one("jobs.attempt_with", token=token)
        return row is not None and row["state"] == "intent"

    def terms(self, provider: str) -> Terms:
        return DIALECTS[provider].terms

    # --- what people do

    def planner(self) -> Planner:
        return Planner(
            clock=self._process,
            policy=Policy(),
            defaults=Defaults(budget=None, estimated_runtime_hours=Decimal(2), charge_to=None),
            offers=self._offers,
            terms_of=self.terms,
            applying=self.book.applying,
            account=lambda budget: self.book.account(budget, self._process.now()),
            inspect=_nothing_to_stage,
        )

    def submit(self, submission: Submission) -> Job:
        """Plan, hold, launch; a repeated key answers with the job it made the first time."""
        asked = digest(submission)
        if submission.key is not None:
            earlier = self.asked_before(submission.key, asked)
            if earlier is not None:
                return earlier
        plan = self.planner().plan(submission)
        self._process.passing(Milestone.STAGED)
        job_id = new_id(self._process, self._entropy)
        application = Application(
            name=submission.name,
            spec=JobSpec(
                command=plan.command,
                inputs="file:///inputs.tar.gz",
                inputs_digest="0" * 64,
                outputs=f"file:///jobs/{job_id}",
                disk_gib=submission.request.disk_gib,
            ),
            estimates=plan.estimates,
            budgets=plan.budgets,
            charged_to=plan.charged_to,
            tags=submission.tags,
            metadata=submission.metadata,
            request_key=submission.key,
            request_digest=asked if submission.key is not None else None,
        )
        try:
            return self.launcher.submit(application, job_id=job_id)
        except Conflict:
            earlier = None if submission.key is None else self.asked_before(submission.key, asked)
            if earlier is None:
                raise
            return earlier  # the same request, sent twice at once

    def asked_before(self, key: str, asked: str) -> Job | None:
        found = self.jobs.by_request(key)
        if found is None:
            return None
        job, known = found
        if known != asked:
            raise UsageError(f"The key {key!r} already belongs to job {job.id}, which was asked for differently")
        return job

    def terminate(self, job_id: str, *, reason: str) -> None:
        """Put the wish on record; the next pass of a watcher acts on it."""
        job = self.jobs.get(job_id)
        if job.state.is_over:
            return
        with self._session.transaction():
            if self.jobs.request_stop(job.id, reason=reason, at=self._process.now()):
                self.jobs.event(job.id, "stop_requested", reason, at=self._process.now())
        self._process.passing(Milestone.STOP_COMMITTED)

    def extend(self, job_id: str, *, hours: Decimal, key: str) -> Job:
        job = self.jobs.get(job_id)
        attempts = [each for each in self.jobs.attempts(job.id) if each.state == "live"]
        if not attempts:
            raise TransitionRefused(f"Job {job.id} is {job.state}; only a job whose machine runs can be extended")
        attempt = attempts[-1]
        return extend.extend(
            job,
            attempt,
            hours=hours,
            key=key,
            terms=self.terms(attempt.offer.provider),
            provider=self.provider(attempt.offer.provider),
            store=self.jobs,
            book=self.book,
            transaction=self._session.transaction,
            clock=self._process,
            process=self._process,
        )

    # --- what goes on by itself

    def watcher(self) -> Watcher:
        return Watcher(
            launcher=self.launcher,
            store=self.jobs,
            book=self.book,
            transaction=self._session.transaction,
            providers=self.provider,
            reports=self._world.reports,
            reestimate=self._reestimate,
            clock=self._process,
            process=self._process,
            install_id=self._installation.install_id,
            policy=WatchPolicy(),
            passing=self._process.passing,
        )

    def reconcile(self, providers: Iterable[str] = PROVIDERS) -> ReconcileReport:
        """One pass over every provider."""
        return self.watcher().reconcile(providers)

    def collector(self) -> Collector:
        return Collector(
            store=ChargeRepository(self._session),
            sources=self._installation.bills,
            snapshots=Snapshots(self._installation.folder / "charges", self._entropy),
            book=self.book,
            clock=self._process,
            entropy=self._entropy,
        )

    # --- inside

    def _reestimate(self, job: Job, attempt: Attempt, remaining: Money) -> Estimate:
        return within(
            attempt.offer,
            self.terms(attempt.offer.provider),
            budget=remaining,
            run_seconds_max=job.run_seconds_max,
            disk_gib=job.spec.disk_gib,
        )

    def _offers(self, request: ResourceRequest) -> tuple[list[Offer], list[str]]:
        names = PROVIDERS if request.provider is None else (request.provider,)
        offers: list[Offer] = []
        problems: list[str] = []
        for name in names:
            try:
                offers += self.provider(name).offers(request)
            except (Unavailable, CredentialsMissing) as error:
                if request.provider is not None:
                    raise
                problems.append(error.message)
        return offers, problems


def submission(ask: Ask, *, metadata: Mapping[str, str] | None = None) -> Submission:
    """An ask in the words of the command line."""
    options = PurchaseOption.ON_DEMAND if ask.on_demand else PurchaseOption.SPOT
    return Submission(
        directory=Path("/work"),
        name=f"{ask.user}-{ask.number}",
        command="./run.sh",
        request=ResourceRequest(
            vcpus_min=ask.vcpus_min,
            provider=ask.provider,
            disk_gib=ask.disk_gib,
            purchase_options=frozenset({options}),
        ),
        estimated_runtime_hours=ask.hours,
        run_seconds_max=ask.run_seconds_max,
        budget=ask.budget,
        charge_to=ask.charge_to,
        tags={ASK_TAG: str(ask.number)},
        metadata=dict(metadata or {}),
        key=ask.key,
    )


def _nothing_to_stage(directory: Path, exclude: Iterable[str]) -> Manifest:
    return Manifest(directory=directory, entries=(), skipped=(), size_bytes=0)
