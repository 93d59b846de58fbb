"""``job_manager.py`` and ``tallygate jobs``: look at jobs, watch them, end them, bring their results back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as configuration
from .. import times
from ..errors import UsageError
from ..reports.render import provider_name
from . import flags
from .documented import cost_so_far, of_row
from .options import ConfigFile, JobReference, Json, ProviderFilter
from .output import is_terminal, note, progress, show, show_columns, show_json, warn
from .program import Entry, Menu
from .shell import Interrupted

if TYPE_CHECKING:
    from ..app import App
    from ..jobs.job import Attempt, Job

STATES = ("launching", "launched", "running", "interrupted", "completed", "failed", "terminated")
LIST_MAX = 100_000

ENTRIES: Mapping[str, Entry] = {
    "list": Entry(f"{__name__}:list_jobs", "List jobs, newest first."),
    "show": Entry(f"{__name__}:show_job", "Everything about one job: machine, money, story."),
    "watch": Entry(f"{__name__}:watch", "Reconcile again and again, and tell what was done."),
    "reconcile": Entry(f"{__name__}:reconcile", "Compare providers and record once, and bring them together."),
    "terminate": Entry(f"{__name__}:terminate", "End a job and its machine."),
    "extend": Entry(f"{__name__}:extend", "Let a running job run longer, if its budgets leave room."),
    "fetch": Entry(f"{__name__}:fetch", "Bring a job's results here."),
    "logs": Entry(f"{__name__}:logs", "What a job has printed."),
    "cleanup": Entry(f"{__name__}:cleanup", "Take old finished jobs out of the lists; costs stay."),
}
MENU = Menu("List, show, watch, end and fetch jobs.", ENTRIES)
DOOR = Menu(
    "List, show, watch, end and fetch jobs, and manage the budgets they draw on.",
    {**ENTRIES, "budget": Entry("tallygate.cli.budgets:MENU", "Add, show and raise budgets; verify their journal.")},
)


def _open(config: str | None, *, readonly: bool = False) -> "App":
    from ..app import App

    return App.open(configuration.load(config), readonly=readonly)


# --- looking


def list_jobs(
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATE", help=f"Only jobs in this state: {', '.join(STATES)}.")
    ] = None,
    provider: ProviderFilter = None,
    limit: Annotated[str, typer.Option("--limit", metavar="N", help="At most so many jobs.")] = "20",
    detailed: Annotated[bool, typer.Option("--detailed", "-d", help="Show more about every job.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Show totals by state instead.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List jobs, newest first.

    The cost is the surest one known: estimated, metered from machine time, billed, or final.

    \b
    Examples:
      python job_manager.py list --status running
      python job_manager.py list --summary
      python job_manager.py list --limit 100 --json
    """
    wanted_status = flags.choice("--status", status, STATES)
    wanted_provider = flags.provider("--provider", provider)
    most = flags.whole("--limit", limit, low=1, high=LIST_MAX)
    with _open(config, readonly=True) as app:
        if summary:
            _show_totals(app.jobs.totals(), as_json=json)
            return
        rows = app.jobs.rows(status=wanted_status, provider=wanted_provider, most=most)
    if json:
        show_json([of_row(row) for row in rows])
    elif not rows:
        note("No jobs." if status is None and provider is None else "No such jobs.")
    elif detailed:
        show("\n\n".join(_detailed(row) for row in rows))
    else:
        _show_rows(rows)


def _show_rows(rows: Sequence[Mapping[str, object]]) -> None:
    lines = []
    for row in rows:
        cost, certainty = cost_so_far(row)
        lines.append(
            (
                row["job_id"],
                row["name"],
                row["status"],
                provider_name(str(row["provider"])),
                row["instance_type"],
                row["region"],
                times.maybe_instant(row["created_at"]),
                cost,
                certainty,
            )
        )
    headers = ("JOB", "NAME", "STATUS", "PROVIDER", "INSTANCE", "REGION", "CREATED", "COST", "KNOWN AS")
    show_columns(lines, headers, expendable=("REGION", "PROVIDER", "INSTANCE", "CREATED", "KNOWN AS", "NAME"))


def _detailed(row: Mapping[str, object]) -> str:
    from ..money import Money
    from ..reports.render import amount, cell

    def money(column: str) -> str:
        nanos = row[column]
        return amount(Money(nanos, str(row["currency"])) if isinstance(nanos, int) else None, missing="none")

    cost, certainty = cost_so_far(row)
    pairs = (
        ("Job", row["job_id"]),
        ("Name", row["name"]),
        ("Status", row["status"]),
        ("Machine", f"{provider_name(str(row['provider']))} {row['instance_type']} in {row['region']}"),
        ("Price", f"{money('price_per_hour_nanos')}/hour"),
        ("Cost", f"{amount(cost)}, {certainty}"),
        ("Estimated", money("estimated_cost_nanos")),
        ("Budget", money("budget_limit_nanos")),
        ("Held at start", money("hold_nanos")),
        ("Created", times.maybe_instant(row["created_at"])),
        ("Started", times.maybe_instant(row["started_at"])),
        ("Ended", times.maybe_instant(row["completed_at"])),
        ("Reason", row["reason"]),
    )
    return "\n".join(f"{name + ':':<15}{cell(value)}" for name, value in pairs if value is not None)


