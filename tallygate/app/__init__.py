"""The wiring: configuration in, one object out that does everything a door can ask for.

The only module that knows all others. Each room is imported when it is first needed, because most commands need few
of them and a command that needs no cloud shall answer in a blink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..config import Config
from ..errors import NoMatchingOffer, TransitionRefused, UsageError
from ..ids import Entropy, ProcessIdentity, SystemEntropy, SystemProcess, new_id
from ..store.database import Database
from ..times import Clock, SystemClock

if TYPE_CHECKING:
    from decimal import Decimal

    from ..billing.collect import Collector, CollectReport
    from ..billing.snapshots import Snapshots
    from ..billing.source import BillingSource
    from ..jobs.job import Attempt, Job
    from ..jobs.launch import Launcher
    from ..jobs.milestones import Milestone, Passing
    from ..jobs.plan import Planner
    from ..jobs.planned import Plans
    from ..jobs.results import LogReader
    from ..jobs.staging import Limits
    from ..jobs.submission import Plan, Submission
    from ..jobs.watch import ReconcileReport, Watcher
    from ..ledger.book import Book
    from ..money import Money
    from ..objectstore.base import ObjectStore
    from ..pricing.catalog import Catalog
    from ..pricing.estimate import Estimate, Policy
    from ..pricing.offers import Offer, ResourceRequest
    from ..pricing.paths import PricePath
    from ..pricing.terms import Terms
    from ..providers.base import Provider
    from ..store.charges import ChargeRepository
    from ..store.jobs import JobRepository

Say = Callable[[str], None]
"""Where progress is told, a line at a time."""


def silence(line: str) -> None:
    """A ``Say`` for when nobody listens."""


class App:
    """One installation: its store, its providers, its ledger. A context manager; not shared between threads.

    ``catalog`` opens the catalogue of offers, if there is one; ``prices`` knows what the price of an offer's pool did. Both are
    wired in ``app.market``, which needs no store.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        process: ProcessIdentity | None = None,
        passing: Passing | None = None,
        catalog: Callable[[], Catalog | None] = lambda: None,
        prices: Callable[[Offer], PricePath | None] = lambda offer: None,
    ) -> None:
        self.config = config
        self.database = database
        self.clock = clock or SystemClock()
        self.entropy = entropy or SystemEntropy()
        self._process = process
        self._passing = passing
        self._open_catalog = catalog
        self._past_prices = prices

    @classmethod
    def open(cls, config: Config, *, readonly: bool = False, passing: Passing | None = None) -> Self:
        """Open the store of ``config``, made and migrated first unless ``readonly``.

        Read-only, a missing database is an empty one and no file is created.
        """
        from ..store.migrate import open_store
        from . import market

        clock = SystemClock()
        database = open_store(
            config.database,
            clock=clock,
            create=not readonly,
            busy_seconds=float(config.store.busy_seconds),
            allow_network_files=config.store.allow_network_files,
        )
        return cls(
            config,
            database,
            clock=clock,
            passing=passing,
            catalog=lambda: market.open_catalog(config),
            prices=market.past_prices(config, clock),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    # --- rooms, each opened when first needed

    @cached_property
    def jobs(self) -> JobRepository:
        from ..store.jobs import JobRepository

        return JobRepository(self.database)

    @cached_property
    def book(self) -> Book:
        from ..ledger.book import Book
        from ..store.journal import JournalStore

        return Book(JournalStore(self.database), clock=self.clock, entropy=self.entropy)

    @cached_property
    def charges(self) -> ChargeRepository:
        from ..store.charges import ChargeRepository

        return ChargeRepository(self.database)

    @cached_property
    def process(self) -> ProcessIdentity:
        return self._process or SystemProcess()

    @cached_property
    def install_id(self) -> str:
        from ..store.migrate import install_id

        return install_id(self.database, self.clock, self.entropy)

    @cached_property
    def state_directory(self) -> Path:
        """Where objects, machines and bills lie: beside the database unless configured."""
        return Path(self.config.state_path).absolute()

    @cached_property
    def objects(self) -> ObjectStore:
        from ..objectstore.folder import FolderStore

        return FolderStore(self.state_directory / "objects")

    @cached_property
    def _providers(self) -> dict[str, Provider]:
        return {}

    def provider(self, name: str) -> Provider:
        """The provider of that name. ``UnknownProvider`` when there is none, or none this version can launch on."""
        found = self._providers.get(name)
        if found is None:
            found = self._providers[name] = self._open_provider(name)
        return found

    def _open_provider(self, name: str) -> Provider:
        from .. import providers

        providers.check(name)
        from .market import this_machine

        return this_machine(self.config, self.clock, lambda: self.install_id)

    def provider_names(self) -> list[str]:
        """Every provider that is set up or that ever made a machine for this installation."""
        enabled = ["local"] if self.config.local.enabled else []
        return sorted({*enabled, *self.jobs.used_providers()})

    def terms(self, provider: str) -> Terms:
        """The provider's terms, with the kill allowance of the configuration where one is set."""
        from dataclasses import replace

        from ..pricing.terms import PUBLISHED

        terms = PUBLISHED[provider] if provider in PUBLISHED else self.provider(provider).terms
        allowance = self.config.defaults.kill_allowance_seconds
        return terms if allowance is None else replace(terms, kill_seconds=allowance)

    # --- planning and launching

    def plan(self, submission: Submission, *, tentative: bool = False) -> Plan:
        """What a submission would launch and cost, or the refusal it would meet. Touches nothing.

        ``tentative``: prices that a launch would refuse for their age or standing serve, and the plan says so.
        """
        return self._planner.plan(self._with_price_list(submission), tentative=tentative)

    def submit(self, submission: Submission, *, say: Say = silence) -> Job:
        """Plan, stage, hold, launch. The job is live when this returns.

        A repeated ``key`` answers with the job it made the first time, and is refused when it asks for something else.
        """
        from ..jobs.milestones import Milestone
        from ..jobs.plan import kept_of
        from ..jobs.planned import application
        from ..jobs.staging import stage
        from ..jobs.submission import digest

        asked = digest(submission)
        if submission.key is not None:
            earlier = self._asked_before(submission.key, asked)
            if earlier is not None:
                say(f"Job {earlier.id} was already submitted under this key")
                return earlier
        self._launchable_if_named(submission)
        plan = self.plan(submission)
        self.provider(plan.best.offer.provider)  # before anything is staged: is there anybody to launch?
        say(f"Staging {plan.files} files")
        staged = stage(submission.directory, submission.exclude, self.objects, limits=self._staging_limits)
        self._pass(Milestone.STAGED)
        job_id = new_id(self.clock, self.entropy)
        wanted = application(
            submission,
            command=plan.command,
            environment=submission.environment,
            staged=staged,
            outputs=self.objects.url(f"jobs/{job_id}"),
            estimates=plan.estimates,
            budgets=plan.budgets,
            charged_to=plan.charged_to,
            kept=kept_of(plan),
            request=None if submission.key is None else (submission.key, asked),
        )
        say(f"Holding ${plan.best.worst_case.shown(4)} and launching {plan.best.offer}")
        return self.launcher.submit(wanted, job_id=job_id)

    def write_plan(self, submission: Submission, path: Path, *, hours: Decimal) -> Plan:
        """Plan, and write the plan to a new file from which it can be launched as it is within ``hours``."""
        plan = self.plan(submission)
        self._plans.write(plan, path, lasts=timedelta(seconds=int(hours * 3600)))
        return plan

    def launch_plan(self, path: Path, environment: Mapping[str, str], *, say: Say = silence) -> Job:
        """Launch exactly what a plan file says. A plan that was launched before answers with the job it made.

        ``environment`` gives the values that a plan keeps only digests of. Raises ``PlanRefused``, ``PriceRefused`` or
        ``BudgetExceeded`` with what differs.
        """
        return self._plans.launch(path, environment, say=say)

    @cached_property
    def _plans(self) -> Plans:
        from ..jobs.planned import Plans
        from ..store import migrate

        return Plans(
            planner=self._planner,
            jobs=self.jobs,
            launcher=lambda: self.launcher,
            provider=self.provider,
            objects=self.objects,
            limits=self._staging_limits,
            key=lambda: migrate.plan_key(self.database, self.clock, self.entropy),
            known_key=lambda: migrate.known_plan_key(self.database),
            install_id=lambda: self.install_id,
            new_job_id=lambda: new_id(self.clock, self.entropy),
            clock=self.clock,
            passing=self._pass,
        )

    def _asked_before(self, key: str, asked: str) -> Job | None:
        found = self.jobs.by_request(key)
        if found is None:
            return None
        job, digest = found
        if digest != asked:
            raise UsageError(
                f"The key {key!r} already belongs to job {job.id}, which was asked for differently",
                cure="Use a new key for a new job",
            )
        return job

    def _pass(self, milestone: Milestone) -> None:
        if self._passing is not None:
            self._passing(milestone)

    def _with_price_list(self, submission: Submission) -> Submission:
        """The documents' habit: a saved price list that is there is the list to choose from, unless this machine is meant."""
        path = Path(self.config.prices.file)
        if submission.price_list is not None or submission.request.provider == "local" or not path.is_file():
            return submission
        from dataclasses import replace

        return replace(submission, price_list=path)

    @cached_property
    def policy(self) -> Policy:
        """The gate's settings."""
        from ..pricing.estimate import Policy

        defaults = self.config.defaults
        return Policy(
            runtime_margin=defaults.runtime_margin,
            runtime_cover_min=defaults.runtime_cover_min,
            price_age_max=timedelta(seconds=int(self.config.prices.max_age_hours * 3600)),
        )

    @cached_property
    def _planner(self) -> Planner:
        from ..jobs import staging
        from ..jobs.plan import Defaults, Planner

        defaults = self.config.defaults
        return Planner(
            clock=self.clock,
            policy=self.policy,
            defaults=Defaults(
                budget=defaults.budget_limit,
                estimated_runtime_hours=defaults.estimated_runtime,
                charge_to=defaults.charge_to,
            ),
            offers=self._offers,
            terms_of=self.terms,
            applying=lambda charge_to: self.book.applying(charge_to),
            account=lambda budget: self.book.account(budget, self.clock.now()),
            inspect=lambda directory, exclude: staging.inspect(directory, exclude, limits=self._staging_limits),
            history=lambda name: self.jobs.history(name),
            catalog=self._open_catalog,
            launchable=lambda: ("local",) if self.config.local.enabled else (),
            prices=self._past_prices,
        )

    def _launchable_if_named(self, submission: Submission) -> None:
        """Whoever names a cloud that cannot be launched on hears that first, and not what is wrong with its prices."""
        named = submission.request.provider
        if named is not None and self._with_price_list(submission).price_list is None:
            self.provider(named)

    def _offers(self, request: ResourceRequest) -> tuple[list[Offer], list[str]]:
        """What every provider that is set up offers, and which of them could not be asked."""
        if request.provider is not None:
            return list(self.provider(request.provider).offers(request)), []
        if not self.config.local.enabled:
            raise NoMatchingOffer("No provider is set up", cure="Set local.enabled to true, or name a price list")
        return list(self.provider("local").offers(request)), []

    @cached_property
    def _staging_limits(self) -> Limits:
        from ..jobs.staging import Limits

        settings = self.config.staging
        return Limits(
            files=settings.files_max, size_bytes=settings.megabytes_max * 1_000_000, exclude=tuple(settings.exclude)
        )

    @cached_property
    def launcher(self) -> Launcher:
        from ..jobs import agent
        from ..jobs.launch import Launcher
        from ..jobs.milestones import pass_by

        return Launcher(
            store=self.jobs,
            book=self.book,
            transaction=self.database.transaction,
            providers=self.provider,
            clock=self.clock,
            entropy=self.entropy,
            process=self.process,
            install_id=self.install_id,
            agent_settings=agent.Settings(thresholds=tuple(self.config.watch.thresholds)),
            passing=self._passing or pass_by,
        )

    # --- watching

    @cached_property
    def _watcher(self) -> Watcher:
        from ..jobs.milestones import pass_by
        from ..jobs.results import Results
        from ..jobs.thresholds import graduated
        from ..jobs.watch import Watcher, WatchPolicy

        return Watcher(
            launcher=self.launcher,
            store=self.jobs,
            book=self.book,
            transaction=self.database.transaction,
            providers=self.provider,
            reports=Results(self.objects),
            reestimate=self._reestimate,
            clock=self.clock,
            process=self.process,
            install_id=self.install_id,
            policy=WatchPolicy(thresholds=graduated(self.config.watch.thresholds)),
            passing=self._passing or pass_by,
        )

    def reconcile(self) -> ReconcileReport:
        """One pass: compare every provider with the record, and bring the two together."""
        return self._watcher.reconcile(self.provider_names())

    def watch(self, *, interval: float | None = None, until_idle: bool = False, say: Say = silence) -> None:
        """Reconcile again and again, telling what was done; until nothing is open any more, when ``until_idle``."""
        pause = self.config.watch.interval_seconds if interval is None else interval
        while True:
            report = self.reconcile()
            for line in (*report.actions, *report.problems):
                say(line)
            if until_idle and report.open_attempts == 0:
                return
            self.clock.sleep(pause)

    def wait(self, job_id: str, *, interval: float = 0.5, on_log: Callable[[bytes], None] | None = None) -> Job:
        """Reconcile until the job is over, handing on what it prints; the job as it ended."""
        reader = self._logs(job_id)
        while True:
            job = self.jobs.get(job_id)
            if on_log is not None:
                for piece in reader.new():
                    on_log(piece)
            if job.state.is_over:
                return job
            self.reconcile()
            if not self.jobs.get(job_id).state.is_over:
                self.clock.sleep(interval)

    def terminate(self, reference: str, *, reason: str) -> Job:
        """Ask for a job's end. It is terminated once its machine's end has been observed; repeating it is harmless."""
        from ..jobs.milestones import Milestone

        job = self.jobs.find(reference)
        if job.state.is_over:
            return job
        with self.database.transaction():
            if self.jobs.request_stop(job.id, reason=reason, at=self.clock.now()):
                self.jobs.event(job.id, "stop_requested", reason, at=self.clock.now())
        self._pass(Milestone.STOP_COMMITTED)
        self.reconcile()
        return self.jobs.get(job.id)

    def extend(self, reference: str, *, hours: Decimal, key: str | None = None) -> Job:
        """Let a running job run longer: hold the further worst case first, then move the machine's own end.

        Raises ``BudgetExceeded`` when an account does not leave room, and ``TransitionRefused`` when nothing runs.
        """
        from ..jobs.extend import extend

        job = self.jobs.find(reference)
        attempt = self._running_attempt(job)
        return extend(
            job,
            attempt,
            hours=hours,
            key=key or new_id(self.clock, self.entropy),
            terms=self.terms(attempt.offer.provider),
            provider=self.provider(attempt.offer.provider),
            store=self.jobs,
            book=self.book,
            transaction=self.database.transaction,
            clock=self.clock,
            process=self.process,
        )

    def _running_attempt(self, job: Job) -> Attempt:
        attempts = [each for each in self.jobs.attempts(job.id) if each.state == "live"]
        if not attempts:
            raise TransitionRefused(f"Job {job.id} is {job.state}; only a job whose machine runs can be extended")
        return attempts[-1]

    def _reestimate(self, job: Job, attempt: Attempt, remaining: Money) -> Estimate:
        from ..pricing.estimate import within

        return within(
            attempt.offer,
            self.terms(attempt.offer.provider),
            budget=remaining,
            run_seconds_max=job.run_seconds_max,
            disk_gib=job.spec.disk_gib,
        )

    # --- results

    def fetch(self, reference: str, into: Path) -> list[Path]:
        """Bring a job's outputs back into ``into``; which files came."""
        from ..jobs.results import fetch

        job = self.jobs.find(reference)
        return fetch(self.objects, job, self.jobs.attempts(job.id), into)

    def logs(self, reference: str, *, follow: bool = False) -> Iterator[bytes]:
        """What a job printed, in pieces; with ``follow``, until it is over."""
        job = self.jobs.find(reference)
        reader = self._logs(job.id)
        while True:
            over = self.jobs.get(job.id).state.is_over
            yield from reader.new()
            if not follow or over:
                return
            self.reconcile()
            self.clock.sleep(0.5)

    def _logs(self, job_id: str) -> LogReader:
        from ..jobs.results import LogReader

        return LogReader(self.objects, self.jobs, job_id)

    def cleanup(self, *, days: int, dry_run: bool = False) -> list[Job]:
        """Take jobs that ended more than ``days`` ago out of the lists and drop their staged objects. Every cost row
        stays."""
        from ..jobs.results import discard

        now = self.clock.now()
        old = self.jobs.old(before=now - timedelta(days=days), most=10_000)
        if not dry_run:
            for job in old:
                discard(self.objects, job)
                self.jobs.archive(job.id, at=now)
        return old

    # --- bills

    def collect(
        self,
        *,
        job_ids: Sequence[str] | None = None,
        max_jobs: int = 10,
        days_back: int = 7,
        force: bool = False,
        accept: bool = False,
    ) -> CollectReport:
        """Ask the bills for the actual costs of jobs, and settle every job to what its bill says.

        ``force`` asks again for jobs whose cost is final, ``accept`` lets a bill count whose checks call it odd. What
        goes wrong with a bill is in the report.
        """
        return self._collector.retrieve(
            job_ids=job_ids, jobs_max=max_jobs, days_back=days_back, again=force, accept=accept
        )

    def state_cost(self, job_id: str, lines: Sequence[tuple[str, Money]]) -> Job:
        """Put on record what a job has cost, line by line, where nobody reads its provider's bill. The job as it is then.

        Stating it again replaces what was stated before. Raises ``UnknownJob``, and ``UsageError`` when the provider's own bill
        is read here.
        """
        from ..billing import stated
        from ..billing.collect import Delivery
        from ..billing.versions import current

        job = self.jobs.get(job_id)
        if job.offer.provider in self._billing_sources():
            raise UsageError(f"The bill of {job.offer.provider} is read here, so its costs cannot be stated by hand")
        period, now = stated.bill_period(job), self.clock.now()
        counting = current(self.charges.versions(stated.SOURCE, period))
        known = [] if counting is None else list(self._snapshots.read(counting))
        charges = stated.restated(known, job, lines, now=now)
        self._collector.deliver(
            Delivery(source=stated.SOURCE, period=period, charges=charges, issued_at=now, complete_through=now),
            accept=True,
        )
        return self.jobs.get(job_id)

    @cached_property
    def _snapshots(self) -> Snapshots:
        from ..billing.snapshots import Snapshots

        return Snapshots(self.state_directory / "charges", self.entropy)

    @cached_property
    def _collector(self) -> Collector:
        from ..billing.collect import Collector

        return Collector(
            store=self.charges,
            sources=self._billing_sources(),
            snapshots=self._snapshots,
            book=self.book,
            clock=self.clock,
            entropy=self.entropy,
        )

    def _billing_sources(self) -> dict[str, BillingSource]:
        """Where the bills of the providers are read that have one in this version."""
        from ..billing.local import LocalBill
        from ..providers.local import LocalProvider

        local = self.provider("local")
        assert isinstance(local, LocalProvider)
        delay = timedelta(seconds=int(self.config.local.bill_delay_hours * 3600))
        return {"local": LocalBill(local.meters, clock=self.clock, delay=delay)}
