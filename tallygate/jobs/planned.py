"""Launching what was planned: a plan file is compared with today, and launched as it stands or refused with what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from .. import times
from ..errors import Conflict, PlanRefused
from ..ledger.holds import Budget
from ..objectstore.base import ObjectStore
from ..pricing.estimate import Estimate
from ..providers.base import Provider
from ..times import Clock
from . import agent, plan_file, staging
from .job import Job, JobSpec, JobStore
from .launch import Application, Launcher
from .milestones import Milestone, Passing
from .plan import Planner, kept_of
from .plan_file import Content, Inputs, PlanFile
from .submission import Plan, Submission


class Plans:
    """Writes and launches the plan files of one installation."""

    def __init__(
        self,
        *,
        planner: Planner,
        jobs: JobStore,
        launcher: Callable[[], Launcher],
        provider: Callable[[str], Provider],
        objects: ObjectStore,
        limits: staging.Limits,
        key: Callable[[], bytes],
        known_key: Callable[[], bytes | None],
        install_id: Callable[[], str],
        new_job_id: Callable[[], str],
        clock: Clock,
        passing: Passing,
    ) -> None:
        self._planner = planner
        self._jobs = jobs
        self._launcher = launcher
        self._provider = provider
        self._objects = objects
        self._limits = limits
        self._key = key
        self._known_key = known_key
        self._install_id = install_id
        self._new_job_id = new_job_id
        self._clock = clock
        self._passing = passing

    def write(self, plan: Plan, path: Path, *, lasts: timedelta) -> str:
        """Write ``plan`` to a new file; its digest. The directory is packed once, for the digest of the inputs."""
        submission, key, now = plan.submission, self._key(), self._clock.now()
        digest, manifest = staging.fingerprint(submission.directory, submission.exclude, limits=self._limits)
        lists = submission.price_list
        content = Content(
            format=plan_file.FORMAT,
            install_id=self._install_id(),
            made_at=now,
            expires_at=now + lasts,
            submission=replace(
                submission,
                directory=submission.directory.absolute(),
                price_list=None if lists is None else lists.absolute(),
                environment={},
            ),
            environment=plan_file.sealed_values(submission.environment, key),
            command=plan.command,
            inputs=Inputs(digest=digest, files=manifest.files, size_bytes=manifest.size_bytes),
            estimate=plan.best,
            charged_to=plan.charged_to,
            kept=kept_of(plan),
        )
        return plan_file.write(path, content, key)

    def launch(self, path: Path, environment: Mapping[str, str], *, say: Callable[[str], None]) -> Job:
        """Launch the plan of a file, once. Its digest is the request's key, so a repeat finds the job it made."""
        plan, key = plan_file.read(path), self._known_key()
        plan_file.check_seal(plan, path, key=key, install_id=self._install_id())
        assert key is not None  # or the seal would not have been right
        earlier = self._launched(plan)
        if earlier is not None:
            say(f"This plan has already launched job {earlier.id}")
            return earlier
        content = plan.content
        self._check_time(content)
        _check_environment(content, environment, key)
        agent.check(command=content.command, image=content.submission.image, environment=environment)
        self._provider(content.estimate.offer.provider)
        best = self._today(content)
        submission = content.submission
        if content.charged_to is not None:
            submission = replace(submission, charge_to=content.charged_to)
        budgets, charged_to = self._planner.room(submission, best)
        self._check_inputs(content)
        say(f"Staging {content.inputs.files} files")
        staged = staging.stage(submission.directory, submission.exclude, self._objects, limits=self._limits)
        if staged.digest != content.inputs.digest:
            raise self._changed(content, staged.digest, staged.files, staged.size_bytes)
        self._passing(Milestone.STAGED)
        job_id = self._new_job_id()
        wanted = application(
            submission,
            command=content.command,
            environment=environment,
            staged=staged,
            outputs=self._objects.url(f"jobs/{job_id}"),
            estimates=(best,),
            budgets=budgets,
            charged_to=charged_to,
            kept={**content.kept, "plan": plan.digest},
            request=(_request(plan), plan.digest),
        )
        say(f"Holding ${best.worst_case.shown(4)} and launching {best.offer}")
        try:
            return self._launcher().submit(wanted, job_id=job_id)
        except Conflict:
            # Somebody launched the same plan meanwhile; nothing of ours was kept.
            other = self._launched(plan)
            if other is None:
                raise
            return other

    def _launched(self, plan: PlanFile) -> Job | None:
        found = self._jobs.by_request(_request(plan))
        return None if found is None else found[0]

    # --- what may differ

    def _check_time(self, content: Content) -> None:
        now = self._clock.now()
        if now >= content.expires_at:
            late = times.duration((now - content.expires_at) // timedelta(seconds=1))
            raise PlanRefused(f"The plan expired at {times.shown(content.expires_at)}, {late} ago")
        if now < content.made_at - timedelta(minutes=5):
            raise PlanRefused(
                f"The plan was made at {times.shown(content.made_at)}, and it is {times.shown(now)}",
                cure="Set this machine's clock",
            )

    def _today(self, content: Content) -> Estimate:
        planned = content.estimate
        offer = self._planner.offer_today(content.submission, planned.offer)
        if offer is None:
            raise PlanRefused(f"{planned.offer} is no longer offered")
        return self._planner.again(content.submission, planned, offer)

    def _check_inputs(self, content: Content) -> None:
        submission = content.submission
        digest, manifest = staging.fingerprint(submission.directory, submission.exclude, limits=self._limits)
        if digest != content.inputs.digest:
            raise self._changed(content, digest, manifest.files, manifest.size_bytes)

    def _changed(self, content: Content, digest: str, files: int, size_bytes: int) -> PlanRefused:
        was = content.inputs
        return PlanRefused(
            f"The files of {content.submission.directory} changed: planned were {was.files:,} files,"
            f" {was.size_bytes:,} bytes, {was.digest[:12]}; there are {files:,} files, {size_bytes:,} bytes, {digest[:12]}"
        )


def application(
    submission: Submission,
    *,
    command: str,
    environment: Mapping[str, str],
    staged: staging.Staged,
    outputs: str,
    estimates: Sequence[Estimate],
    budgets: Sequence[Budget],
    charged_to: str | None,
    kept: Mapping[str, str],
    request: tuple[str, str] | None,
) -> Application:
    """What the launcher is asked for. ``kept`` joins the job's metadata; ``request`` is the request's key and digest."""
    key, digest = request or (None, None)
    return Application(
        name=submission.name,
        spec=JobSpec(
            command=command,
            image=submission.image,
            environment=dict(environment),
            inputs=staged.url,
            inputs_digest=staged.digest,
            outputs=outputs,
            disk_gib=submission.request.disk_gib,
            egress_gib=submission.egress_gib,
        ),
        estimates=estimates,
        budgets=budgets,
        charged_to=charged_to,
        tags=submission.tags,
        metadata={**submission.metadata, **kept, "s3_input_path": staged.url},
        request_key=key,
        request_digest=digest,
    )


def _check_environment(content: Content, given: Mapping[str, str], key: bytes) -> None:
    """The same variables with the same values. Names are told, values never."""
    planned = content.environment
    cure = "Give the same --env that the plan was made with"
    missing, added = sorted(set(planned) - set(given)), sorted(set(given) - set(planned))
    if missing:
        raise PlanRefused(f"The plan has the environment variable {missing[0]}, which was not given", cure=cure)
    if added:
        raise PlanRefused(f"The plan has no environment variable {added[0]}", cure=cure)
    values = plan_file.sealed_values(given, key)
    for name in sorted(planned):
        if values[name] != planned[name]:
            raise PlanRefused(f"The environment variable {name} has another value than in the plan", cure=cure)


def _request(plan: PlanFile) -> str:
    return f"plan-{plan.digest}"