def _show_totals(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    totals = [(row["status"], row["jobs"], *_sums(row).values()) for row in rows]
    if as_json:
        show_json(
            [{"status": row["status"], "currency": row["currency"], "jobs": row["jobs"], **_sums(row)} for row in rows]
        )
    elif totals:
        # A column sums what is known of that kind; a job that is not billed yet adds nothing to the last one.
        show_columns(totals, ("STATUS", "JOBS", "ESTIMATED", "METERED", "BILLED"))
    else:
        note("No jobs.")


def _sums(row: Mapping[str, object]) -> "dict[str, object]":
    from ..money import Money

    found: dict[str, object] = {}
    for name in ("estimated", "metered", "billed"):
        nanos = row[f"{name}_nanos"]
        found[name] = None if nanos is None else Money(int(str(nanos)), str(row["currency"]))
    return found


def show_job(job: JobReference, config: ConfigFile = None, json: Json = False) -> None:
    """Everything about one job: its machine, its money and its story.

    \b
    Examples:
      python job_manager.py show my-job
      python job_manager.py show 01kgw2 --json
    """
    with _open(config, readonly=True) as app:
        found = app.jobs.find(job)
        row = app.jobs.documented_row(found.id)
        assert row is not None  # it was there a moment ago, and jobs are never deleted
        attempts, events = app.jobs.attempts(found.id), app.jobs.events(found.id)
    if json:
        story = [
            {"at": times.maybe_instant(event["at"]), "event": event["event"], "detail": event["detail"]}
            for event in events
        ]
        show_json({**of_row(row), "attempts": [_attempt_for_programs(one) for one in attempts], "events": story})
        return
    from ..reports.render import cell, clean

    lines = [_detailed(row)]
    if found.exit_status is not None:
        lines.append(f"{'Exit status:':<15}{found.exit_status}")
    if found.charged_to is not None:
        lines.append(f"{'Charged to:':<15}{clean(found.charged_to)}")
    lines += [_attempt_line(one) for one in attempts]
    lines.append("Story:")
    lines += [
        f"  {cell(times.maybe_instant(event['at']))}  {clean(str(event['event']))}  {clean(str(event['detail']))}"
        for event in events
    ]
    show("\n".join(lines))


def _attempt_line(attempt: "Attempt") -> str:
    from ..reports.render import amount, clean

    machine = clean(attempt.machine_id) if attempt.machine_id else "no machine yet"
    end = (
        f", ended {times.shown(attempt.ended_at)}"
        if attempt.ended_at
        else f", ends by {times.shown(attempt.not_after)}"
    )
    return f"Attempt {attempt.number}:     {attempt.state}, {machine}, metered {amount(attempt.metered_cost)}{end}"


def _attempt_for_programs(attempt: "Attempt") -> dict[str, object]:
    return {
        "number": attempt.number,
        "state": attempt.state,
        "token": attempt.token,
        "provider": provider_name(attempt.offer.provider),
        "instance_type": attempt.offer.instance_type,
        "region": attempt.offer.region,
        "zone": attempt.offer.zone,
        "instance_id": attempt.machine_id,
        "price_max": attempt.price_max,
        "not_after": attempt.not_after,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "end_source": attempt.end_source,
        "end_reason": attempt.end_reason,
        "exit_status": attempt.exit_status,
        "metered_seconds": attempt.metered_seconds,
        "metered_cost": attempt.metered_cost,
    }


def logs(
    job: JobReference,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
    config: ConfigFile = None,
) -> None:
    """What a job has printed.

    \b
    Examples:
      python job_manager.py logs my-job
      python job_manager.py logs my-job --follow
    """
    import sys

    with _open(config, readonly=not follow) as app:
        try:
            for piece in app.logs(job, follow=follow):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
        except KeyboardInterrupt:
            raise Interrupted("The job goes on.", f"Look with: python job_manager.py show {job}") from None


# --- acting


def watch(
    interval: Annotated[
        str | None, typer.Option("--interval", metavar="SECONDS", help="Pause between two looks (default: 30).")
    ] = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Stop when no machine is left.")] = False,
    config: ConfigFile = None,
) -> None:
    """Reconcile again and again, and tell what was done. Stop it with Control-C.

    \b
    Examples:
      python job_manager.py watch
      python job_manager.py watch --interval 5 --until-idle
    """
    pause = flags.maybe_whole("--interval", interval, low=1, high=86_400)
    with _open(config) as app:
        try:
            app.watch(interval=pause, until_idle=until_idle, say=_say_at_once)
        except KeyboardInterrupt:
            raise Interrupted(
                "Nobody watches now. Every machine still ends itself in time.",
                "Go on with: python job_manager.py watch",
            ) from None


def _say_at_once(line: str) -> None:
    import sys

    from ..reports.render import clean

    show(clean(line))
    sys.stdout.flush()


def reconcile(config: ConfigFile = None, json: Json = False) -> int:
    """Compare what providers run with what is on record, once, and bring the two together.

    Exit code 3 when a provider could not be asked.

    \b
    Example:
      python job_manager.py reconcile
    """
    with _open(config) as app:
        report = app.reconcile()
    if json:
        show_json({"actions": report.actions, "problems": report.problems, "open_attempts": report.open_attempts})
    else:
        from ..reports.render import clean

        for line in report.actions:
            show(clean(line))
        machines = f"{report.open_attempts} machine{'' if report.open_attempts == 1 else 's'} open"
        show(f"{len(report.actions)} change{'' if len(report.actions) == 1 else 's'}, {machines}")
    for problem in report.problems:
        warn(problem)
    return 3 if report.problems else 0


def terminate(
    job: JobReference,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with the job.")] = "asked for",
    yes: Annotated[bool, typer.Option("--yes", "--force", "-y", help="Do not ask first.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """End a job and its machine.

    A job is terminated once its machine has been seen to end; until then its end is asked for again and again.

    \b
    Examples:
      python job_manager.py terminate my-job --reason "wrong input"
      python job_manager.py terminate my-job --yes
    """
    why = flags.text("--reason", reason, at_most=500) or ""
    with _open(config) as app:
        found = app.jobs.find(job)
        if not found.state.is_over and not yes and not _confirmed(found):
            note("Nothing was done.")
            return 1
        ended = app.terminate(found.id, reason=why)
        row = app.jobs.documented_row(ended.id)
    if json:
        show_json(of_row(row or {}))
    elif ended.state.is_over:
        show(f"Job {ended.id} is {ended.state}")
    else:
        show(f"Job {ended.id} is asked to end; its machine has not been seen to end yet")
        note("Its end is observed by: python job_manager.py reconcile")
    return 0


def _confirmed(job: "Job") -> bool:
    import sys

    from ..reports.render import clean

    if not is_terminal(sys.stdin):
        raise UsageError("Terminating a job asks first, and nobody is here to answer", cure="Add --yes")
    return typer.confirm(f"Terminate job {job.id} ({clean(job.name)}), which is {job.state}?", err=True)


def extend(
    job: JobReference,
    hours: Annotated[str, typer.Option("--hours", metavar="HOURS", help="How much longer it may run.")],
    key: Annotated[
        str | None, typer.Option("--key", metavar="TEXT", help="A repeat with the same key extends only once.")
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Let a running job run longer.

    The further worst case is held first, on the job and on every budget above it, or the extension is refused.

    \b
    Example:
      python job_manager.py extend my-job --hours 1.5
    """
    longer = flags.hours("--hours", hours)
    assert longer is not None
    once = flags.text("--key", key, at_most=200)
    with _open(config) as app:
        found = app.extend(job, hours=longer, key=once)
        row = app.jobs.documented_row(found.id)
    if json:
        show_json(of_row(row or {}))
        return
    from ..reports.render import amount

    show(
        f"Job {found.id} may run {times.duration(found.run_seconds_max)}; {amount(found.hold)} is the most it can cost"
    )


def fetch(
    job: JobReference,
    into: Annotated[
        str | None, typer.Option("--into", metavar="DIR", help="Where to put the files (default: results/JOB).")
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Bring a job's results here.

    \b
    Examples:
      python job_manager.py fetch my-job
      python job_manager.py fetch my-job --into out
    """
    place = flags.text("--into", into, at_most=4_000)
    with _open(config, readonly=True) as app:
        found = app.jobs.find(job)
        target = Path(place) if place is not None else Path("results") / found.id
        files = app.fetch(found.id, target)
    if json:
        show_json({"job_id": found.id, "files": files})
    elif files:
        show(f"{len(files)} file{'' if len(files) == 1 else 's'} in {target}")
    else:
        show(f"Job {found.id} has left no results yet")


def cleanup(
    days: Annotated[
        str, typer.Option("--days", metavar="N", help="Jobs that ended more than so many days ago.")
    ] = "30",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which, and change nothing.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Take old finished jobs out of the lists and delete their stored files. Every cost stays.

    \b
    Examples:
      python job_manager.py cleanup --days 90 --dry-run
      python job_manager.py cleanup --days 90
    """
    age = flags.whole("--days", days, low=0, high=36_500)
    tell = progress()
    with _open(config, readonly=dry_run) as app:
        old = app.cleanup(days=age, dry_run=dry_run)
    for job in old:
        tell(f"{job.id} {job.name}")
    if json:
        show_json({"dry_run": dry_run, "jobs": [job.id for job in old]})
        return
    verb = "would be cleaned up" if dry_run else "cleaned up"
    show(f"{len(old)} job{'' if len(old) == 1 else 's'} {verb}")
