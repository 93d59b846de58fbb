"""Every SQL statement and column that a user has been promised works as printed, and says what is stored to the nano.

The statements are data here, copied as users type them. Document 003 is about a SQLite file, document 000 about
PostgreSQL; the other documents print no SQL.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.store.database import open_database
from tests.conftest import temporary_database
from tests.store.catalogue import definitions, insert, rows, sample, tables, views

JOBS_003 = {
    "actual_cost": "REAL",
    "budget_limit": "REAL",
    "cost_retrieved_at": "TEXT",
    "spot_request_id": "TEXT",
    "billing_tags": "TEXT",
}

COST_TRACKING_003 = {
    "id": "INTEGER",
    "job_id": "TEXT",
    "provider": "TEXT",
    "cost_type": "TEXT",
    "amount": "REAL",
    "currency": "TEXT",
    "billing_period_start": "TEXT",
    "billing_period_end": "TEXT",
    "retrieved_at": "TEXT",
    "raw_data": "TEXT",
}

COLUMNS_003 = {"jobs": JOBS_003, "cost_tracking": COST_TRACKING_003}

SHELL_003 = (".schema jobs", ".schema cost_tracking")

QUERY_003 = "SELECT job_id, actual_cost, budget_limit FROM jobs WHERE actual_cost IS NOT NULL;"

CLOUD_COSTS_000 = ("id", "cloud_provider", "service_name", "cost_usd", "usage_date", "created_at", "updated_at")

TOTAL_BY_PROVIDER_000 = """\
SELECT
    cloud_provider,
    SUM(cost_usd) as total_cost
FROM cloud_costs
WHERE usage_date >= CURRENT_DATE - INTERVAL '30 days'
GROUP BY cloud_provider
ORDER BY total_cost DESC;
"""

TOP_SERVICES_000 = """\
SELECT
    cloud_provider,
    service_name,
    SUM(cost_usd) as total_cost
FROM cloud_costs
WHERE usage_date >= CURRENT_DATE - INTERVAL '30 days'
GROUP BY cloud_provider, service_name
ORDER BY total_cost DESC
LIMIT 10;
"""

DAILY_000 = """\
SELECT
    usage_date,
    cloud_provider,
    SUM(cost_usd) as daily_cost
FROM cloud_costs
WHERE usage_date >= CURRENT_DATE - INTERVAL '7 days'
GROUP BY usage_date, cloud_provider
ORDER BY usage_date DESC, cloud_provider;
"""

MONTHLY_000 = """\
SELECT
    DATE_TRUNC('month', usage_date) as month,
    cloud_provider,
    SUM(cost_usd) as monthly_cost
