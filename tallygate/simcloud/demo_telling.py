"""What is told of the simulated month: lines made of what the product has on record, and of nothing else.

A commit that adds to a job's story becomes a line here, with the amounts as they stand in the journal at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from .. import times
from ..jobs.job import Attempt, AttemptState, Job
from ..ledger.book import Book
from ..ledger.holds import Account
from ..money import Money, total
from ..pricing.offers import Offer, PurchaseOption
from ..reports.render import amount, provider_name
from ..store.jobs import JobRepository
from .timeline import instant
from .world import World


class Tone(StrEnum):
    """How a line is meant, for those who colour it."""

    PLAIN = "plain"
    GOOD = "good"
    TROUBLE = "trouble"
    REFUSED = "refused"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened. ``who``: a person, ``watch``, ``bills``, ``power`` or a cloud; ``job`` is empty when it is
    about none. ``more`` is the lesser half of a sentence, for a second row where the first is full."""

    at: datetime
    who: str
    job: str
    says: str
    more: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Jars:
    """The jars of every budget at the end of a week."""

    week: int
    at: datetime
    budgets: tuple[tuple[str, Account], ...]


Told = Line | Jars

_NAME_MAX = 20
_OVERLONG = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a job's cost stood at one moment."""

    name: str
    cost_state: str
    billed: Money | None
    spent: Money
    released: Money


class Telling:
    """Reads the product's own rows and says them."""

    def __init__(self, world: World, jobs: JobRepository, book: Book) -> None:
        self._world = world
        self._jobs = jobs
        self._book = book

    # --- a job's story, event by event

    def event(self, job_id: str, event: str, detail: str, *, who: str, at: datetime) -> Line | None:
        """One event of a job's story; None for one that goes without saying."""
        job = self._jobs.get(job_id)
        attempts = self._jobs.attempts(job_id)
        said = self._said(job, attempts, event, detail, by_watcher=who == "watch")
        if said is None:
            return None
        says, more, tone = said
        return Line(at=at, who=who, job=job.name, says=says, more=more, tone=tone)

    def _said(
        self, job: Job, attempts: list[Attempt], event: str, detail: str, *, by_watcher: bool
    ) -> tuple[str, str, Tone] | None:
        last = attempts[-1]
        match event:
            case "held":
                return f"held {money(job.hold)} until {last.not_after:%H:%M}", machine(job.offer), Tone.PLAIN
            case "launched" if last.number > 1:
                return f"runs again, attempt {last.number} within the same hold", machine(last.offer), Tone.GOOD
            case "launched" if by_watcher:
                return f"adopted: {short(last.machine_id)} carries its token", "", Tone.GOOD
            case "refused":
                return f"not launched: {detail.partition(': ')[2]}", "", Tone.TROUBLE
            case "unknown":
                says, _, held = detail.rpartition("; ")
                return says.replace(last.token, short(last.token)), held, Tone.TROUBLE
            case "interrupted":
                metered = money(total((each.metered_cost for each in attempts), job.hold.currency))
                return f"interrupted, {detail}", f"metered {metered} so far{self._saved(job)}", Tone.TROUBLE
            case "stop_requested":
                return f"asks for its end: {detail}", "", Tone.PLAIN
            case "extended":
                return f"extended: {detail}", f"now until {last.not_after:%H:%M}", Tone.PLAIN
            case "no_new_attempt" | "checkpoint" | "stop":
                return f"{detail}: {event.replace('_', ' ')}", "", Tone.QUIET
            case "completed" | "failed" | "terminated":
                return self._ended(job, attempts, event, detail)
        return None

    def _ended(self, job: Job, attempts: list[Attempt], event: str, detail: str) -> tuple[str, str, Tone]:
        seconds = sum(each.metered_seconds for each in attempts)
        metered = f"metered {money(job.metered_cost)} for {times.duration(seconds)}"
        held = f"{money(self._book.holds(job.id)[0].remaining)} still held"
        unseen = (
            "nobody was there to see its end, so it counts until it was missed; " if self._overlong(attempts) else ""
        )
        if event == "completed":
            return f"completed: {metered}", f"{unseen}{held}", Tone.GOOD
        if attempts[-1].state is AttemptState.VOID:  # why it was not launched once more has just been said
            return f"{event}: {metered}", held, Tone.TROUBLE
        return f"{event}: {detail}", f"{metered}; {unseen}{held}", Tone.TROUBLE

    def _overlong(self, attempts: list[Attempt]) -> bool:
        """Whether an end on record is much later than the true one, because the cloud had forgotten the machine."""
        for attempt in attempts:
            made = self._world.machines.get(attempt.machine_id or "")
            if made is not None and made.ended_at is not None and attempt.ended_at is not None:
                if attempt.ended_at - instant(made.ended_at) > _OVERLONG:
                    return True
        return False

    def _saved(self, job: Job) -> str:
        work = self._world.fleet.works.get(job.id)
        if work is None or not work.saved:
            return ""
        return f"; {times.duration(work.saved)} of {times.duration(work.seconds)} of work saved"

    # --- costs

    def standings(self) -> dict[str, Standing]:
        """How every job's cost stands now."""
        found: dict[str, Standing] = {}
        for row in self._jobs.documented_rows(most=10_000):
            job_id = str(row["job_id"])
            hold = self._book.holds(job_id)[0]
            billed = row["billed_cost_nanos"]
            found[job_id] = Standing(
                name=str(row["name"]),
                cost_state=str(row["cost_state"]),
                billed=None if billed is None else Money(int(str(billed)), str(row["currency"])),
                spent=hold.spent,
                released=hold.released,
            )
        return found

    def bills(self, before: Mapping[str, Standing], after: Mapping[str, Standing]) -> list[tuple[str, str, Tone]]:
        """What a collection of bills has changed."""
        lines: list[tuple[str, str, Tone]] = []
        changed = [(before[job_id], now) for job_id, now in after.items() if before[job_id] != now]
        first = [now.name for was, now in changed if was.billed is None and now.billed is not None]
        moved = [(was, now) for was, now in changed if was.billed is not None and was.billed != now.billed]
        final = [(was, now) for was, now in changed if now.cost_state == "final" and was.cost_state != "final"]
        named = f"now on a bill: {', '.join(first)}" if first else ""
        if moved:
            was, now = moved[0]
            others = f", and {len(moves)} more" if (moves := moved[1:]) else ""
            moving = f"still moving: {now.name} {money(was.billed)} -> {money(now.billed)}{others}"
            lines.append((named or moving, moving if named else "", Tone.QUIET))
        elif named:
            lines.append((named, "", Tone.QUIET))
        if final:
            sums = ", ".join(f"{now.name} {money(now.spent)}" for _, now in final)
            freed = total((now.released - was.released for was, now in final), final[0][1].spent.currency)
            lines.append((f"final: {sums}", f"{money(freed)} released", Tone.GOOD))
        return lines


# --- words


def money(value: Money | None) -> str:
    """An amount to the last nano."""
    return amount(value, in_full=True)


def machine(offer: Offer) -> str:
    """A machine and its price, in a few words. Spot goes without saying."""
    kind = "" if offer.purchase_option is PurchaseOption.SPOT else " on demand"
    return f"{provider_name(offer.provider)} {offer.instance_type}{kind} at {money(offer.hourly_price)}/h"


def short(machine_id: str | None) -> str:
    """Enough of a machine's name to know it again."""
    if machine_id is None:
        return "of unknown name"
    name = machine_id.rpartition("/")[2]
    return name if len(name) <= _NAME_MAX else f"{name[:10]}..{name[-8:]}"
