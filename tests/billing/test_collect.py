"""From bill to book, on the real store and the real ledger of both engines."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tallygate.billing.charge import Charge
from tallygate.billing.collect import Delivery
from tallygate.billing.versions import VersionState
from tallygate.errors import BillingError, Quarantined, StoreDeadlock, Unavailable, UnknownJob
from tallygate.jobs.job import CostState, JobState
from tallygate.ledger.holds import BudgetPeriod
from tallygate.money import Money
from tallygate.times import Period, instant

if TYPE_CHECKING:
    from tests.billing.conftest import Office

    Line = Callable[..., Charge]

HOUR = timedelta(hours=1)


def test_a_bill_becomes_the_jobs_cost_and_moves_its_holds(office: Office, line: Line, march: Period) -> None:
    """What was metered is replaced by what was billed: in the job, its own account and the budget above it."""
    office.book.add_budget(name="lab", limit=Money.of("100"), period=BudgetPeriod.NONE)
    job = office.job("i-1", price="0.80", budgets=("lab",))
    office.bill.lines = [line("0.75", start=job.submitted_at), line("0.02", start=job.submitted_at, category="Storage")]
    office.bill.through = march.end
    report = office.collector.retrieve()
    assert (report.processed, report.successful, report.failed) == (1, 1, 0)
    known = office.jobs.get(job.id)
    assert (known.billed_cost, known.final_cost, known.cost_state) == (
        Money.of("0.77"),
        Money.of("0.77"),
        CostState.FINAL,
    )
    assert known.cost_retrieved_at == office.clock.now()
    assert office.spent(job) == Money.of("0.77")
    assert office.book.account(office.book.budget("lab"), office.clock.now()).spent == Money.of("0.77")
    rows = office.database.all("charges.job_costs", job_id=job.id)
    assert [(row["cost_type"], row["amount_nanos"]) for row in rows] == [
        ("spot_compute", 750_000_000),
        ("storage", 20_000_000),
    ]
    assert office.charges.out_of_balance() == []
    assert office.book.verify().is_clean


def test_asking_again_for_the_same_bill_writes_nothing(office: Office, line: Line, march: Period) -> None:
    job = office.job("i-1")
    office.bill.lines = [line("0.75", start=job.submitted_at), line("0.10", resource=None)]
    office.bill.through = march.end
    assert office.collector.collect(office.bill, march).changed
    before, files = _everything(office), sorted(office.folder.rglob("*"))
    office.clock.advance(3600)
    office.bill.through = march.end + HOUR
    office.bill.lines.reverse()
    again = office.collector.retrieve(again=True)
    assert [bill.changed for bill in again.bills] == [False]
    assert (_everything(office), sorted(office.folder.rglob("*"))) == (before, files)


def test_a_new_bill_writes_only_the_jobs_that_it_changes(
    office: Office, line: Line, march: Period, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' rows stay, and belong to the bill that counts now: a month has thousands of jobs."""
    jobs = [office.job(f"i-{number}", hold="2") for number in range(4)]
    office.bill.lines = [line("0.5", resource=f"i-{number}", start=jobs[0].submitted_at) for number in range(3)]
    office.collector.collect(office.bill, march)
    office.clock.advance(3600)
    office.bill.lines[1] = line("0.6", resource="i-1", start=jobs[0].submitted_at)
    office.bill.lines[2] = line("0.7", resource="i-3", start=jobs[0].submitted_at)
    written: dict[str, set[str]] = {}
    write = office.database.run_each

    def writing(query: str, rows: Sequence[Mapping[str, object]]) -> None:
        written[query] = {str(row["job_id"]) for row in rows if "job_id" in row}
        write(query, rows)

    monkeypatch.setattr(office.database, "run_each", writing)
    assert office.collector.collect(office.bill, march).changed
    gone, new = {jobs[1].id, jobs[2].id}, {jobs[1].id, jobs[3].id}
    assert (written["charges.drop_cost"], written["charges.add_cost"]) == (gone, new)
    assert (written["charges.drop_day"], written["charges.add_daily"]) == (gone, new)
    (version,) = [each for each in office.charges.versions("aws", march) if each.state is VersionState.CURRENT]
    assert version.number == 2
    of_march = {"source": "aws", "period_start": march.start}
    for query in ("charges.period_costs", "charges.period_days"):
        assert {row["version_id"] for row in office.database.all(query, **of_march)} == {version.id}
    kept = office.database.all("charges.job_costs", job_id=jobs[0].id)
    assert [(row["amount_nanos"], instant(row["retrieved_at"])) for row in kept] == [  # type: ignore[arg-type]
        (500_000_000, office.clock.now())
    ]
    assert [office.charges.facts(job.id).billed_cost for job in jobs] == [
        Money.of("0.5"),
        Money.of("0.6"),
        None,
        Money.of("0.7"),
    ]
    assert office.charges.out_of_balance() == []
    assert office.book.verify().is_clean


