"""What holding money costs beside one bare durable conditional UPDATE, and how fairly eight processes share SQLite.

One process: every variant once a round, in turn, on the same disk; medians over the rounds. *Bare* is the least that any gate
must do: one ``UPDATE bare SET held = held + x WHERE id = ... AND held + x <= limit`` of one narrow row, durable, through the same
driver with the same settings. ``Book.authorize`` also writes the hold and a chained journal entry.

Eight processes: each asks for holds on one budget for some seconds, queued as Tallygate does it, and as the control without the
queue, by SQLite's own busy handler; then again with half of the processes killed on the way.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.contention import ONE, Outcome, contend, databases, open_book
from tallygate.money import NANOS_MAX, Money
from tallygate.times import SystemClock

SHARE_MIN = 0.8
"""Admissions a second over bare updates a second."""

THROUGHPUT_MIN, FAIRNESS_MIN, WORST_WAIT_MAX = 0.75, 0.7, 0.1
"""Eight processes over one; the slowest over the fastest; our worst wait over that of SQLite's busy handler."""

_AMOUNT = Money.of("0.01")


def variants(url: str) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
    """What is measured, by name, and how to close it all."""
    database, book = open_book(url)
    budget = book.add_budget(name="hot", limit=Money(NANOS_MAX))
    clock, jobs = SystemClock(), count()
    until = clock.now() + timedelta(hours=1)
    other, _ = open_book(url)
    driver: Any = other._connection  # type: ignore[attr-defined]
    driver.execute("CREATE TABLE bare (id TEXT NOT NULL PRIMARY KEY, most BIGINT NOT NULL, held BIGINT NOT NULL)")
    account = book.account(budget, clock.now()).id
    driver.execute(f"INSERT INTO bare VALUES ('{account}', {NANOS_MAX}, 0)")
    values = {"amount": _AMOUNT.nanos, "id": account}

    def authorize(*, own_account: bool) -> None:
        book.authorize(
            job_id=f"job-{next(jobs):012}",
            budgets=[budget],
            job_limit=None,
            amount=_AMOUNT,
            expires_at=until,
            own_account=own_account,
        )

    def sqlite_bare() -> None:
        driver.execute("BEGIN IMMEDIATE")
        changed = driver.execute(
            "UPDATE bare SET held = held + :amount WHERE id = :id AND held + :amount <= most", values
        )
        assert changed.rowcount == 1
        driver.execute("COMMIT")

    def postgresql_bare() -> None:
        changed = cursor.execute(
            b"UPDATE bare SET held = held + %(amount)s WHERE id = %(id)s AND held + %(amount)s <= most", values
        )
        assert changed.rowcount == 1

    def postgresql_bare_in_a_transaction() -> None:
        cursor.execute(b"BEGIN")
        postgresql_bare()
        cursor.execute(b"COMMIT")

    found: dict[str, Callable[[], None]] = {}
    if database.engine == "sqlite":
        found["bare update"] = sqlite_bare
    else:
        cursor = driver.cursor()
        found["bare update, BEGIN to COMMIT"] = postgresql_bare_in_a_transaction
        found["bare update, by itself"] = postgresql_bare
    found["authorize on one budget"] = lambda: authorize(own_account=False)
    found["authorize as a launch does: job and budget"] = lambda: authorize(own_account=True)

    def close() -> None:
        database.close()
        other.close()

    return found, close


def alone(engine: str, *, rounds: int, calls: int) -> bool:
    """One process. Prints the table; whether the goal is met."""
    times: dict[str, list[float]] = {}
    with databases(engine) as fresh:
        found, close = variants(fresh())
        for act in found.values():
            for _ in range(20):
                act()
        for _ in range(rounds):
            for name, act in found.items():
                begun = time.perf_counter()
                for _ in range(calls):
                    act()
                times.setdefault(name, []).append((time.perf_counter() - begun) / calls)
        close()
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    bare = [name for name in medians if name.startswith("bare")]
    met = True
    for name, median in medians.items():
        shares = {one: medians[one] / median for one in bare}
        line = f"{engine:11} {name:43}{1 / median:8,.0f}/s{median * 1e3:8.3f} ms  "
        if not name.startswith("bare"):
            line += "  ".join(f"{share:.2f} of {one}" for one, share in shares.items())
        if name == "authorize on one budget":
            met = all(share >= SHARE_MIN for share in shares.values())
            line += f"  {'PASS' if met else 'FAIL'} (goal {SHARE_MIN})"
        print(line, flush=True)
    return met


