"""Bills in the store: versions, the costs derived from them, and the cost side of jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from ..billing.attribute import GRACE, Life, Tally
from ..billing.charge_store import JobBilling
from ..billing.settle import AttemptFacts, CostRow, JobBill, JobFacts
from ..billing.stated import SOURCE as STATED
from ..billing.versions import DayTotal, Version, VersionState
from ..errors import StoreDamaged, UnknownJob
from ..jobs.job import AttemptState, CostState, JobState
from ..money import Money
from ..times import ALWAYS, Period, instant, maybe_instant, text
from .database import Database, Row


@dataclass(frozen=True, slots=True)
class Imbalance:
    """A current bill whose parts do not add up to it. Never seen unless rows were changed behind our back."""

    source: str
    period_start: datetime
    version: int
    control: Money
    jobs: Money
    unattributed: Money


class ChargeRepository:
    """The bills of one store. Implements ``billing.charge_store.ChargeStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self) -> AbstractContextManager[None]:
        return self._database.transaction()

    # --- versions

    def versions(self, source: str, period: Period) -> list[Version]:
        days: dict[str, list[DayTotal]] = {}
        for row in self._database.all("charges.days", source=source, period_start=period.start):
            total = DayTotal(_date(row, "usage_date"), _int(row, "row_count"), _money(row, "total_nanos"))
            days.setdefault(str(row["version_id"]), []).append(total)
        return [
            _version(row, tuple(days.get(str(row["version_id"]), ())))
            for row in self._database.all("charges.versions", source=source, period_start=period.start)
        ]

    def add_version(self, version: Version) -> None:
        self._database.run(
            "charges.add_version",
            version_id=version.id,
            source=version.source,
            period_start=version.period.start,
            period_end=version.period.end,
            version=version.number,
            state=version.state,
            row_count=version.row_count,
            digest=version.digest,
            path=version.path,
            file_sha256=version.file_sha256,
            issued_at=version.issued_at,
            complete_through=version.complete_through,
            retrieved_at=version.retrieved_at,
            accepted=version.accepted,
            flaw=version.flaw,
            note=version.note,
        )
        for day in version.days:
            self._database.run(
                "charges.add_day",
                version_id=version.id,
                usage_date=day.day,
                currency=day.amount.currency,
                row_count=day.lines,
                total_nanos=day.amount.nanos,
            )

    def save_version(self, version: Version) -> None:
        self._database.run(
            "charges.save_version",
            version_id=version.id,
            state=version.state,
            accepted=version.accepted,
            note=version.note,
            complete_through=version.complete_through,
        )

    def complete_through(self, source: str, period_start: datetime) -> datetime | None:
        row = self._database.one("charges.complete_through", source=source, period_start=period_start)
        return None if row is None else maybe_instant(row["complete_through"])

    def out_of_balance(self) -> list[Imbalance]:
        """Current bills that their jobs and unattributed lines do not add up to."""
        return [
            Imbalance(
                source=str(row["source"]),
                period_start=_instant(row, "period_start"),
                version=_int(row, "version"),
                control=_money(row, "control_nanos"),
                jobs=_money(row, "jobs_nanos"),
                unattributed=_money(row, "unattributed_nanos"),
            )
            for row in self._database.all("charges.out_of_balance")
        ]

    # --- costs

    def lives(self, source: str, period: Period) -> list[Life]:
        return [
            Life(
                job_id=str(row["job_id"]),
                currency=str(row["currency"]),
                resource_ids=_resources(row),
                span=Period(_instant(row, "created_at"), _end(row)),
            )
            for row in self._database.all("charges.lives", **_around(source, period))
        ]

    def unsettled(self, source: str, period: Period) -> set[str]:
        return {str(row["job_id"]) for row in self._database.all("charges.unsettled", **_around(source, period))}

    def job_currency(self, job_id: str) -> str | None:
        row = self._database.one("charges.job_currency", job_id=job_id)
        return None if row is None else str(row["currency"])

    def replace_costs(self, version: Version, tally: Tally, *, at: datetime) -> set[str] | None:
        costs, days = _cost_rows(tally), _day_rows(tally)
        nobodys, accounts = _nobodys_rows(tally), _account_rows(tally)
        known_costs, known_days, known_rest, whose = self._known(version, costs)
        if whose <= {version.id} and (known_costs, known_days, *known_rest) == (costs, days, nobodys, accounts):
            return None
        # What stays keeps its rows: whoever writes keeps everybody else waiting, and most of a month's bill is old.
        changed_costs, changed_days = _changed(known_costs, costs), _changed(known_days, days)
        of_period = {"source": version.source, "period_start": version.period.start}
        fixed = {**of_period, "version_id": version.id}
        gone_costs = [
            {**of_period, "job_id": key[0], "cost_type": key[1]} for key in sorted(changed_costs & known_costs.keys())
        ]
        gone_days = [
            {**of_period, "job_id": key[0], "usage_date": key[1], "currency": key[2]}
            for key in sorted(changed_days & known_days.keys())
        ]
        run, run_each = self._database.run, self._database.run_each
        run_each("charges.drop_cost", gone_costs)
        run_each("charges.drop_day", gone_days)
        run("charges.hand_on_costs", **fixed, at=at)
        run("charges.hand_on_days", **fixed)
        provider = self._provider_of(version.source)
        run_each(
            "charges.add_cost",
            [
                {
                    **fixed,
                    **dict(zip(_COSTS, (*key, *costs[key]), strict=True)),
                    "provider": provider(key[0]),
                    "period_end": version.period.end,
                    "at": at,
                }
                for key in sorted(changed_costs & costs.keys())
            ],
        )
        run_each(
            "charges.add_daily",
            [
                {**fixed, **dict(zip(_DAYS, (*key, days[key]), strict=True)), "provider": provider(key[0])}
                for key in sorted(changed_days & days.keys())
            ],
        )
        for query in ("charges.drop_unattributed", "charges.drop_accounts"):
            run(query, **of_period)
        del fixed["period_start"]
        run_each("charges.add_unattributed", [{**fixed, **dict(zip(_NOBODYS, row, strict=True))} for row in nobodys])
        by_account = [{**fixed, **dict(zip(_ACCOUNTS, row, strict=True)), "at": at} for row in accounts]
        for values in by_account:
            values["cost_usd_nanos"] = values["cost_nanos"] if values["currency"] == "USD" else None
        run_each("charges.add_account", by_account)
        return {key[0] for key in changed_costs} | {key[0] for key in changed_days}

    def _provider_of(self, source: str) -> Callable[[str], str]:
        """Whose machine it was that ``source`` billed: a source is a provider's, except the one that people state."""

        def stated(job_id: str) -> str:
            row = self._database.one("charges.job_provider", job_id=job_id)
            return source if row is None else str(row["provider"])

        return stated if source == STATED else lambda job_id: source

    def _known(
        self, version: Version, expected: Mapping[_CostKey, _Cost]
    ) -> tuple[dict[_CostKey, _Cost], dict[_DayKey, int], list[_Rows], set[str]]:
        """What the period's costs are as they stand, and the ids of the versions they come from.

        ``expected``: what they are likely to be, so that most need not be brought into one form to be compared.
        """

        def raw_data(row: Row) -> str:
            likely, found = expected.get((str(row["job_id"]), str(row["cost_type"]))), str(row["raw_data"])
            return found if likely is not None and likely[-1] == found else _canonical(found)

        of_period = {"source": version.source, "period_start": version.period.start}
        cost_rows = self._database.all("charges.period_costs", **of_period)
        day_rows = self._database.all("charges.period_days", **of_period)
        nobodys_rows = self._database.all("charges.period_unattributed", **of_period)
        account_rows = self._database.all("charges.period_accounts", **of_period)
        costs = {
            (str(row["job_id"]), str(row["cost_type"])): (
                _int(row, "amount_nanos"),
                _int(row, "effective_nanos"),
                _int(row, "list_nanos"),
                str(row["currency"]),
                raw_data(row),
            )
            for row in cost_rows
        }
        days = {
            (str(row["job_id"]), str(row["usage_date"]), str(row["currency"])): _int(row, "billed_nanos")
            for row in day_rows
        }
        rest = [
            sorted((tuple(row[column] for column in columns) for row in rows), key=str)
            for rows, columns in ((nobodys_rows, _NOBODYS), (account_rows, _ACCOUNTS))
        ]
        whose = {str(row["version_id"]) for rows in (cost_rows, day_rows, nobodys_rows, account_rows) for row in rows}
        return costs, days, rest, whose

    # --- jobs

    def facts(self, job_id: str) -> JobFacts:
        row = self._one_job(job_id)
        currency = str(row["currency"])

        def money(column: str) -> Money | None:
            return None if row[column] is None else Money(_int(row, column), currency)

        return JobFacts(
            job_id=job_id,
            currency=currency,
            state=JobState(str(row["status"])),
            cost_state=CostState(str(row["cost_state"])),
            metered_cost=money("metered_cost_nanos"),
            billed_cost=money("billed_cost_nanos"),
            final_cost=money("final_cost_nanos"),
            attempts=tuple(_attempt(each) for each in self._database.all("charges.job_attempts", job_id=job_id)),
            rows=tuple(_cost_row(each) for each in self._database.all("charges.job_costs", job_id=job_id)),
        )

    def save_bill(self, job_id: str, bill: JobBill, *, at: datetime) -> None:
        self._database.run(
            "charges.save_bill",
            job_id=job_id,
            cost_state=bill.cost_state,
            billed_nanos=None if bill.billed is None else bill.billed.nanos,
            final_nanos=None if bill.final is None else bill.final.nanos,
            at=at,
        )

    def finished(self, window: Period, *, final: bool, most: int) -> Sequence[JobBilling]:
        query = "charges.billed" if final else "charges.unbilled"
        rows = self._database.all(query, since=window.start, until=window.end, most=most)
        return [JobBilling(str(row["job_id"]), str(row["name"]), final) for row in rows]

    def named(self, job_id: str) -> JobBilling:
        row = self._one_job(job_id)
        return JobBilling(job_id, str(row["name"]), row["cost_state"] == CostState.FINAL)

    def months(self, job_ids: Sequence[str] | None, window: Period) -> list[tuple[str, datetime]]:
        rows: Iterable[Row]
        if job_ids is None:
            rows = self._database.all("charges.unbilled_lives", since=window.start, until=window.end)
        else:
            rows = (
                row
                for job_id in job_ids
                for row in self._database.all("charges.job_attempts", job_id=job_id)
                if row["machine_id"] is not None or row["ended_at"] is not None
            )
        found: set[tuple[str, datetime]] = set()
        for row in rows:
            start = _instant(row, "created_at")
            end = maybe_instant(row["ended_at"]) or window.end
            found.update((str(row["provider"]), month.start) for month in Period(start, max(start, end)).months())
        return sorted(found)

    def _one_job(self, job_id: str) -> Row:
        row = self._database.one("charges.job", job_id=job_id)
        if row is None:
            raise UnknownJob(f"There is no job {job_id[:80]!r}")
        return row