def test_one_question_covers_every_job_of_a_source_and_month(office: Office, line: Line, march: Period) -> None:
    """Fifty jobs cost one call, and the call's price is reported."""
    jobs = [office.job(f"i-{number}", hold="2") for number in range(50)]
    office.bill.lines = [line("0.5", resource=f"i-{number}", start=jobs[0].submitted_at) for number in range(50)]
    office.bill.through = march.end
    office.clock.advance(7200)
    report = office.collector.retrieve(jobs_max=50)
    assert (report.successful, report.calls, report.asking_cost) == (50, 1, Money.of("0.01"))
    assert office.bill.asked == [march]
    assert office.collector.retrieve(jobs_max=50).as_dict()["billing_calls"] == 0


def test_a_job_over_a_months_end_asks_for_both_months(office: Office, line: Line, march: Period) -> None:
    start = march.end - HOUR
    office.clock.advance((start - office.clock.now()).total_seconds())
    job = office.job("i-1", start=start, seconds=7200, price="1")
    office.clock.advance(7200)
    office.bill.lines = [line("1.01", start=start), line("1.02", start=march.end)]
    office.bill.through = march.end + HOUR
    report = office.collector.retrieve()
    assert [period.start.month for period in office.bill.asked] == [3, 4]
    assert report.successful == 1
    assert office.jobs.get(job.id).final_cost == Money.of("2.03")
    days = office.database.all("reports.job_days", job_id=job.id)
    assert [(str(row["usage_date"]), row["billed_nanos"]) for row in days] == [
        ("2026-03-31", 1_010_000_000),
        ("2026-04-01", 1_020_000_000),
    ]


def test_a_bill_that_is_not_there_yet_is_unknown_and_not_zero(office: Office, march: Period) -> None:
    """An empty answer from a source that is not complete leaves the job as it was metered."""
    job = office.job("i-1")
    report = office.collector.retrieve()
    assert [(each.status, each.bill.billed) for each in report.jobs if each.bill] == [("pending", None)]
    known = office.jobs.get(job.id)
    assert (known.billed_cost, known.final_cost, known.cost_state) == (None, None, CostState.METERED)
    assert office.spent(job) == Money.of("0.80")


def test_a_complete_bill_that_does_not_name_the_machine_is_a_failure(office: Office, line: Line, march: Period) -> None:
    """A wrong filter or a lost tag must not turn a job into one that cost nothing."""
    job = office.job("i-1")
    office.bill.lines, office.bill.through = [line("5", resource="i-other")], march.end
    report = office.collector.retrieve()
    assert (report.successful, report.failed) == (0, 1)
    assert "no charge for i-1" in report.jobs[0].reason
    assert office.jobs.get(job.id).final_cost is None
    assert office.spent(job) == Money.of("0.80")


def test_a_billed_zero_is_a_cost(office: Office, line: Line, march: Period) -> None:
    job = office.job("i-1")
    office.bill.lines, office.bill.through = [line("0", start=job.submitted_at)], march.end
    assert office.collector.retrieve().successful == 1
    assert office.jobs.get(job.id).final_cost == Money.zero()
    assert office.spent(job) == Money.zero()