def together(*, rounds: int, seconds: float, processes: int) -> bool:
    """SQLite under contention. Prints the table; whether the goals are met."""
    ways: dict[str, dict[str, Any]] = {
        "one process": {"processes": 1},
        f"{processes}, queued": {"processes": processes},
        f"{processes}, SQLite's busy handler": {"processes": processes, "queue": False},
        f"{processes}, queued, half of them killed": {"processes": processes, "killed": processes // 2},
    }
    outcomes: dict[str, list[Outcome]] = {name: [] for name in ways}
    with databases("sqlite") as fresh:
        for _ in range(rounds):
            for name, way in ways.items():
                outcome = contend(
                    fresh(), names=ONE, admissions=10**9, seconds=seconds, watched=False, limit=Money(NANOS_MAX), **way
                )
                outcomes[name].append(outcome)
    for name, found in outcomes.items():
        print(
            f"sqlite      {name:34}{_median(found, 'rate'):8,.0f}/s   p50 {found[0].wait_at(50) * 1e3:6.2f} ms"
            f"   p99 {found[0].wait_at(99) * 1e3:7.1f} ms   worst {_median(found, 'worst_wait') * 1e3:8.0f} ms"
            f"   slowest/fastest {_median(found, 'fairness'):.2f}",
            flush=True,
        )
    one, queued, default, killed = outcomes.values()
    problems = [problem for found in outcomes.values() for outcome in found for problem in outcome.problems]
    goals = {
        "throughput of all over one": (_median(queued, "rate") / _median(one, "rate"), THROUGHPUT_MIN, True),
        "slowest caller over fastest": (_median(queued, "fairness"), FAIRNESS_MIN, True),
        "worst wait over the busy handler's": (_worst(queued) / _worst(default), WORST_WAIT_MAX, False),
        "the same with half killed": (_worst(killed) / _worst(default), WORST_WAIT_MAX, False),
    }
    met = not problems
    for name, (figure, goal, at_least) in goals.items():
        kept = figure >= goal if at_least else figure <= goal
        met = met and kept
        print(
            f"            {name:36}{figure:6.3f}  {'PASS' if kept else 'FAIL'} (goal {'>=' if at_least else '<='} {goal})"
        )
    print(f"            books afterwards                    {'PASS' if not problems else 'FAIL ' + problems[0]}")
    return met


def _median(found: list[Outcome], figure: str) -> float:
    middle: float = statistics.median(getattr(outcome, figure) for outcome in found)
    return middle


def _worst(found: list[Outcome]) -> float:
    """The median over the rounds of the longest wait in each."""
    return _median(found, "worst_wait")


def fdatasync_milliseconds() -> float:
    """What the disk takes to make one block durable: the yardstick of the yardsticks."""
    with tempfile.TemporaryFile() as file:
        taken = []
        for _ in range(200):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=150, help="of every variant in a round")
    parser.add_argument("--contests", type=int, default=3, help="rounds of eight processes")
    parser.add_argument("--seconds", type=float, default=3.0, help="of every contest")
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    import psycopg

    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, psycopg {psycopg.__version__}, ", end="")
    print(
        f"one fdatasync {fdatasync_milliseconds():.2f} ms, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    met = [alone(engine, rounds=options.rounds, calls=options.calls) for engine in ("sqlite", "postgresql")]
    met.append(together(rounds=options.contests, seconds=options.seconds, processes=options.processes))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
