"""``tallygate budget``: three jars, shown as they are, changed with a reason, verified to the last entry."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest


def budget(cli: Any, *arguments: str) -> Any:
    answer = cli("tallygate", "budget", *arguments)
    assert answer.code == 0, answer.err
    return answer


def shown(cli: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(budget(cli, "show", name, "--json").out, parse_float=Decimal)
    return found


@pytest.fixture
def team(cli: Any) -> str:
    budget(cli, "add", "team", "--limit", "100.00")
    return "team"


def test_a_new_budget_has_everything_available(cli: Any, team: str) -> None:
    found = shown(cli, team)
    assert (found["limit"], found["available"], found["held"], found["spent"]) == (100, 100, 0, 0)
    assert (found["scope"], found["period"], found["hard"]) == ("team", "none", True)


def test_adding_the_same_budget_again_changes_nothing_and_another_of_its_name_is_refused(cli: Any, team: str) -> None:
    budget(cli, "add", "team", "--limit", "100")
    answer = cli("tallygate", "budget", "add", "team", "--limit", "101")
    assert answer.code == 4
    assert shown(cli, team)["limit"] == 100


def test_a_top_up_with_a_key_counts_once(cli: Any, team: str) -> None:
    for _ in range(2):
        budget(cli, "top-up", team, "50", "--key", "ticket-1")
    assert shown(cli, team)["limit"] == 150


def test_a_limit_is_set_with_its_reason_in_the_history(cli: Any, team: str) -> None:
    budget(cli, "set", team, "--limit", "30", "--reason", "finance said so")
    assert shown(cli, team)["available"] == 30
    entries = json.loads(budget(cli, "history", team, "--json").out)
    assert (entries[0]["kind"], entries[0]["reason"]) == ("defund", "finance said so")
    assert "finance said so" in budget(cli, "history", team).out


def test_amounts_keep_every_digit(cli: Any) -> None:
    budget(cli, "add", "exact", "--limit", "0.000000001")
    assert budget(cli, "show", "exact", "--json").out.count("0.000000001") == 2
    assert shown(cli, "exact")["limit"] == Decimal("0.000000001")


def test_budgets_are_listed_with_their_jars(cli: Any, team: str) -> None:
    budget(cli, "add", "team/search", "--limit", "20", "--period", "month", "--zone", "Europe/Berlin")
    lines = budget(cli, "list").out.splitlines()
    assert lines[0].split() == ["BUDGET", "SCOPE", "PERIOD", "LIMIT", "AVAILABLE", "HELD", "SPENT", "EXCESS"]
    assert [line.split()[0] for line in lines[2:]] == ["team", "team/search"]
    assert [one["name"] for one in json.loads(budget(cli, "list", "--json").out)] == ["team", "team/search"]


def test_the_door_of_the_job_manager_offers_the_same(cli: Any, team: str) -> None:
    assert cli("job_manager.py", "budget", "list").out == cli("tallygate", "budget", "list").out


def test_an_unknown_budget_is_named_with_what_was_meant(cli: Any, team: str) -> None:
    answer = cli("tallygate", "budget", "show", "taem")
    assert answer.code == 2
    assert "team" in answer.err


def test_an_honest_journal_verifies_and_prints_its_head(cli: Any, team: str) -> None:
    budget(cli, "top-up", team, "1")
    lines = budget(cli, "verify").out.splitlines()
    assert "2 entries" in lines[0]
    assert lines[1].startswith("head ")
    assert len(lines[1]) == 69


def test_a_changed_row_fails_the_verification_by_name(cli: Any, team: str, here: Path) -> None:
    """One nano more in an entry, behind our back: exit 1, naming account and entry, and nothing else on stdout."""
    connection = sqlite3.connect(here / "cloud_jobs.db")
    connection.execute("DROP TRIGGER entries_are_never_updated")
    connection.execute("UPDATE entries SET amount_nanos = amount_nanos + 1")
    connection.commit()
    connection.close()
    answer = cli("tallygate", "budget", "verify")
    assert answer.code == 1
    assert answer.out == ""
    assert "entry 1" in answer.err.lower()
    assert json.loads(cli("tallygate", "budget", "verify", "--json").out)["clean"] is False


def test_looking_at_budgets_creates_nothing(cli: Any, here: Path) -> None:
    assert budget(cli, "list", "--json").out == "[]\n"
    assert "budget add" in budget(cli, "list").err
    assert list(here.iterdir()) == []
