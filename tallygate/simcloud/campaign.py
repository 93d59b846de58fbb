"""Many runs: seeds spread over processes of this machine, until they are done or the time is up.

seeds --> runs, several at a time --> one report: how many, what happened in them, and one line for each that broke
"""

from __future__ import annotations

import gc
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from ..errors import UsageError
from ..times import Clock
from .bugs import Bug, Catch, all_bugs, hunt, settings_for
from .faults import FAULTS
from .simulation import Outcome, Settings, simulate

Say = Callable[[str], None]

_AHEAD = 3
"""How many runs wait for each process, so that none is ever idle."""

HAPPENINGS = (
    "attempts",
    "attempts void",
    "job completed",
    "job failed",
    "job terminated",
    "user: BudgetExceeded",
    "user: EstimateExceedsBudget",
    "user: OutcomeUnknown",
    "watcher died",
    "watcher: StoreFull",
    "watcher: StoreBusy",
    "watcher: CommitUnknown",
    "interrupted",
    "relaunched",
    "adopted",
    "extended",
    "asked to end",
    "orphans",
)
"""What must happen in a campaign of some hundred seeds. A simulation in which something never happens proves nothing of it."""


@dataclass(slots=True)
class Report:
    """What came of many runs. ``broken`` are those that broke a promise; ``ended_early``: the time was up;
    ``interrupted``: somebody pressed Control-C, and ``following`` is the first seed that was not run."""

    seeds: int = 0
    strict: int = 0
    events: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    broken: list[Outcome] = field(default_factory=list)
    seconds: int = 0
    ended_early: bool = False
    interrupted: bool = False
    following: int | None = None

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.strict += outcome.strict
        self.events += outcome.events
        self.counts.update(outcome.counts)
        self.struck.update(outcome.struck)
        if not outcome.is_clean:
            self.broken.append(outcome)

    @property
    def faults(self) -> int:
        return sum(self.struck.values())

    def lines(self) -> Iterator[str]:
        """One line for each broken run: what broke, and the command that shows it again."""
        for outcome in self.broken:
            yield f"{outcome.violations[0]}  [{outcome.settings.replay()}]"

    def missing(self) -> list[str]:
        """What never happened although it should have."""
        return [name for name in HAPPENINGS if not self.counts[name]]


def run_seeds(
    plain: Settings,
    seeds: Iterable[int],
    *,
    processes: int,
    clock: Clock,
    until: datetime | None = None,
    broken_max: int = 20,
    bug: Bug | None = None,
    say: Say | None = None,
) -> Report:
    """Run every seed, ``processes`` at a time, until ``until`` or until so many have broken a promise."""
    report = Report()
    started = clock.now()
    source = iter(seeds)
    with ProcessPoolExecutor(processes, initializer=_begin) as pool:
        waiting: dict[Future[Outcome], int] = {}
        try:
            while True:
                over = until is not None and clock.now() >= until
                report.ended_early = report.ended_early or over
                while not over and len(report.broken) < broken_max and len(waiting) < processes * _AHEAD:
                    seed = next(source, None)
                    if seed is None:
                        break
                    task = pool.submit(_one, replace(plain, seed=seed), None if bug is None else bug.name)
                    waiting[task] = seed
                if not waiting:
                    break
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for outcome in sorted((each.result() for each in done), key=lambda each: each.settings.seed):
                    report.add(outcome)
                    if say is not None:
                        _tell(say, report, outcome)
                for each in done:
                    del waiting[each]
        except KeyboardInterrupt:
            report.interrupted = True
            report.following = min(waiting.values(), default=None)
            for each in waiting:
                each.cancel()  # those that run take a moment more and tidy up after themselves
    report.seconds = int((clock.now() - started).total_seconds())
    report.broken.sort(key=lambda each: each.settings.seed)
    return report