def test_half_a_bill_never_gives_money_back(office: Office, line: Line, march: Period) -> None:
    """Until the bill is complete, holds stay settled to what was metered if that is more."""
    job = office.job("i-1", seconds=7200, price="1")
    office.bill.lines = [line("0.40", start=job.submitted_at)]
    office.bill.through = job.submitted_at + HOUR
    report = office.collector.retrieve()
    assert (report.jobs[0].status, office.jobs.get(job.id).cost_state) == ("success", CostState.BILLED)
    assert office.jobs.get(job.id).billed_cost == Money.of("0.40")
    assert office.spent(job) == Money.of("2")
    office.bill.lines.append(line("0.50", start=job.submitted_at + HOUR))
    office.bill.through = march.end
    office.collector.retrieve()
    assert office.spent(job) == office.jobs.get(job.id).final_cost == Money.of("0.90")


def test_a_later_complete_through_alone_makes_a_cost_final(office: Office, line: Line, march: Period) -> None:
    job = office.job("i-1")
    office.bill.lines, office.bill.through = [line("0.75", start=job.submitted_at)], march.start
    office.collector.retrieve()
    assert office.jobs.get(job.id).cost_state is CostState.BILLED
    office.bill.through = march.end
    report = office.collector.retrieve()
    assert [bill.version.number for bill in report.bills if bill.version] == [1]
    assert office.jobs.get(job.id).cost_state is CostState.FINAL
    assert office.charges.complete_through("aws", march.start) == march.end


def test_a_restated_bill_is_a_new_version_and_the_old_one_stays_readable(
    office: Office, line: Line, march: Period
) -> None:
    job = office.job("i-1")
    office.bill.lines, office.bill.through = [line("0.75", start=job.submitted_at)], march.end
    office.collector.retrieve()
    office.clock.advance(86_400)
    office.bill.lines = [line("0.75", start=job.submitted_at), line("-0.15", start=job.submitted_at, kind="Credit")]
    office.collector.retrieve(again=True)
    versions = office.charges.versions("aws", march)
    assert [(each.number, each.state) for each in versions] == [
        (1, VersionState.SUPERSEDED),
        (2, VersionState.CURRENT),
    ]
    assert [charge.billed_cost for charge in office.snapshots.read(versions[0])] == [Money.of("0.75")]
    assert office.jobs.get(job.id).final_cost == office.spent(job) == Money.of("0.60")
    account = office.book.job_account(job.id)
    assert account is not None
    change = versions[1].totals()["USD"] - versions[0].totals()["USD"]
    assert change == Money.of("-0.15")


def test_a_restatement_that_takes_a_jobs_lines_away_makes_its_cost_unknown_again(
    office: Office, line: Line, march: Period
) -> None:
    job = office.job("i-1")
    office.bill.lines, office.bill.through = [line("0.75", start=job.submitted_at)], march.end
    office.collector.retrieve()
    office.clock.advance(60)
    office.bill.lines = [line("0.75", start=job.submitted_at, resource="i-other")]
    office.collector.retrieve(again=True)
    known = office.jobs.get(job.id)
    assert (known.billed_cost, known.final_cost, known.cost_state) == (None, None, CostState.METERED)
    assert office.spent(job) == Money.of("0.80")


def test_a_final_cost_beyond_the_hold_is_booked_in_full(office: Office, line: Line, march: Period) -> None:
    """A closed hold does not hide a bill that came out higher: the overrun counts against the budget."""
    office.book.add_budget(name="lab", limit=Money.of("5"))
    job = office.job("i-1", hold="1", budgets=("lab",))
    office.bill.lines, office.bill.through = [line("7", start=job.submitted_at)], march.end
    office.collector.retrieve()
    account = office.book.account(office.book.budget("lab"), office.clock.now())
    assert (account.spent, account.excess) == (Money.of("7"), Money.of("2"))


