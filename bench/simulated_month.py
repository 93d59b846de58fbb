"""How long a month of jobs takes in the pretend world, and whether it takes much longer a job than a tenth of it.

One process on one core: launches, a watcher, faults, crashes and bills as in ``tallygate simulate``, every promise checked after
every event and every commit, the whole journal recomputed now and then and at the end. A run that breaks a promise fails.

    python -m bench simulated_month                   a month of 1,000 jobs: about a minute
    python -m bench simulated_month --jobs 10000      the whole of it: minutes
"""

from __future__ import annotations

import argparse
import platform
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tallygate.money import Money
from tallygate.simcloud.simulation import Settings, Simulation

JOBS = 1000
DAYS = 30
WATCH_SECONDS = 300
COLLECT_HOURS = 24
VERIFY_EVERY = 100_000
GROWTH_GOAL, GROWTH_MAX = 1.5, 3.0
"""A job in the whole month may take so many times as long as one in a tenth of it; where anything is quadratic it is ten.
Beyond the second the measurement fails."""

RATES = {"crash": 500, "disk_full": 50, "database_locked": 500, "pause": 500}
"""What befalls processes, out of a million at each of their points. A run of an evening has a collection of bills with a few
hundred points and up to thirty times as many crashes; a month's has tens of thousands, and would hardly ever come to its end."""


@dataclass(frozen=True, slots=True)
class Month:
    """What a run came to. ``seconds`` are of the processor; ``wall`` passed while it ran."""

    asked: int
    counts: Counter[str]
    events: int
    faults: int
    seconds: float
    wall: float
    peak_mib: int

    @property
    def launched(self) -> int:
        return self.finished + sum(number for name, number in self.counts.items() if name in _NOT_FINISHED)

    @property
    def finished(self) -> int:
        return self.counts["job completed"]

    @property
    def refused(self) -> int:
        """Asks that became no job: there was no money, no machine, or the user gave up after the fourth failure."""
        return self.asked - self.launched


_NOT_FINISHED = ("job failed", "job terminated")
"""How jobs end that were launched and did not finish: their command failed, they were told to end, or their money was."""


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
            started, began = time.process_time(), time.monotonic()
            outcome = run.run()
            seconds, wall = time.process_time() - started, time.monotonic() - began
        finally:
            run.close()
    if not outcome.is_clean:
        raise SystemExit(f"{len(outcome.violations)} broken promises; the first: {outcome.violations[0]}")
    return Month(
        asked=jobs,
        counts=outcome.counts,
        events=outcome.events,
        faults=sum(outcome.struck.values()),
        seconds=seconds,
        wall=wall,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench simulated_month")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many in the month; {JOBS} unless given")
    jobs = parser.parse_args(arguments).jobs
    if jobs < 10:
        parser.error(f"--jobs {jobs}: a tenth of it must be a job at least; give 10 or more")
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    print(
        f"a watcher every {WATCH_SECONDS} s, bills every {COLLECT_HOURS} h, journal recomputed every {VERIFY_EVERY:,} events"
    )
    print("per million points of a process: " + ", ".join(f"{name} {rate}" for name, rate in RATES.items()))
    print(
        f"{'days':>5}{'asked':>8}{'launched':>10}{'finished':>10}{'refused':>9}{'machines':>10}{'commits':>10}{'events':>10}"
        f"{'faults':>8}{'broken':>8}{'CPU s':>8}{'wall s':>8}{'events/s':>10}{'peak MiB':>10}"
    )
    found = []
    for days, part in ((DAYS // 10, jobs // 10), (DAYS, jobs)):
        done = month(part, days)
        found.append(done)
        print(
            f"{days:>5}{done.asked:>8,}{done.launched:>10,}{done.finished:>10,}{done.refused:>9,}"
            f"{done.counts['machines']:>10,}{done.counts['commits']:>10,}{done.events:>10,}{done.faults:>8,}{0:>8}"
            f"{done.seconds:>8.1f}{done.wall:>8.1f}{done.events / done.seconds:>10,.0f}{done.peak_mib:>10}",
            flush=True,
        )
    tenth, whole = found
    growth = (whole.seconds / whole.asked) / (tenth.seconds / tenth.asked)
    print(
        f"a job in the whole month takes {growth:.2f} times as long as one in a tenth of it (goal: at most {GROWTH_GOAL})"
    )
    return 0 if growth <= GROWTH_MAX else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