def _begin() -> None:
    """A process that runs seeds: Control-C is for whoever started it, and little garbage is not worth a search."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(20_000, 20, 20)


def _tell(say: Say, report: Report, outcome: Outcome) -> None:
    if not outcome.is_clean:
        say(f"{outcome.violations[0]}  [{outcome.settings.replay()}]")
    elif report.seeds % 100 == 0:
        say(f"{report.seeds:,} seeds, {report.events:,} events, {report.faults:,} faults, {len(report.broken)} broken")


def _one(settings: Settings, bug: str | None) -> Outcome:
    if bug is None:
        return simulate(settings)
    planted = all_bugs()[bug]
    with planted.plant():
        return simulate(settings_for(planted, settings.seed, plain=settings))


def hunt_all(
    names: Sequence[str], seeds: range, *, processes: int, catches_wanted: int = 1, say: Say | None = None
) -> list[Catch]:
    """Look for several bugs, a process each; the catches in the order of the names."""
    pool = None if processes == 1 else ProcessPoolExecutor(processes, initializer=_begin)
    with nullcontext() if pool is None else pool:
        started = {name: None if pool is None else pool.submit(_hunt, name, seeds, catches_wanted) for name in names}
        found = []
        for name, future in started.items():
            result = _hunt(name, seeds, catches_wanted) if future is None else future.result()
            seed, looked, caught, invariants = result
            catch = Catch(bug=all_bugs()[name], seeds=looked, caught=caught, seed=seed, invariants=invariants)
            found.append(catch)
            if say is not None:
                say(f"{name}: " + (f"caught by seed {seed}, {looked} looked at" if catch.is_caught else "SURVIVED"))
    return found


def _hunt(name: str, seeds: range, catches_wanted: int) -> tuple[int | None, int, int, Counter[str]]:
    """In a process of its own; a bug itself cannot be sent between processes."""
    catch = hunt(all_bugs()[name], seeds, catches_wanted=catches_wanted)
    return catch.seed, catch.seeds, catch.caught, catch.invariants


# --- the file of runs that once broke a promise

_WHOLE = ("jobs", "hours", "scheduler_dies_at", "watchers", "longest")


def regression(outcome: Outcome) -> str:
    """A broken run as a line of the file."""
    settings, plain = outcome.settings, Settings(seed=outcome.settings.seed)
    words = [str(settings.seed)]
    words += [f"{name}={getattr(settings, name)}" for name in _WHOLE if getattr(settings, name) != getattr(plain, name)]
    if settings.strict is not None:
        words.append(f"strict={'yes' if settings.strict else 'no'}")
    if settings.store == "file":
        words.append("store=file")
    words += [f"rate.{name}={rate}" for name, rate in sorted(settings.rates.items())]
    return f"{' '.join(words)}  # {', '.join(sorted({each.invariant for each in outcome.violations}))}"


def keep_regressions(file: Path, outcomes: Iterable[Outcome]) -> int:
    """Append the runs that the file does not have yet; how many they were."""
    known = {_words(line) for line in file.read_text(encoding="utf-8").splitlines()} if file.exists() else set()
    fresh = [line for line in map(regression, outcomes) if _words(line) not in known]
    if fresh:
        with file.open("a", encoding="utf-8") as target:
            target.writelines(f"{line}\n" for line in fresh)
    return len(fresh)


def regressions(file: Path) -> list[Settings]:
    """The runs kept in a file: a line is a seed and settings that differ, ``8817 jobs=20 strict=yes``; ``#`` begins a note."""
    kept = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        words = _words(line)
        if words:
            kept.append(_settings(words, f"{file.name}:{number}"))
    return kept


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.partition("#")[0].split())


def _settings(words: Sequence[str], where: str) -> Settings:
    settings = Settings(seed=_number(words[0], where))
    for word in words[1:]:
        name, _, value = word.partition("=")
        kind, _, fault = name.partition(".")
        if name == "strict" and value in ("yes", "no"):
            settings = replace(settings, strict=value == "yes")
        elif name in _WHOLE:
            settings = replace(settings, **{name: _number(value, where)})  # type: ignore[arg-type]
        elif name == "store" and value == "file":
            settings = replace(settings, store=value)
        elif kind == "rate" and fault in FAULTS:
            settings = replace(settings, rates={**settings.rates, fault: _number(value, where)})
        else:
            raise UsageError(f"{where}: {word!r} is no setting of a run")
    return settings


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{where}: {text!r} is no whole number")
    return int(text)