@pytest.mark.parametrize("what", ["shorter", "higher", "lower"])
def test_an_odd_bill_is_kept_and_not_applied(office: Office, line: Line, march: Period, what: str) -> None:
    job = office.job("i-1", seconds=7200)
    day = timedelta(days=1)
    good = [
        line("4", start=job.submitted_at),
        line("4", start=job.submitted_at + HOUR),
        line("1", start=march.start + 9 * day),
    ]
    office.bill.lines, office.bill.through = good, march.end
    office.collector.retrieve()
    before = _applied(office)
    office.clock.advance(60)
    office.bill.lines = {
        "shorter": good[:2],
        "higher": [*good, line("5", start=job.submitted_at)],
        "lower": [line("0.1", start=job.submitted_at), good[2]],
    }[what]
    report = office.collector.retrieve(again=True)
    assert report.problems
    with pytest.raises(Quarantined, match="not applied"):
        report.check()
    assert _applied(office) == before
    assert [each.state for each in office.charges.versions("aws", march)] == [
        VersionState.CURRENT,
        VersionState.QUARANTINED,
    ]
    repeated = office.collector.retrieve(again=True)
    assert repeated.problems == report.problems
    assert len(office.charges.versions("aws", march)) == 2
    assert office.collector.retrieve(again=True, accept=True).problems == []
    assert [each.state for each in office.charges.versions("aws", march)] == [
        VersionState.SUPERSEDED,
        VersionState.CURRENT,
    ]
    assert _applied(office) != before
    assert office.charges.out_of_balance() == []


def test_a_delivery_that_lacks_announced_rows_is_not_applied(office: Office, line: Line, march: Period) -> None:
    job = office.job("i-1")
    delivery = Delivery(
        source="aws",
        period=march,
        charges=[line("0.75", start=job.submitted_at)],
        issued_at=march.end,
        complete_through=march.end,
        expected_rows=2,
    )
    outcome = office.collector.deliver(delivery)
    assert outcome.problem == "1 rows came of the 2 that were announced"
    assert office.jobs.get(job.id).billed_cost is None
    assert office.charges.complete_through("aws", march.start) is None


def test_a_line_outside_the_period_refuses_the_whole_bill(office: Office, line: Line, march: Period) -> None:
    """The end of a period is not part of it; a source that thinks otherwise would be counted twice."""
    with pytest.raises(Quarantined, match="Line 2 begins at 2026-04-01"):
        office.collector.deliver(
            Delivery(
                source="aws",
                period=march,
                charges=[line("1", start=march.end - HOUR), line("1", start=march.end)],
                issued_at=march.end,
                complete_through=march.end,
            )
        )
    assert office.charges.versions("aws", march) == []
    assert [path for path in office.folder.rglob("*") if path.is_file() and "charges" in path.parts] == []


def test_two_currencies_stay_apart(office: Office, line: Line, march: Period) -> None:
    job = office.job("i-1")
    office.bill.lines = [line("0.75", start=job.submitted_at), line("9", start=job.submitted_at, currency="EUR")]
    office.bill.through = march.end
    office.collector.retrieve()
    assert office.jobs.get(job.id).final_cost == Money.of("0.75")
    (version,) = office.charges.versions("aws", march)
    assert version.totals() == {"USD": Money.of("0.75"), "EUR": Money.of("9", "EUR")}
    (row,) = office.database.all("charges.period_unattributed", source="aws", period_start=march.start)
    assert (row["currency"], row["reason"]) == ("EUR", "it is billed in EUR and the job is kept in USD")
    assert office.charges.out_of_balance() == []


def test_a_source_that_cannot_be_asked_is_reported_and_the_others_still_are(
    office: Office, line: Line, march: Period
) -> None:
    class Broken:
        name, calls, call_price = "gcp", 0, Money.zero()

        def charges(self, period: Period) -> Iterator[Charge]:
            raise Unavailable("the export is unreachable")

        def complete_through(self):
            return march.start

    office.job("g-1", provider="gcp")
    good = office.job("i-1")
    office.bill.lines, office.bill.through = [line("0.75", start=good.submitted_at)], march.end
    collector = office.collector_over({"aws": office.bill, "gcp": Broken()})
    report = collector.retrieve()
    assert (report.successful, report.failed) == (1, 1)
    assert report.problems == ["gcp 2026-03: the export is unreachable"]
    with pytest.raises(Unavailable):
        report.check()


