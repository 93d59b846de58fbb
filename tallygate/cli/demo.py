"""``tallygate demo``: a simulated month of a small team, told as it happens, and a database to try the reports on."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import environment
from ..errors import ConfigError, UsageError
from ..times import Clock, SystemClock
from . import flags
from .options import Json
from .output import is_terminal, show, show_json
from .shell import Interrupted

if TYPE_CHECKING:
    from ..simcloud.demo import Books
    from ..simcloud.demo_telling import Jars, Line, Told

WIDTH_MAX = 110
WIDTH_MIN = 60
PACE = "0.14"
PACE_MAX = 10
AGO_MAX = 3_000
_JOB = 12
_INDENT = 15 + _JOB
"""Where a line says what happened: after the time, who it was, and the job."""


def demo(
    folder: Annotated[str, typer.Option("--folder", metavar="DIR", help="Where to leave the database.")] = "demo",
    again: Annotated[bool, typer.Option("--again", help="Replace what a former demonstration left there.")] = False,
    seed: Annotated[str | None, typer.Option("--seed", metavar="N", help="Another world: other prices.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Last day of the month (default: yesterday, UTC).")
    ] = None,
    pace: Annotated[str, typer.Option("--pace", metavar="SECONDS", help="Pause after a line, on a terminal.")] = PACE,
    fast: Annotated[bool, typer.Option("--fast", help="No pauses.")] = False,
    json: Json = False,
) -> None:
    """A month of a small team in a pretend world of three clouds, told as it happens; no account is needed.

    Everything else is real: the launches, refusals, holds and settlements are this program's own, on a database that is left
    behind with the commands to look at it. The same seed and last day tell the same month.

    \b
    Examples:
      tallygate demo
      tallygate demo --fast --folder try-it
      tallygate demo --seed 12 --again
    """
    try:
        from ..simcloud.demo import SEED, Month
    except ModuleNotFoundError as error:
        raise ConfigError(
            "The demonstration needs greenlet, which is not installed", cure="pip install 'tallygate[sim]'"
        ) from error
    from tempfile import TemporaryDirectory

    from ..simcloud.demo_folder import DemoFolder

    clock = SystemClock()
    number = SEED if seed is None else flags.whole("--seed", seed, low=0, high=2**31)
    last_day = _last_day(until, clock)
    pause = flags.number("--pace", pace, low=0, high=PACE_MAX) or Decimal(0)
    left = DemoFolder(Path(folder))
    left.check(again=again, clock=clock)
    memory = Path("/dev/shm")  # noqa: S108  only to be faster: what is kept is copied from there
    try:
        with TemporaryDirectory(prefix="tallygate-demo-", dir=memory if memory.is_dir() else None) as made:
            month = Month(Path(made), seed=number, last_day=last_day)
            try:
                screen = _Screen(clock, Decimal(0) if fast or json else pause)
                for told in month.tell():
                    if not json:
                        screen.tell(told)
            finally:
                month.close()
            books = month.books
            assert books is not None  # the month was told to its end
            left.fill(Path(made), books)
    except KeyboardInterrupt:
        raise Interrupted("No database was left behind.", "Tell it from the beginning: tallygate demo") from None
    commands = to_try(books, today=clock.now().date())
    if json:
        show_json(_for_programs(books, left.database, commands))
    else:
        screen.close(books)
        screen.offer(left.database, commands)


def to_try(books: "Books", *, today: date) -> list[str]:
    """Commands worth a look on the month's database, as they are typed after the program's name."""
    days = max(30, (today - books.first_day).days + 1)
    job = books.resumed_job or books.last_job
    return [
        "jobs list --limit 40",
        f"jobs show {job}",
        f"report job {job}",
        f"report trends --days {days}",
        "report budget",
        f"report compare --days {days}",
        "budget list",
        "budget show lab",
        "budget history lab/genomics --limit 12",
        "budget verify",
        f"costs --batch --max-jobs 40 --days-back {days}",
        f"report trends --days {days} --json",
    ]


def _last_day(until: str | None, clock: Clock) -> date:
    yesterday = (clock.now() - timedelta(days=1)).date()
    if until is None:
        return yesterday
    try:
        found = date.fromisoformat(until)
    except ValueError:
        raise UsageError(f"--until {until[:40]!r} is not a date", cure=f"Write it like {yesterday}") from None
    if not yesterday - timedelta(days=AGO_MAX) <= found <= yesterday:
        raise UsageError(
            f"--until {found} is not a day that is over, or is more than {AGO_MAX:,} days ago",
            cure=f"Use {yesterday} or a day before it",
        )
    return found


def _for_programs(books: "Books", database: Path, commands: list[str]) -> dict[str, object]:
    return {
        "database": str(database),
        "seed": books.seed,
        "first_day": books.first_day,
        "last_day": books.last_day,
        "jobs": dict(sorted(books.jobs.items())),
        "refused": books.refused,
        "machines": books.machines,
        "interrupted": books.interrupted,
        "final_jobs": books.final_jobs,
        "promises_checked": books.promises,
        "events": books.events,
        "used_nanos": books.used,
        "spent_nanos": books.spent,
        "nobodys_nanos": books.nobodys,
        "digest": books.digest,
        "commands": [f"tallygate {command}" for command in commands],
    }


# --- on the screen


class _Screen:
    """Lines in columns, wrapped to the terminal, at a pace that a person can follow. In a pipe plain and at once."""

    def __init__(self, clock: Clock, pause: Decimal) -> None:
        from ..reports.render import wants_colour

        terminal = is_terminal(sys.stdout)
        self._clock = clock
        self._pause = float(pause) if terminal else 0.0
        self._colour = wants_colour(environment(), is_terminal=terminal)
        columns = shutil.get_terminal_size().columns if terminal else 80
        self._width = max(WIDTH_MIN, min(WIDTH_MAX, columns))
        self._day: date | None = None
        self._at = ""

    def tell(self, told: "Told") -> None:
        from ..simcloud.demo_telling import Line

        for row in self._line(told) if isinstance(told, Line) else self._week(told):
            show(row)
        if self._pause:
            sys.stdout.flush()
            self._clock.sleep(self._pause)

    def _line(self, line: "Line") -> Iterator[str]:
        if line.at.date() != self._day:
            self._day, self._at = line.at.date(), ""
            yield self._paint(f"{line.at:%A}, {line.at.day} {line.at:%B}", "bold")
        clock = f"{line.at:%H:%M}"
        shown = "     " if clock == self._at else self._paint(clock, "dim")
        self._at = clock
        indent = _INDENT if line.job else _INDENT - _JOB
        first, *others = self._rows(line, self._width - indent)
        yield f"  {shown} {line.who:<7}{f'{line.job:<{_JOB}}' if line.job else ''}{first}"
        yield from (" " * indent + text for text in others)

    def _rows(self, line: "Line", width: int) -> list[str]:
        """What a line says in rows of ``width``, its lesser half apart where both do not fit."""
        import textwrap

        if line.more and len(line.says) + 2 + len(line.more) <= width:
            return [f"{self._toned(line.says, line.tone)}, {self._paint(line.more, 'dim')}"]
        says = textwrap.wrap(line.says, width, break_on_hyphens=False)
        more = textwrap.wrap(line.more, width, break_on_hyphens=False)
        return [*(self._toned(text, line.tone) for text in says), *(self._paint(text, "dim") for text in more)]

    def _toned(self, text: str, tone: str) -> str:
        style = {"good": "green", "trouble": "yellow", "refused": "red", "quiet": "dim"}.get(tone)
        return text if style is None else self._paint(text, style)

    def _week(self, jars: "Jars") -> Iterator[str]:
        yield ""
        title = f"  The jars after week {jars.week}"
        yield self._paint(f"{title:<33}{'SPENT #':>11}{'HELD +':>11}{'AVAILABLE .':>12}{'LIMIT':>9}", "bold")
        for name, account in jars.budgets:
            bar = _bar(account.spent.nanos, account.held.nanos, account.limit.nanos)
            cells = "".join(f"{f'${jar:.4f}':>11}" for jar in (account.spent, account.held))
            yield f"  {name:<13}[{bar}]{cells}{f'${account.available:.4f}':>12}{f'${account.limit:.2f}':>9}"
        yield ""

    def close(self, books: "Books") -> None:
        """What the month came to, and that its books say the truth."""
        jobs = ", ".join(f"{count} {state}" for state, count in sorted(books.jobs.items()))
        first, last = books.first_day, books.last_day
        show("")
        show(self._paint(f"{first.day} {first:%B} to {last.day} {last:%B %Y} is told; seed {books.seed}", "bold"))
        show(f"  {books.jobs_in_all} jobs: {jobs}; {books.refused} requests were refused")
        show(f"  {books.machines} machines on three clouds, {books.interrupted} of them interrupted")
        show(f"  {books.promises} promises were watched through {books.events:,} events, and none was broken")
        show("  the bill of every job is final, and the books say the truth:")
        show("")
        wide = len(f"{books.used:,}")
        show(f"    {books.used:>{wide},} nanos metered by the world")
        show(self._paint(f"  = {books.spent:>{wide},} nanos spent in the ledger", "green"))
        if books.nobodys:
            says = "nanos on lines that name no job: nobody is charged"
            show(self._paint(f"  + {books.nobodys:>{wide},} {says}", "green"))

    def offer(self, database: Path, commands: list[str]) -> None:
        """How to go on."""
        program = program_name(sys.argv[0])
        show("")
        show(self._paint("Now look at it yourself:", "bold"))
        show("")
        show(f"  export CLOUD_SCHEDULER_DB={shlex.quote(str(database))}")
        for command in commands:
            show(f"  {program} {command}")
        show("")
        show("Every report takes --json. No cloud was asked for anything, and nothing is owed.")

    def _paint(self, text: str, style: str) -> str:
        from ..reports.render import paint

        return paint(text, style, colour=self._colour)


def _bar(spent: int, held: int, limit: int, width: int = 16) -> str:
    """Spent, held and available as one strip. What is not nothing shows at least one mark."""
    if limit <= 0:
        return "." * width
    full = min(width, -(-spent * width // limit))
    promised = min(width - full, -(-held * width // limit))
    return ("#" * full + "+" * promised).ljust(width, ".")


def program_name(typed: str) -> str:
    """How this program was called, so that the same words work again."""
    name = os.path.basename(typed)
    if name == "__main__.py":
        return "python -m tallygate"
    if name != "tallygate" or os.sep not in typed or shutil.which(name) == os.path.abspath(typed):
        return "tallygate"
    return shlex.quote(os.path.relpath(typed))
