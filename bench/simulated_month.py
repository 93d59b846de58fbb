"""How long a month of 10,000 jobs takes in the pretend world, and that it takes no longer a job than a tenth of it.

One process on one core: launches, watchers, faults, crashes and bills as in ``tallygate simulate``, every promise checked after
every event, every commit judged, the whole journal recomputed now and then. A run that breaks a promise fails.

    python bench/simulated_month.py [JOBS]
"""

from __future__ import annotations

import platform
import resource
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tallygate.money import Money
from tallygate.simcloud.simulation import Settings, Simulation

JOBS = 10_000
DAYS = 30
WATCH_SECONDS = 300
COLLECT_HOURS = 24
VERIFY_EVERY = 100_000
RATES = {"crash": 500, "disk_full": 50, "database_locked": 500, "pause": 500}
GROWTH_MAX = 3.0
"""A job in the whole month may take so many times as long as one in a tenth of it; where anything is quadratic it is ten."""


@dataclass(frozen=True, slots=True)
class Month:
    """What a run came to. ``seconds`` are of the processor."""

    jobs: int
    machines: int
    commits: int
    events: int
    faults: int
    seconds: float
    peak_mib: int


def month(jobs: int, days: int) -> Month:
    settings = Settings(
        seed=1,
        jobs=2 * jobs,
        hours=24 * days,
        strict=True,
        watchers=1,
        watch_seconds=WATCH_SECONDS,
        collect_hours=COLLECT_HOURS,
        verify_every=VERIFY_EVERY,
        rates=RATES,
    )
    with tempfile.TemporaryDirectory(prefix="tallygate-month-") as folder:
        run = Simulation(settings, Path(folder))
        try:
            drawn = run.workload
            run.workload = replace(
                drawn,
                # Budgets are drawn for a dozen jobs: here for as many as there are.
                budgets=tuple(
                    replace(each, limit=Money(each.limit.nanos * jobs // 5, each.limit.currency))
                    for each in drawn.budgets
                ),
                asks=tuple(replace(each, at=each.at * 3 // 2) for each in drawn.asks[:jobs]),
            )
            started = time.process_time()
            outcome = run.run()
            seconds = time.process_time() - started
        finally:
            run.close()
    if not outcome.is_clean:
        raise SystemExit(f"{outcome.violations[0]}")
    return Month(
        jobs=jobs,
        machines=outcome.counts["machines"],
        commits=outcome.counts["commits"],
        events=outcome.events,
        faults=sum(outcome.struck.values()),
        seconds=seconds,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def main(arguments: list[str]) -> int:
    jobs = int(arguments[0]) if arguments else JOBS
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    print(
        f"{'jobs':>8}{'machines':>10}{'commits':>10}{'events':>10}{'faults':>8}{'CPU s':>9}{'events/s':>10}{'MiB':>6}"
    )
    found = []
    for part in (10, 1):
        done = month(jobs // part, max(1, DAYS // part))
        found.append(done)
        print(
            f"{done.jobs:>8,}{done.machines:>10,}{done.commits:>10,}{done.events:>10,}{done.faults:>8,}"
            f"{done.seconds:>9.1f}{done.events / done.seconds:>10,.0f}{done.peak_mib:>6}",
            flush=True,
        )
    tenth, whole = found
    growth = (whole.seconds / whole.jobs) / (tenth.seconds / tenth.jobs)
    print(
        f"a job in the whole month takes {growth:.2f} times as long as one in a tenth of it (goal: at most {GROWTH_MAX})"
    )
    return 0 if growth <= GROWTH_MAX else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