def test_a_provider_without_a_source_is_a_failure_with_a_reason(office: Office) -> None:
    office.job("z-1", provider="azure")
    (outcome,) = office.collector.retrieve().jobs
    assert (outcome.status, outcome.reason) == ("failed", "no billing source is set up for azure")


def test_jobs_that_cannot_be_billed_starve_nobody(office: Office, line: Line, march: Period) -> None:
    """The oldest come first, and yet one collection brings in every job of the window."""
    stuck = []
    for number in range(3):
        stuck.append(office.job(f"lost-{number}"))
        office.clock.advance(3600)
    good = office.job("i-1")
    office.clock.advance(7200)
    office.bill.lines, office.bill.through = [line("0.75", start=good.submitted_at)], march.end
    report = office.collector.retrieve(jobs_max=3)
    assert [job.job_id for job in report.jobs] == [job.id for job in stuck]
    assert office.jobs.get(good.id).cost_state is CostState.FINAL


def test_a_job_that_never_had_a_machine_cost_nothing_for_sure(office: Office) -> None:
    job = office.job(None, state=JobState.FAILED)
    report = office.collector.retrieve()
    assert (report.successful, report.calls) == (1, 0)
    assert office.jobs.get(job.id).final_cost == Money.zero()


def test_a_running_job_is_billed_so_far_and_never_final(office: Office, line: Line, march: Period) -> None:
    job = office.job("i-1", ended=False)
    office.bill.lines, office.bill.through = [line("0.75", start=job.submitted_at)], march.end
    report = office.collector.retrieve(job_ids=[job.id])
    assert report.jobs[0].reason == "the job is running"
    assert office.jobs.get(job.id).cost_state is CostState.BILLED
    assert office.spent(job) == Money.of("0.75")
    (hold, *_) = office.book.holds(job.id)
    assert hold.is_open


def test_an_interrupted_jobs_attempts_all_count(office: Office, line: Line, march: Period) -> None:
    job = office.job("i-1", ended=False, price="1")
    (first,) = office.jobs.attempts(job.id)
    office.end(first, 3600)
    office.attempt(job, "i-2", number=2, start=job.submitted_at + 2 * HOUR, seconds=3600)
    office.finish(job, job.submitted_at + 3 * HOUR)
    office.bill.lines = [line("0.9", start=job.submitted_at)]
    office.bill.through = march.end
    office.clock.advance(4 * 3600)
    (outcome,) = office.collector.retrieve().jobs
    assert outcome.reason == "the aws bill is complete and has no charge for i-2"
    office.bill.lines.append(line("0.8", resource="i-2", start=job.submitted_at + 2 * HOUR))
    office.collector.retrieve()
    assert office.jobs.get(job.id).final_cost == office.spent(job) == Money.of("1.7")


def test_an_unknown_job_is_named(office: Office) -> None:
    with pytest.raises(UnknownJob, match="no job 'nobody'"):
        office.collector.retrieve(job_ids=["nobody"])


def test_a_kept_bill_that_was_changed_is_noticed(office: Office, line: Line, march: Period) -> None:
    office.bill.lines = [line("1")]
    outcome = office.collector.collect(office.bill, march)
    assert outcome.version is not None
    path = office.folder / "charges" / outcome.version.path
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text.replace(b",1.00,", b",0.01,")))
    with pytest.raises(BillingError, match="not what was written"):
        list(office.snapshots.read(outcome.version))


def test_a_bill_that_does_not_add_up_to_its_control_total_is_not_applied(
    office: Office, line: Line, march: Period
) -> None:
    office.bill.lines = [line("1")]
    outcome = office.collector.collect(office.bill, march)
    assert outcome.version is not None
    office.database.run(
        "charges.add_day",
        version_id=outcome.version.id,
        usage_date="2026-03-09",
        currency="USD",
        row_count=1,
        total_nanos=5,
    )
    assert [each.control - each.jobs - each.unattributed for each in office.charges.out_of_balance()] == [Money(5)]
    before = office.view()
    assert "does not add up" in office.collector.collect(office.bill, march).problem
    assert office.view() == before