FROM cloud_costs
GROUP BY month, cloud_provider
ORDER BY month DESC, cloud_provider;
"""

# --- 003: the file of jobs


@pytest.fixture
def file_003(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """``cloud_jobs.db`` with one job without a bill, one with, and one whose bill is final."""
    path = tmp_path / "cloud_jobs.db"
    shutil.copy(request.getfixturevalue("_migrated_sqlite_file"), path)
    database: Any = open_database(str(path))
    columns, defined = tables(database)["jobs"], definitions()
    for name, amounts in {
        "unbilled": {"budget_limit_nanos": 7},
        "billed": {"budget_limit_nanos": 10_000_000_000, "billed_cost_nanos": 5_250_000_001},
        "final": {"billed_cost_nanos": 1, "final_cost_nanos": 3_000_000_000},
    }.items():
        insert(database, "jobs", {**sample("jobs", columns, defined), "job_id": name, **amounts})
    database.close()
    return path


def sqlite_shell(path: Path, command: str) -> str:
    """What ``sqlite3 cloud_jobs.db COMMAND`` prints; where there is no such shell, what it would print."""
    if shell := shutil.which("sqlite3"):
        answer = subprocess.run([shell, str(path), command], capture_output=True, text=True, timeout=30, check=True)
        assert answer.stderr == ""
        return answer.stdout
    schema = "SELECT sql || ';' FROM sqlite_master WHERE tbl_name = '{}' AND sql IS NOT NULL"
    with sqlite3.connect(path) as connection:
        found = connection.execute(schema.format(command.split()[1]) if command.startswith(".") else command).fetchall()
    connection.close()
    return "".join("|".join("" if value is None else str(value) for value in line) + "\n" for line in found)


@pytest.mark.parametrize("command", SHELL_003)
def test_the_shell_shows_the_documented_columns(file_003: Path, command: str) -> None:
    shown = sqlite_shell(file_003, command)
    table = command.split()[-1]
    assert f"CREATE TABLE {table} (" in shown
    for column, type_ in COLUMNS_003[table].items():
        assert any(line.replace(",", " ").split()[:2] == [column, type_] for line in shown.splitlines()), column


def test_the_shell_answers_the_documented_query(file_003: Path) -> None:
    assert set(sqlite_shell(file_003, QUERY_003).splitlines()) == {"billed|5.250000001|10.0", "final|3.0|"}


def test_any_sqlite_answers_the_documented_query(file_003: Path) -> None:
    with sqlite3.connect(file_003) as other_program:
        found = set(other_program.execute(QUERY_003))
    other_program.close()
    assert found == {("billed", 5.250000001, 10.0), ("final", 3.0, None)}


def test_the_query_of_the_file_works_on_postgresql_too(postgresql_database: Any) -> None:
    columns, defined = tables(postgresql_database)["jobs"], definitions()
    amounts = {"billed_cost_nanos": 5_250_000_001, "budget_limit_nanos": 10_000_000_000}
    insert(postgresql_database, "jobs", {**sample("jobs", columns, defined), **amounts})
    assert rows(postgresql_database, QUERY_003) == [("x", Decimal("5.250000001"), 10)]


def test_a_documented_amount_cannot_be_written_beside_its_exact_one(file_003: Path) -> None:
    """The decimal columns are read from the nanos; nobody can put a float there."""
    with sqlite3.connect(file_003) as other_program, pytest.raises(sqlite3.OperationalError, match="generated column"):
        other_program.execute("UPDATE jobs SET actual_cost = 1.0")
    other_program.close()


@pytest.mark.parametrize("table", COLUMNS_003)
def test_the_documented_columns_are_there_on_both_engines(database: Any, table: str) -> None:
    assert set(COLUMNS_003[table]) <= {column.name for column in tables(database)[table]}


# --- 000: the costs of whole accounts


@pytest.fixture
def postgresql_database(request: pytest.FixtureRequest) -> Any:
    server, template = (request.getfixturevalue(name) for name in ("postgresql_server", "_migrated_postgresql"))
    with contextmanager(temporary_database)(server, f"TEMPLATE {template}") as url:
        database = open_database(url)
        yield database
        database.close()


COSTS = [
    # provider, service, days ago, nanos of a dollar
    ("aws", "EC2", 1, 10_000_000_001),
    ("aws", "EC2", 2, 20_000_000_002),
    ("aws", "S3", 2, 500_000_000),
    ("gcp", "Compute Engine", 2, 7_250_000_000),
    ("azure", "Storage", 20, -1_000_000_000),
    ("azure", "Storage", 45, 99_000_000_000),
    ("azure", "Licences", 3, None),  # in a currency without a rate: unknown, not zero
]


@pytest.fixture
def costs_000(postgresql_database: Any) -> Any:
    for provider, service, days_ago, nanos in COSTS:
        rows(
            postgresql_database,
            "INSERT INTO cloud_costs (cloud_provider, account_id, service_name, region, usage_date, currency,"
            " cost_nanos, cost_usd_nanos) VALUES (%s, '1', %s, 'r', CURRENT_DATE - %s::integer, 'USD', %s, %s)",
            provider,
            service,
            days_ago,
            nanos or 1,
            nanos,
        )
    return postgresql_database


def test_total_costs_by_provider(costs_000: Any) -> None:
    assert rows(costs_000, TOTAL_BY_PROVIDER_000) == [
        ("aws", Decimal("30.500000003")),
        ("gcp", Decimal("7.25")),
        ("azure", Decimal(-1)),
    ]


def test_most_expensive_services(costs_000: Any) -> None:
    found = rows(costs_000, TOP_SERVICES_000)
    assert [line for line in found if line[2] is not None] == [
        ("aws", "EC2", Decimal("30.000000003")),
        ("gcp", "Compute Engine", Decimal("7.25")),
        ("aws", "S3", Decimal("0.5")),
        ("azure", "Storage", Decimal(-1)),
    ]
    assert [line[:2] for line in found if line[2] is None] == [("azure", "Licences")]


def test_daily_trend(costs_000: Any) -> None:
    day = [rows(costs_000, "SELECT CURRENT_DATE - %s::integer AS day", ago)[0][0] for ago in range(4)]
    assert rows(costs_000, DAILY_000) == [
        (day[1], "aws", Decimal("10.000000001")),
        (day[2], "aws", Decimal("20.500000002")),
        (day[2], "gcp", Decimal("7.25")),
        (day[3], "azure", None),
    ]


def test_monthly_comparison(costs_000: Any) -> None:
    found = rows(costs_000, MONTHLY_000)
    assert sum(cost for _, provider, cost in found if provider == "aws") == Decimal("30.500000003")
    assert sum(cost or 0 for _, provider, cost in found if provider == "azure") == 98
    assert [line[:2] for line in found] == sorted(
        (line[:2] for line in found), key=lambda line: (-line[0].timestamp(), line[1])
    )
    assert all((month.day, month.hour) == (1, 0) for month, _, _ in found)


def test_the_documented_columns_of_cloud_costs_are_there(database: Any) -> None:
    assert set(CLOUD_COSTS_000) <= {column.name for column in tables(database)["cloud_costs"]}


def test_the_documented_views_are_there_and_add_up(database: Any, engine: str) -> None:
    """``daily_cost_summary`` and ``service_cost_summary``, on both engines."""
    assert set(views(database)) == {"daily_cost_summary", "service_cost_summary"}
    for provider, service, days_ago, nanos in COSTS:
        values = {"cloud_provider": provider, "account_id": "1", "service_name": service, "region": "r"}
        day = {"usage_date": f"2026-03-{28 - days_ago:02}" if days_ago < 28 else "2026-01-31", "currency": "USD"}
        insert(database, "cloud_costs", {**values, **day, "cost_nanos": nanos or 1, "cost_usd_nanos": nanos})
    daily = {
        (str(date), provider): rest for date, provider, *rest in rows(database, "SELECT * FROM daily_cost_summary")
    }
    exact: Any = Decimal if engine == "postgresql" else float
    assert daily["2026-03-26", "aws"] == [exact("20.500000002"), 2]
    assert daily["2026-03-25", "azure"] == [None, 1]
    assert len(daily) == 6
    services = {service: rest for _, service, *rest in rows(database, "SELECT * FROM service_cost_summary")}
    total, days, average, *dates = services["EC2"]
    assert (total, days) == (exact("30.000000003"), 2)
    assert abs(average - exact("15.0000000015")) < exact("0.000000002")
    assert [str(date) for date in dates] == ["2026-03-26", "2026-03-27"]
    assert services["Storage"][0] == 98


def test_writing_a_cost_twice_meets_the_unique_key(costs_000: Any) -> None:
    """So that a collector can update what it has written."""
    statement = (
        "INSERT INTO cloud_costs (cloud_provider, account_id, service_name, region, usage_date, currency, cost_nanos,"
        " cost_usd_nanos) VALUES ('gcp', '1', 'Compute Engine', 'r', CURRENT_DATE - 2, 'USD', 8, 8)"
        " ON CONFLICT (cloud_provider, account_id, service_name, region, usage_date, currency)"
        " DO UPDATE SET cost_nanos = excluded.cost_nanos, cost_usd_nanos = excluded.cost_usd_nanos"
    )
    rows(costs_000, statement)
    assert rows(costs_000, "SELECT cost_usd FROM cloud_costs WHERE cloud_provider = 'gcp'") == [(Decimal("8E-9"),)]