# --- a tally as rows

_CostKey = tuple[str, str]
_Cost = tuple[int, int, int, str, str]
_DayKey = tuple[str, str, str]
_Rows = list[tuple[object, ...]]
_Key = TypeVar("_Key")

_COSTS = ("job_id", "cost_type", "amount_nanos", "effective_nanos", "list_nanos", "currency", "raw_data")
_DAYS = ("job_id", "usage_date", "currency", "billed_nanos")
_NOBODYS = ("line", "line_count", "service_name", "resource_id", "usage_date", "currency", "amount_nanos", "reason")
_ACCOUNTS = ("account_id", "service_name", "region", "usage_date", "currency", "cost_nanos")


def _cost_rows(tally: Tally) -> dict[_CostKey, _Cost]:
    return {
        key: (
            cost.billed,
            cost.effective,
            cost.listed,
            cost.currency,
            _json(
                {
                    "lines": cost.lines,
                    "tagged_lines": cost.tagged_lines,
                    "services": sorted(cost.services),
                    "resources": sorted(cost.resources),
                    "first_usage": None if cost.first is None else text(cost.first),
                    "last_usage": None if cost.last is None else text(cost.last),
                }
            ),
        )
        for key, cost in tally.jobs.items()
    }


def _day_rows(tally: Tally) -> dict[_DayKey, int]:
    return {(job_id, day.isoformat(), currency): nanos for (job_id, day, currency), nanos in tally.days.items()}


