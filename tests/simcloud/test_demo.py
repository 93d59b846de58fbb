"""The simulated month: every situation happens for real, the books close on the truth, and the seed decides the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tallygate.errors import CheckFailed
from tallygate.jobs.job import Attempt, Job
from tallygate.ledger.book import Book
from tallygate.money import Money
from tallygate.simcloud.bugs import all_bugs
from tallygate.simcloud.demo import DATABASE, Books, Month
from tallygate.simcloud.demo_story import DAYS, SCHEDULER_DOWN, WISHES, Trouble
from tallygate.simcloud.demo_telling import Jars, Line, Told
from tallygate.simcloud.world import World
from tallygate.store.database import Database, open_database
from tallygate.store.jobs import JobRepository
from tallygate.store.journal import JournalStore
from tallygate.store.migrate import install_id
from tallygate.times import text

LAST_DAY = date(2026, 11, 20)


@dataclass
class Told29:
    """A month that has been told, and what it left behind, opened again."""

    told: list[Told]
    books: Books
    world: World
    database: Database
    jobs: JobRepository

    @property
    def lines(self) -> list[Line]:
        return [each for each in self.told if isinstance(each, Line)]

    def about(self, job: str) -> list[str]:
        return [f"{each.who}: {each.says}; {each.more}" for each in self.lines if each.job == job]

    def job(self, name: str) -> tuple[Job, list[Attempt]]:
        job = self.jobs.find(name)
        return job, self.jobs.attempts(job.id)

    def truly_cost(self, job: Job) -> int:
        return self.world.truth.job(job.id)


def tell(folder: Path, *, seed: int = 1, last_day: date = LAST_DAY) -> Told29:
    month = Month(folder, seed=seed, last_day=last_day)
    try:
        told = list(month.tell())
    finally:
        month.close()
    assert month.books is not None
    database = open_database(str(folder / DATABASE), create=False)
    return Told29(told, month.books, month.world, database, JobRepository(database))


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told29]:
    found = tell(tmp_path_factory.mktemp("month"))
    yield found
    found.database.close()


def wish_with(trouble: Trouble) -> str:
    return next(wish.job for wish in WISHES if wish.trouble is trouble)


# --- the whole


def test_the_books_say_the_truth_to_the_nano(month: Told29, clock: object) -> None:
    books = month.books
    truth = sum(meter.nanos(month.world.now) for meter in month.world.truth.meters)
    assert books.used == truth > 10_000_000_000
    assert books.spent + books.nobodys == truth
    book = Book(JournalStore(month.database), clock=month.world.clock, entropy=month.world.entropy("test"))
    lab = book.account(book.budget("lab"), month.world.instant())
    assert (lab.spent.nanos, lab.held.nanos) == (books.spent, 0)
    assert book.verify().is_clean


def test_every_bill_is_final(month: Told29) -> None:
    rows = month.jobs.documented_rows(most=1000)
    assert len(rows) == month.books.jobs_in_all > 20
    assert {row["cost_state"] for row in rows} == {"final"}


def test_the_month_lies_within_thirty_days_and_all_of_it_in_the_past(month: Told29) -> None:
    first, last = month.lines[0].at, month.lines[-1].at
    assert first.date() == LAST_DAY - timedelta(days=DAYS - 1)
    assert last < datetime.combine(LAST_DAY + timedelta(days=1), datetime.min.time(), UTC)
    assert [each.at for each in month.told] == sorted(each.at for each in month.told)


def test_all_three_clouds_have_enough_jobs_to_be_compared(month: Told29) -> None:
    providers = [str(row["provider"]) for row in month.jobs.documented_rows(most=1000)]
    assert {name: providers.count(name) >= 5 for name in ("aws", "gcp", "azure")} == dict.fromkeys(
        ("aws", "gcp", "azure"), True
    )


def test_a_week_ends_with_the_jars_of_every_lasting_budget(month: Told29) -> None:
    weeks = [each for each in month.told if isinstance(each, Jars)]
    assert [each.week for each in weeks] == [1, 2, 3, 4]
    for jars in weeks:
        accounts = dict(jars.budgets)
        assert set(accounts) == {"lab", "lab/imaging", "lab/genomics"}
        assert all(each.held + each.spent <= each.limit for each in accounts.values())
    spent = [dict(each.budgets)["lab"].spent for each in weeks]
    assert spent[0] < spent[1] < spent[2] < spent[3]


def test_what_is_told_of_a_hold_and_a_meter_is_what_is_on_record(month: Told29) -> None:
    told = 0
    for line in month.lines:
        if line.says.startswith("held "):
            job, _ = month.job(line.job)
            if job.charged_to == "lab/imaging" and line.job != "segment-5":  # the one whose hold grew afterwards
                assert line.says.startswith(f"held ${job.hold.shown()} until ")
                told += 1
        if line.says.startswith("completed: "):
            job, attempts = month.job(line.job)
            metered = Money(sum(each.metered_cost.nanos for each in attempts))
            assert f"metered ${metered.shown()} for " in line.says
            told += 1
    assert told > 30


def test_what_is_told_as_final_is_what_a_job_truly_cost(month: Told29) -> None:
    said = " ".join(line.says for line in month.lines if line.says.startswith("final: "))
    for row in month.jobs.documented_rows(most=1000):
        job = month.jobs.get(str(row["job_id"]))
        cost = Money(int(str(row["final_cost_nanos"])))
        assert f"{job.name} ${cost.shown()}" in said
        if not month.books.nobodys:
            assert cost.nanos == month.truly_cost(job)


# --- situations


def test_refusals_leave_no_job_and_hold_nothing(month: Told29) -> None:
    refused = [line for line in month.lines if line.says.startswith("refused: ")]
    assert [line.job for line in refused] == ["assemble-1", "nightly-2", "assemble-2"]
    assert "Estimated cost" in refused[0].says
    assert "exceeds budget $5.00" in refused[0].says
    assert "Budget lab/nightly has" in refused[1].says
    assert "Budget lab/genomics has" in refused[2].says
    for line in refused:  # the one that there is was asked for afterwards
        job, _ = month.job(line.job)
        assert job.submitted_at > line.at
    assert month.books.refused == 3


def test_an_interrupted_job_goes_on_where_it_was_saved(month: Told29) -> None:
    name = wish_with(Trouble.TAKEN_BACK)
    job, attempts = month.job(name)
    wish = next(each for each in WISHES if each.job == name)
    assert job.state == "completed"
    assert [each.end_reason for each in attempts][:1] == ["the provider took it back"]
    worked = sum(each.metered_seconds for each in attempts)
    assert wish.minutes * 60 < worked < wish.minutes * 60 * 1.1
    assert any("of work saved" in said for said in month.about(name))


def test_a_price_jump_ends_at_the_ceiling_and_costs_no_more_than_was_held(month: Told29) -> None:
    name = wish_with(Trouble.PRICE_JUMP)
    job, attempts = month.job(name)
    machine = month.world.machines[attempts[0].machine_id or ""]
    assert machine.end_cause == "price"
    assert machine.build.ceiling is not None
    assert machine.build.pool.price_at(machine.ended_at or 0) > machine.build.ceiling
    assert 0 < month.truly_cost(job) <= job.hold.nanos
    assert any("its price passed the ceiling" in said for said in month.about(name))
    assert job.state == "failed"


def test_a_dead_launchers_machine_is_adopted_and_there_is_only_one(month: Told29) -> None:
    name = wish_with(Trouble.LAUNCHER_DIES)
    job, attempts = month.job(name)
    story = month.about(name)
    assert any("the launching process dies" in said for said in story)
    assert any(said.startswith("watch: adopted: ") for said in story)
    assert [each.job_id for each in month.world.machines.values()].count(job.id) == len(attempts)
    assert job.state == "completed"


def test_a_lost_reply_keeps_the_money_held_until_the_machine_is_found(month: Told29) -> None:
    name = wish_with(Trouble.LOST_REPLY)
    job, _ = month.job(name)
    events = [event["event"] for event in month.jobs.events(job.id)]
    assert events[:3] == ["held", "unknown", "launched"]
    assert f"${job.hold.shown()} stay held" in next(said for said in month.about(name) if "did not answer" in said)


def test_where_there_is_no_capacity_the_next_offer_is_taken(month: Told29) -> None:
    _, attempts = month.job(wish_with(Trouble.NO_CAPACITY))
    assert [each.state for each in attempts][:2] == ["void", "ended"]
    assert attempts[0].offer != attempts[1].offer


def test_the_same_request_sent_twice_is_one_job(month: Told29) -> None:
    name = next(wish.job for wish in WISHES if wish.again)
    assert sum(row["name"] == name for row in month.jobs.documented_rows(most=1000)) == 1
    assert any("it is the same job" in said for said in month.about(name))


def test_while_the_scheduler_is_down_machines_end_by_themselves(month: Told29) -> None:
    (down_day, _), (up_day, up_at) = SCHEDULER_DOWN
    hours, minutes = map(int, up_at.split(":"))
    back = datetime.combine(month.books.first_day, datetime.min.time(), UTC) + timedelta(
        days=up_day, hours=hours, minutes=minutes
    )
    hung = next(wish.job for wish in WISHES if wish.hangs)
    job, attempts = month.job(hung)
    machine = month.world.machines[attempts[-1].machine_id or ""]
    assert machine.end_cause == "deadline"
    assert (machine.ended_at or 0) < int(back.timestamp() * 1_000_000)
    assert job.state == "terminated"
    assert month.truly_cost(job) <= job.hold.nanos
    silent = [
        line
        for line in month.lines
        if line.who != "power" and down_day == (line.at.date() - month.books.first_day).days
    ]
    assert max(line.at for line in silent) < back


def test_bills_come_late_move_and_settle(month: Told29) -> None:
    says = [f"{line.says}; {line.more}" for line in month.lines if line.who == "bills"]
    for words in ("now on a bill: ", "still moving: ", "final: ", "cannot be had"):
        assert any(words in each for each in says)


def test_a_hung_up_night_is_first_metered_in_full_and_corrected_by_the_bill(month: Told29) -> None:
    job, attempts = month.job("train-5")
    metered = sum(each.metered_cost.nanos for each in attempts)
    row = month.jobs.documented_row(job.id)
    assert row is not None
    assert int(str(row["final_cost_nanos"])) < metered


# --- the seed and the date


def test_the_same_seed_and_day_tell_the_same_month(month: Told29, tmp_path: Path) -> None:
    again = tell(tmp_path)
    assert again.told == month.told
    assert again.books == month.books
    again.database.close()


@pytest.mark.parametrize(("seed", "last_day"), [(3, LAST_DAY), (7, date(2027, 3, 1)), (9, date(2028, 2, 29))])
def test_other_worlds_take_another_course_and_end_in_order_too(
    month: Told29, tmp_path: Path, seed: int, last_day: date
) -> None:
    other = tell(tmp_path, seed=seed, last_day=last_day)
    assert other.books.digest != month.books.digest
    assert other.books.used != month.books.used
    assert other.books.final_jobs == other.books.jobs_in_all
    told = " ".join(f"{line.says} {line.more}" for line in other.lines)
    for words in ("refused: ", "runs again", "price goes", "adopted: ", "did not answer", "the scheduler is back"):
        assert words in told
    other.database.close()


def test_the_database_says_which_installation_made_the_machines(month: Told29) -> None:
    class Never:
        def bytes(self, count: int) -> bytes:
            raise AssertionError("it is on record already")

    known = install_id(month.database, month.world.clock, Never())
    assert known == month.books.install_id
    assert {each.build.tags["tallygate-install"] for each in month.world.machines.values()} == {known}


def test_instants_on_record_are_the_months_own(month: Told29) -> None:
    first = text(datetime.combine(month.books.first_day, datetime.min.time(), UTC))
    for row in month.jobs.documented_rows(most=1000):
        assert first < str(row["created_at"]) < str(row["updated_at"])


@pytest.mark.parametrize("bug", ["holds_the_estimate", "one_nano_off", "final_at_the_first_bill"])
def test_a_broken_promise_stops_the_month(tmp_path: Path, bug: str) -> None:
    with all_bugs()[bug].plant():
        month = Month(tmp_path, last_day=LAST_DAY)
        try:
            with pytest.raises(CheckFailed) as refused:
                list(month.tell())
        finally:
            month.close()
    assert "promise" in refused.value.message
    assert f"--until {LAST_DAY}" in refused.value.cure
