"""``job_manager.py``: lists and stories of jobs, for people and for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.money import Money

ROOT = Path(__file__).resolve().parents[2]
DOOR = "job_manager.py"
ENDED = datetime(2026, 3, 1, 13, tzinfo=UTC)


def test_jobs_are_listed_newest_first_with_the_surest_cost_and_how_sure_it_is(cli: Any, add_job: Any) -> None:
    add_job("first", state="completed", metered_cost=Money.of("0.42"), ended_at=ENDED)
    add_job("second")
    lines = cli(DOOR, "list").out.splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["second", "first"]
    assert lines[2].split()[-2:] == ["$1.60", "estimated"]
    assert lines[3].split()[-2:] == ["$0.42", "metered"]
    assert "AWS" in lines[2]


def test_programs_get_documented_columns_and_exact_amounts(cli: Any, add_job: Any) -> None:
    job = add_job("exact", state="completed", metered_cost=Money(1), ended_at=ENDED)
    out = cli(DOOR, "list", "--json").out
    (found,) = json.loads(out, parse_float=Decimal)
    assert found["job_id"] == job.id
    assert (found["status"], found["provider"]) == ("completed", "AWS")
    assert (found["price_per_hour"], found["metered_cost"]) == (Decimal("0.80"), Decimal("0.000000001"))
    assert found["actual_cost"] is None


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ((), ["gcp-one", "done", "new"]),
        (("--status", "completed"), ["done"]),
        (("--status", "COMPLETED"), ["done"]),
        (("--provider", "AWS"), ["done", "new"]),
        (("--provider", "gcp"), ["gcp-one"]),
        (("--limit", "1"), ["gcp-one"]),
        (("--status", "failed"), []),
    ],
)
def test_filters_choose(filters: tuple[str, ...], names: list[str], cli: Any, add_job: Any) -> None:
    add_job("new")
    add_job("done", state="completed", ended_at=ENDED)
    add_job("gcp-one", provider="gcp")
    answer = cli(DOOR, "list", *filters, "--json")
    assert answer.code == 0
    assert [job["name"] for job in json.loads(answer.out)] == names


def test_totals_do_not_show_what_is_unknown_as_zero(cli: Any, add_job: Any) -> None:
    add_job("a")
    add_job("b")
    (totals,) = json.loads(cli(DOOR, "list", "--summary", "--json").out)
    assert totals == {
        "status": "launching", "currency": "USD", "jobs": 2, "estimated": 3.2, "metered": None, "billed": None
    }  # fmt: skip
    assert cli(DOOR, "list", "--summary").out.splitlines()[2].split() == ["launching", "2", "$3.20", "-", "-"]


def test_the_long_list_says_more(cli: Any, add_job: Any) -> None:
    add_job("detailed")
    out = cli(DOOR, "list", "-d").out
    assert "Held at start: $2.10" in out
    assert "Budget:        $20.00" in out


def test_nothing_to_list_is_said_beside_an_empty_answer(cli: Any, here: Path) -> None:
    assert (cli(DOOR, "list").out, cli(DOOR, "list").err) == ("", "No jobs.\n")
    assert cli(DOOR, "list", "--json").out == "[]\n"
    assert list(here.iterdir()) == []


def test_a_job_is_found_by_id_by_its_beginning_and_by_name(cli: Any, add_job: Any) -> None:
    job = add_job("wanted")
    for reference in (job.id, job.id[:26], "wanted"):
        assert json.loads(cli(DOOR, "show", reference, "--json").out)["job_id"] == job.id
    add_job("other")
    assert "Several job ids start with" in cli(DOOR, "show", "01kgw2").err


def test_terminating_asks_first_and_without_anybody_to_ask_it_refuses(cli: Any, add_job: Any) -> None:
    add_job("precious", provider="local")
    answer = cli(DOOR, "terminate", "precious")
    assert answer.code == 2
    assert "--yes" in answer.err


def test_names_from_elsewhere_cannot_paint_the_terminal(cli: Any, add_job: Any) -> None:
    add_job("evil\x1b[2J\u202e")
    for arguments in (("list",), ("list", "-d"), ("show", "01kgw200000000000000000001")):
        out = cli(DOOR, *arguments).out
        assert "\x1b" not in out
        assert "\u202e" not in out


def test_on_a_narrow_terminal_the_least_needed_columns_go_first(add_job: Any, here: Path) -> None:
    add_job("narrow")
    ours, theirs = os.openpty()
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "80", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(ROOT / DOOR), "list"], env=environment, cwd=here, stdout=theirs, check=True)
    os.close(theirs)
    lines = os.read(ours, 10_000).decode().splitlines()
    os.close(ours)
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[0] == "JOB"
    assert "COST" in lines[0]
    assert "REGION" not in lines[0]


def test_old_finished_jobs_leave_the_list_and_keep_their_row(cli: Any, add_job: Any) -> None:
    job = add_job("old", state="completed", ended_at=datetime(2020, 1, 1, tzinfo=UTC))
    add_job("new")
    assert cli(DOOR, "cleanup", "--days", "30", "--dry-run").out == "1 job would be cleaned up\n"
    assert cli(DOOR, "cleanup", "--days", "30").out == "1 job cleaned up\n"
    assert [one["name"] for one in json.loads(cli(DOOR, "list", "--json").out)] == ["new"]
    assert json.loads(cli(DOOR, "show", job.id, "--json").out)["status"] == "completed"