def test_a_crash_while_switching_leaves_the_old_bill_in_force(
    office: Office, line: Line, march: Period, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version, the costs, the jobs and the holds change together or not at all; asking again completes it."""
    job = office.job("i-1")
    office.bill.lines, office.bill.through = [line("0.75", start=job.submitted_at)], march.end
    office.collector.retrieve()
    before = office.view()
    office.clock.advance(60)
    office.bill.lines = [line("0.70", start=job.submitted_at)]

    class Died(BaseException):
        pass

    def dies(**_: object) -> list[object]:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(office.book, "settle", dies)
        with pytest.raises(Died):
            office.collector.retrieve(again=True)
    assert office.view() == before
    assert [each.number for each in office.charges.versions("aws", march)] == [1]
    office.collector.retrieve(again=True)
    assert office.spent(job) == Money.of("0.70")
    assert [each.number for each in office.charges.versions("aws", march)] == [1, 2]


def test_a_switch_that_has_to_begin_again_still_has_its_file(
    office: Office, line: Line, march: Period, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session may end the transaction after the file was put in its place; the second try puts it there again."""
    job = office.job("i-1")
    office.bill.lines, office.bill.through = [line("0.75", start=job.submitted_at)], march.end
    settle, tries = office.book.settle, []

    def settles(**values: object) -> object:
        tries.append(values)
        if len(tries) == 1:
            raise StoreDeadlock
        return settle(**values)  # type: ignore[arg-type]

    monkeypatch.setattr(office.book, "settle", settles)
    office.collector.retrieve()
    (version,) = office.charges.versions("aws", march)
    assert len(tries) == 2
    assert [charge.billed_cost for charge in office.snapshots.read(version)] == [Money.of("0.75")]
    files = [path.name for path in (office.folder / "charges").rglob("*") if path.is_file()]
    assert files == ["v0001.csv.gz"]


def _applied(office: Office) -> dict[str, object]:
    """What has taken effect; versions that are only kept have not."""
    return {key: value for key, value in office.view().items() if key != "versions"}


def _everything(office: Office) -> dict[str, list[dict[str, object]]]:
    """Every row that a collection could write, moments included."""
    found = {"versions": [repr(each) for each in office.charges.versions("aws", Period.month(office.clock.now()))]}
    jobs = office.jobs.documented_rows(most=100)
    found["jobs"] = [str(dict(row)) for row in jobs]
    for query in ("period_costs", "period_days", "period_unattributed", "period_accounts"):
        start = Period.month(office.clock.now()).start
        rows = office.database.all(f"charges.{query}", source="aws", period_start=start)
        found[query] = sorted(str(dict(row)) for row in rows)
    for row in jobs:
        found[str(row["job_id"])] = [repr(hold) for hold in office.book.holds(str(row["job_id"]))]
        found["entries"] = [repr(office.book.job_account(str(row["job_id"])))]
    return found  # type: ignore[return-value]


def test_a_window_goes_by_when_jobs_ended_and_final_ones_are_answered_without_asking(
    office: Office, line: Line, march: Period
) -> None:
    old = office.job("i-1")
    office.clock.advance(8 * 86_400)
    new = office.job("i-2")
    office.bill.lines = [line("0.7", start=old.submitted_at), line("0.8", resource="i-2", start=new.submitted_at)]
    office.bill.through = march.end
    week = office.collector.retrieve()
    assert [job.job_id for job in week.jobs] == [new.id]
    again = office.collector.retrieve(days_back=30)
    assert [(job.job_id, job.status) for job in again.jobs] == [(old.id, "success"), (new.id, "success")]
    assert (again.processed, again.successful, again.calls) == (2, 2, 0)
    assert office.collector.retrieve(job_ids=[old.id]).calls == 0
    assert office.collector.retrieve(job_ids=[old.id], again=True).calls == 1
    assert list(again.as_dict())[:4] == ["processed", "successful", "failed", "pending"]