def _nobodys_rows(tally: Tally) -> _Rows:
    rows: _Rows = [
        (nobodys.line, nobodys.lines, service, resource_id, day.isoformat(), currency, nobodys.nanos, reason)
        for (day, currency, service, resource_id, reason), nobodys in tally.nobodys.items()
    ]
    return sorted(rows, key=str)


def _account_rows(tally: Tally) -> _Rows:
    rows: _Rows = [
        (account, service, region, day.isoformat(), currency, nanos)
        for (account, service, region, day, currency), nanos in tally.accounts.items()
    ]
    return sorted(rows, key=str)


def _changed(old: Mapping[_Key, object], new: Mapping[_Key, object]) -> set[_Key]:
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


# --- rows to nouns


def _version(row: Row, days: tuple[DayTotal, ...]) -> Version:
    return Version(
        id=str(row["version_id"]),
        source=str(row["source"]),
        period=Period(_instant(row, "period_start"), _instant(row, "period_end")),
        number=_int(row, "version"),
        state=VersionState(str(row["state"])),
        row_count=_int(row, "row_count"),
        digest=str(row["digest"]),
        path=str(row["path"]),
        file_sha256=str(row["file_sha256"]),
        issued_at=_instant(row, "issued_at"),
        complete_through=_instant(row, "complete_through"),
        retrieved_at=_instant(row, "retrieved_at"),
        accepted=row["accepted"] == 1,
        flaw=str(row["flaw"]),
        note=str(row["note"]),
        days=days,
    )


