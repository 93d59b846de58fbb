"""``cloud_cost_report.py`` and ``tallygate report``: what jobs cost, by job, by day, by budget and by provider."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from .. import config as configuration
from ..errors import UsageError
from . import flags
from .costs import DaysBack, MaxJobs, retrieve
from .options import ConfigFile, Days, JobReference, Json, ProviderFilter
from .output import show, show_json
from .program import Entry, Menu

if TYPE_CHECKING:
    from ..app import App

DAYS_MAX = 3_660

MENU = Menu(
    "Cost reports. What bills confirm, what is metered and what is only estimated are never added up.",
    {
        "job": Entry(f"{__name__}:job_report", "Detailed cost summary for a specific job."),
        "trends": Entry(f"{__name__}:trends", "Cost trends over time, by the day of use."),
        "budget": Entry(f"{__name__}:budget", "Budget performance analysis."),
        "compare": Entry(f"{__name__}:compare", "Provider cost comparison."),
        "retrieve-costs": Entry(f"{__name__}:retrieve_costs", "Retrieve missing actual costs."),
    },
)

Csv = Annotated[bool, typer.Option("--csv", help="Print CSV that no spreadsheet runs.")]


class Report(Protocol):
    """What every report can be shown as."""

    def as_dict(self) -> dict[str, object]: ...

    def as_text(self) -> str: ...


class Table(Report, Protocol):
    """A report that is also rows under a header."""

    def csv(self) -> tuple[list[str], list[list[object]]]: ...


def _open(config: str | None) -> "App":
    from ..app import App

    return App.open(configuration.load(config), readonly=True)


def _show(report: Table, *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        show_json(report.as_dict())
    elif as_csv:
        _show_csv(*report.csv())
    else:
        show(report.as_text())


def _show_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    import sys

    from ..reports.render import csv_lines

    sys.stdout.writelines(csv_lines(rows, header))


def _only_one(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise UsageError("--json and --csv are two answers", cure="Give one of them")


def job_report(job: JobReference, config: ConfigFile = None, json: Json = False) -> None:
    """Detailed cost summary for a specific job: estimated, metered, billed and final, with its breakdown.

    \b
    Examples:
      python cloud_cost_report.py job my-job
      python cloud_cost_report.py job my-job --json
    """
    from ..reports.jobs import job_summary

    with _open(config) as app:
        found = app.jobs.find(job)
        summary = job_summary(app.database, app.book, found.id, now=app.clock.now())
    if json:
        show_json(summary.as_dict())
    else:
        show(summary.as_text())


def trends(
    days: Days = "30", provider: ProviderFilter = None, config: ConfigFile = None, json: Json = False, csv: Csv = False
) -> None:
    """Cost trends over time: each day's costs on the day they were used, confirmed by a bill or not.

    \b
    Examples:
      python cloud_cost_report.py trends --days 30
      python cloud_cost_report.py trends --days 30 --provider AWS --json
    """
    count = flags.whole("--days", days, low=1, high=DAYS_MAX)
    which = flags.provider("--provider", provider)
    _only_one(json, csv)
    from ..reports.trends import cost_trends

    with _open(config) as app:
        report = cost_trends(
            app.database, now=app.clock.now(), days=count, provider=which, currency=app.config.currency
        )
    _show(report, as_json=json, as_csv=csv)


def budget(config: ConfigFile = None, json: Json = False, csv: Csv = False) -> None:
    """Budget performance analysis: who stayed within, who went over, and what is not known yet.

    \b
    Example:
      python cloud_cost_report.py budget
    """
    _only_one(json, csv)
    from ..reports.budgets import budget_analysis

    with _open(config) as app:
        report = budget_analysis(app.database, app.book, now=app.clock.now(), currency=app.config.currency)
    _show(report, as_json=json, as_csv=csv)


def compare(days: Days = "30", config: ConfigFile = None, json: Json = False, csv: Csv = False) -> None:
    """Provider cost comparison, by what a core-hour really cost; with too few jobs to say, it says so.

    \b
    Example:
      python cloud_cost_report.py compare --days 30
    """
    count = flags.whole("--days", days, low=1, high=DAYS_MAX)
    _only_one(json, csv)
    from ..reports.compare import provider_comparison

    with _open(config) as app:
        report = provider_comparison(app.database, now=app.clock.now(), days=count, currency=app.config.currency)
    _show(report, as_json=json, as_csv=csv)


def retrieve_costs(
    job_id: Annotated[
        str | None, typer.Option("--job-id", metavar="JOB", help="Only this job, by id or name; asks again.")
    ] = None,
    max_jobs: MaxJobs = "10",
    days_back: DaysBack = "7",
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Retrieve the actual costs that are missing, or those of one job.

    \b
    Examples:
      python cloud_cost_report.py retrieve-costs --max-jobs 20
      python cloud_cost_report.py retrieve-costs --job-id my-job
    """
    return retrieve(
        job_id=job_id,
        max_jobs=max_jobs,
        days_back=days_back,
        force=job_id is not None,
        config=config,
        as_json=json,
    )
