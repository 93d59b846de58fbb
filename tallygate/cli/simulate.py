"""``tallygate simulate``: the whole system in a pretend world of three clouds, and every promise checked after every event."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CheckFailed, ConfigError, UsageError
from ..times import SystemClock
from . import flags
from .options import Json
from .output import note, progress, show, show_columns, show_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..simcloud.bugs import Bug
    from ..simcloud.campaign import Report
    from ..simcloud.simulation import Outcome, Settings

SEEDS_MAX = 10_000_000
JOBS_MAX = 1_000_000
HOURS_MAX = 24 * 90
SECONDS_MAX = 365 * 24 * 3600


def simulate(
    seed: Annotated[str | None, typer.Option("--seed", metavar="N", help="One run, told in full.")] = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="N", help="So many runs.")] = "100",
    first: Annotated[str, typer.Option("--from", metavar="N", help="The first of them.")] = "0",
    minutes: Annotated[str | None, typer.Option("--minutes", metavar="N", help="Stop after so long.")] = None,
    processes: Annotated[str, typer.Option("--processes", metavar="N", help="Runs at the same time.")] = "2",
    jobs: Annotated[str, typer.Option("--jobs", metavar="N", help="About so many jobs a run.")] = "10",
    hours: Annotated[str, typer.Option("--hours", metavar="N", help="Virtual hours a run.")] = "18",
    timers: Annotated[
        str | None, typer.Option("--timers", metavar="work|break", help="Whether machines' own timers work.")
    ] = None,
    store: Annotated[
        str, typer.Option("--store", metavar="memory|file", help="Where a run keeps its database.")
    ] = "memory",
    scheduler_dies_at: Annotated[
        str | None,
        typer.Option("--scheduler-dies-at", metavar="SECONDS", help="Everything dies so long after the first machine."),
    ] = None,
    watchers: Annotated[
        str | None, typer.Option("--watchers", metavar="N", help="So many watchers; else one or two, by the seed.")
    ] = None,
    longest: Annotated[
        str, typer.Option("--longest", metavar="SECONDS", help="The longest estimate of a job.")
    ] = "21600",
    rate: Annotated[
        list[str] | None,
        typer.Option("--rate", metavar="FAULT=N", help="Let a fault strike N times in a million. May be repeated."),
    ] = None,
    bug: Annotated[str | None, typer.Option("--bug", metavar="NAME", help="Plant a known mistake.")] = None,
    bugs: Annotated[
        bool, typer.Option("--bugs", help="Look for every planted mistake, a table as the answer.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Print the event log of the one run.")] = False,
    regressions: Annotated[
        str | None, typer.Option("--regressions", metavar="FILE", help="Append runs that break a promise to this file.")
    ] = None,
    json: Json = False,
) -> int:
    """Run the whole system in a pretend world of three clouds with faults, and check every promise after every event.

    A run that breaks a promise says so in one line, with the command that shows it again to the byte. Exit code 1 when one
    did, or when a planted mistake survived.

    \b
    Examples:
      tallygate simulate --seeds 1000
      tallygate simulate --seed 8817 --log
      tallygate simulate --bugs
    """
    try:
        from ..simcloud import campaign
        from ..simcloud.simulation import Settings
    except ModuleNotFoundError as error:
        raise ConfigError(
            "The simulation needs greenlet, which is not installed", cure="pip install 'tallygate[sim]'"
        ) from error

    timers = flags.choice("--timers", timers, ("work", "break"))
    store = flags.choice("--store", store, ("memory", "file")) or "memory"
    start = flags.whole("--from", first, low=0, high=SEEDS_MAX)
    plain = Settings(
        seed=start if seed is None else flags.whole("--seed", seed, low=0, high=2**63),
        jobs=flags.whole("--jobs", jobs, low=1, high=JOBS_MAX),
        hours=flags.whole("--hours", hours, low=1, high=HOURS_MAX),
        store=":memory:" if store == "memory" else store,
        strict=None if timers is None else timers == "work",
        scheduler_dies_at=None
        if scheduler_dies_at is None
        else flags.whole("--scheduler-dies-at", scheduler_dies_at, low=0, high=SECONDS_MAX),
        watchers=None if watchers is None else flags.whole("--watchers", watchers, low=1, high=100),
        longest=flags.whole("--longest", longest, low=30, high=SECONDS_MAX),
        rates=_rates(rate or []),
    )
    kept = None if regressions is None else Path(regressions)
    count = flags.whole("--seeds", seeds, low=1, high=SEEDS_MAX)
    workers = flags.whole("--processes", processes, low=1, high=256)
    if bugs:
        return _bugs(range(start, start + count), workers, as_json=json)
    if seed is not None:
        return _one(plain, bug, log=log, kept=kept, as_json=json)
    clock = SystemClock()
    until = None
    if minutes is not None:
        until = clock.now() + timedelta(minutes=flags.whole("--minutes", minutes, low=1, high=SEEDS_MAX))
    report = campaign.run_seeds(
        plain,
        range(start, start + count),
        processes=workers,
        clock=clock,
        until=until,
        bug=None if bug is None else _bug(bug),
        say=progress(),
    )
    _keep(kept, report.broken)
    return _show(report, count, as_json=json)


def _one(settings: "Settings", bug: str | None, *, log: bool, kept: Path | None, as_json: bool) -> int:
    from contextlib import nullcontext

    from ..simcloud.bugs import settings_for
    from ..simcloud.simulation import simulate as run

    planted = None if bug is None else _bug(bug)
    if planted is not None:
        settings = settings_for(planted, settings.seed, plain=settings)
    with nullcontext() if planted is None else planted.plant():
        outcome = run(settings, log=show if log else None)
    said = [str(each) for each in outcome.violations]
    _keep(kept, [outcome] if said else [])
    if as_json:
        show_json(
            {
                "seed": settings.seed,
                "digest": outcome.digest,
                "events": outcome.events,
                "timers_work": outcome.strict,
                "violations": said,
                "replay": settings.replay(bug),
                "counts": dict(sorted(outcome.counts.items())),
                "faults": dict(sorted(outcome.struck.items())),
            }
        )
    else:
        timers = "working" if outcome.strict else "breaking"
        show(
            f"seed {settings.seed}: {outcome.events:,} events, {sum(outcome.struck.values()):,} faults, {timers} timers"
        )
        show(f"digest {outcome.digest}")
        for line in said:
            show(line)
        if said:
            show(settings.replay(bug))
    return 1 if said else 0


def _bugs(seeds: range, processes: int, *, as_json: bool) -> int:
    from ..simcloud import campaign
    from ..simcloud.bugs import all_bugs

    catches = campaign.hunt_all(list(all_bugs()), seeds, processes=processes, say=progress())
    survived = [catch.bug.name for catch in catches if not catch.is_caught]
    if as_json:
        show_json(
            [
                {
                    "bug": each.bug.name,
                    "caught": each.is_caught,
                    "by": sorted(name for name in each.bug.caught_by if each.invariants[name]),
                    "seed": each.seed,
                    "seeds": each.seeds,
                }
                for each in catches
            ]
        )
    else:
        show_columns(
            [
                (
                    each.bug.name,
                    ", ".join(name for name in each.bug.caught_by if each.invariants[name]) or "NOBODY",
                    "-" if each.seed is None else each.seed,
                    each.seeds,
                )
                for each in catches
            ],
            ("PLANTED MISTAKE", "CAUGHT BY", "SEED", "SEEDS LOOKED AT"),
        )
    if survived:
        raise CheckFailed(f"{len(survived)} of {len(catches)} planted mistakes survived: {', '.join(survived)}")
    note(f"All {len(catches)} planted mistakes were caught")
    return 0


def _keep(file: Path | None, broken: "Sequence[Outcome]") -> None:
    from ..simcloud import campaign

    if file is None or not broken:
        return
    try:
        kept = campaign.keep_regressions(file, broken)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error
    note(f"{kept} run{'' if kept == 1 else 's'} appended to {file}")


def _rates(words: "Sequence[str]") -> dict[str, int]:
    from ..simcloud.faults import FAULTS

    rates: dict[str, int] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in FAULTS or not equals:
            raise UsageError(f"--rate {word!r} names no fault", cure=f"Use NAME=N with one of: {', '.join(FAULTS)}")
        rates[name] = flags.whole("--rate", value, low=0, high=1_000_000)
    return rates


def _bug(name: str) -> "Bug":
    from ..simcloud.bugs import all_bugs

    found = all_bugs().get(name)
    if found is None:
        raise UsageError(f"There is no planted mistake {name!r}", cure="List them with: tallygate simulate --bugs")
    return found


def _show(report: "Report", count: int, *, as_json: bool) -> int:
    code = 130 if report.interrupted else 1 if report.broken else 0
    if as_json:
        show_json(
            {
                "seeds": report.seeds,
                "events": report.events,
                "faults": report.faults,
                "broken": list(report.lines()),
                "ended_early": report.ended_early,
                "interrupted": report.interrupted,
                "counts": dict(sorted(report.counts.items())),
            }
        )
        _say_how_far(report, count)
        return code
    for line in report.lines():
        show(line)
    shown = [(name, f"{report.counts[name]:,}") for name in sorted(report.counts) if report.counts[name]]
    show_columns(shown, ("HAPPENED", "TIMES"))
    show("")
    show_columns(
        [
            (
                f"{report.seeds:,}",
                f"{report.strict:,}",
                f"{report.events:,}",
                f"{report.faults:,}",
                f"{len(report.broken):,}",
            )
        ],
        ("SEEDS", "TIMERS WORK", "EVENTS", "FAULTS", "BROKEN"),
    )
    _say_how_far(report, count)
    return code


def _say_how_far(report: "Report", count: int) -> None:
    """When it did not come to the end: how far, and how to go on."""
    if report.interrupted:
        again = "" if report.following is None else f"; go on with --from {report.following}"
        note(f"Interrupted after {report.seeds:,} of {count:,} seeds{again}")
    elif report.ended_early:
        note(f"The time was up after {report.seeds:,} of {count:,} seeds")
