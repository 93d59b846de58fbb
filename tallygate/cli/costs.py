"""``cost_tracker.py`` and ``tallygate costs``: ask the bills what finished jobs have really cost."""

from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as configuration
from ..errors import UsageError
from . import flags
from .options import ConfigFile, Json
from .output import note, show, show_columns, show_json, warn

if TYPE_CHECKING:
    from ..billing.collect import CollectReport

JOBS_MAX = 100_000
DAYS_MAX = 3_650
EXIT_BILLING = 3

MaxJobs = Annotated[str, typer.Option("--max-jobs", metavar="N", help="At most so many jobs.")]
DaysBack = Annotated[str, typer.Option("--days-back", metavar="N", help="Jobs that ended in the last N days.")]


def costs(
    job_id: Annotated[
        str | None, typer.Option("--job-id", metavar="JOB", help="Retrieve the cost of this job, by id or name.")
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Retrieve the costs of recent finished jobs.")] = False,
    max_jobs: MaxJobs = "10",
    days_back: DaysBack = "7",
    force_refresh: Annotated[
        bool, typer.Option("--force-refresh", help="Ask again even where the cost is final.")
    ] = False,
    accept_odd: Annotated[
        bool, typer.Option("--accept-odd", help="Let a bill count that was kept aside because it looks odd.")
    ] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Retrieve the actual costs of finished jobs from the bills of their providers.

    One question covers all jobs of a provider and month, and asking twice counts nothing twice. Exit code 3 when a bill
    cannot be read, or when the one job asked for is not on it yet.

    \b
    Examples:
      python cost_tracker.py --job-id my-job
      python cost_tracker.py --batch --max-jobs 20
    """
    if batch == (job_id is not None):
        raise UsageError("Whose costs?", cure="Give --job-id JOB, or --batch for recent jobs")
    return retrieve(
        job_id=job_id,
        max_jobs=max_jobs,
        days_back=days_back,
        force=force_refresh or accept_odd,
        accept=accept_odd,
        config=config,
        as_json=json,
    )


def retrieve(
    *,
    job_id: str | None,
    max_jobs: str,
    days_back: str,
    force: bool,
    accept: bool = False,
    config: str | None,
    as_json: bool,
) -> int:
    """Ask the bills, show what came, and answer the exit code."""
    most = flags.whole("--max-jobs", max_jobs, low=1, high=JOBS_MAX)
    days = flags.whole("--days-back", days_back, low=1, high=DAYS_MAX)
    from ..app import App

    with App.open(configuration.load(config)) as app:
        asked = None if job_id is None else [app.jobs.find(job_id).id]
        report = app.collect(job_ids=asked, max_jobs=most, days_back=days, force=force, accept=accept)
    if as_json:
        show_json(report.as_dict())
    else:
        _show(report)
    for problem in report.problems:
        warn(problem)
    missing = asked is not None and report.successful < report.processed
    return EXIT_BILLING if report.problems or report.failed or missing else 0


def _show(report: "CollectReport") -> None:
    from ..reports.render import amount

    if not report.jobs:
        note("No finished jobs to ask for.")
        return
    lines = [
        (
            job.job_id,
            job.name,
            job.status,
            None if job.bill is None else job.bill.billed,
            None if job.bill is None else job.bill.cost_state,
            job.reason or None,
        )
        for job in report.jobs
    ]
    show_columns(
        lines, ("JOB", "NAME", "ANSWER", "ACTUAL COST", "KNOWN AS", "REASON"), expendable=("NAME", "KNOWN AS", "REASON")
    )
    pending = report.processed - report.successful - report.failed
    show(f"{report.processed} asked for: {report.successful} on the bill, {pending} not yet, {report.failed} failed")
    note(f"Asking took {report.calls} billing call{'' if report.calls == 1 else 's'}, {amount(report.asking_cost)}")