def _attempt(row: Row) -> AttemptFacts:
    return AttemptFacts(
        provider=str(row["provider"]),
        state=AttemptState(str(row["state"])),
        resource_ids=() if row["machine_id"] is None else _resources(row),
        created_at=_instant(row, "created_at"),
        ended_at=maybe_instant(row["ended_at"]),
        metered_seconds=_int(row, "metered_seconds"),
        metered_cost=_money(row, "metered_nanos"),
    )


def _cost_row(row: Row) -> CostRow:
    raw = json.loads(str(row["raw_data"]))
    return CostRow(
        source=str(row["source"]),
        period_start=_instant(row, "billing_period_start"),
        billed=_money(row, "amount_nanos"),
        resources=tuple(raw["resources"]),
        tagged_lines=raw["tagged_lines"],
    )


def _around(source: str, period: Period) -> dict[str, object]:
    # A line of the period may end after it, and a machine's lines may begin a little after its observed end.
    return {"provider": source, "since": period.start - GRACE, "until": period.end + timedelta(days=1)}


def _resources(row: Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys([str(row["machine_id"]), *json.loads(str(row["resource_ids"]))]))


def _end(row: Row) -> datetime:
    """When a machine's life was over; an open one may bill for as long as it is open."""
    start = _instant(row, "created_at")
    return max(start, maybe_instant(row["ended_at"]) or ALWAYS.end)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _canonical(stored: str) -> str:
    """JSON as we write it; PostgreSQL keeps its own order of keys."""
    return _json(json.loads(stored))


def _money(row: Row, column: str) -> Money:
    return Money(_int(row, column), str(row["currency"]))


def _instant(row: Row, column: str) -> datetime:
    return instant(row[column])  # type: ignore[arg-type]


def _date(row: Row, column: str) -> date:
    return date.fromisoformat(str(row[column]))


def _int(row: Row, column: str) -> int:
    value = row[column]
    if not isinstance(value, int):
        raise StoreDamaged(f"A whole number was expected in {column}, not {value!r}")
    return value
