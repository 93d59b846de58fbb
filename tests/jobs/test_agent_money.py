"""The agent: a job can ask what it has left, and the machine counts exactly."""

from __future__ import annotations

import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate.jobs import agent
from tallygate.money import Money

from .machines import Machine, outputs

SHELLS = ["dash", "bash"]


@pytest.fixture(params=SHELLS)
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    """A machine under each shell."""
    return Machine(tmp_path / "here", shell=request.param)


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    """A machine under the strictest shell, for what does not depend on it."""
    return Machine(tmp_path / "here")


# --- money


def test_a_job_can_ask_what_it_has_left(machine: Machine) -> None:
    report = machine.run(
        "for word in remaining spent held price seconds next-threshold notice; do tallygate-budget $word; done\n"
        "echo $TALLYGATE_BUDGET $TALLYGATE_HELD $TALLYGATE_PRICE_PER_HOUR $TALLYGATE_CURRENCY\n"
        "tallygate-budget nonsense; echo $?; tallygate-budget"
    )
    assert report is not None
    lines = machine.log().splitlines()
    remaining, spent, held, price = (Decimal(line) for line in lines[:4])
    assert remaining + spent == held == Decimal("0.20")
    assert Decimal("0.01") <= spent <= Decimal("0.0105")
    assert price == Decimal("0.36")
    assert 0 < int(lines[4]) <= 20
    percent, amount, seconds = lines[5].split()
    assert (percent, amount) == ("50", "0.10")
    assert abs(int(seconds) - int((Decimal("0.10") - spent) / price * 3600)) <= 1
    assert lines[6] == "run"
    assert lines[7] == "0.50 0.20 0.36 USD"
    assert "usage" in lines[8]
    assert lines[9] == "2"
    assert lines[10].split() == ["held", "0.20", "USD"]


def test_the_budget_file_is_there_before_the_job_and_stays_current(one: Machine) -> None:
    one.budget = None
    one.run("cat $TALLYGATE_BUDGET_FILE > $TALLYGATE_OUTPUT_DIR/first; sleep 2.5")
    first = json.loads(outputs(one)["first"], parse_float=Decimal)
    last = one.budget_file()
    assert first["budget"] is None
    assert first["held"] == Decimal("0.20")
    assert first["spent"] + first["remaining"] == first["held"]
    assert first["price_per_hour"] == first["price_max_per_hour"] == Decimal("0.36")
    assert first["deadline_epoch"] - first["started_epoch"] in (19, 20, 21)
    assert last["spent"] > first["spent"]  # type: ignore[operator]
    assert last["seconds_left"] < first["seconds_left"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("price", "held", "before", "seconds"),
    [
        (1, 10**17, 0, 1),
        (360_000_000, 200_000_000, 10_000_000, 0),
        (10**12, 10**17, 0, 2_592_000),
        (999_999_999_999, 99_999_999_999_999_999, 1, 999_983),
        (12_345_678_901, 5_000_000_000, 0, 3_601),
        (96, 7, 3, 100_000),
        (10**15, 10**17, 99_999, 2_592_000),
    ],
)
def test_the_machines_arithmetic_is_exact(tmp_path: Path, price: int, held: int, before: int, seconds: int) -> None:
    """Spent, remaining and the next threshold agree with unbounded integers, rounding once, down."""
    helper = tmp_path / "tallygate-budget"
    helper.write_text(agent.script())
    uptime = tmp_path / "uptime"
    uptime.write_text(f"{seconds + 1000}.00 1.00\n")
    (tmp_path / "budget.json").write_text(
        f'{{\n  "currency": "USD",\n  "started_uptime": 100000,\n  "run_seconds_max": 5000000,\n'
        f'  "not_after_epoch": 99999999999,\n  "reserve_seconds": 0,\n  "held_nanos": {held},\n'
        f'  "price_nanos": {price},\n  "spent_before_nanos": {before},\n  "thresholds": "50 80 100"\n}}\n'
    )
    environment = {"TALLYGATE_BUDGET_FILE": str(tmp_path / "budget.json"), "TALLYGATE_UPTIME_FILE": str(uptime)}

    def ask(word: str) -> str:
        answer = subprocess.run(
            ["dash", str(helper), word], env={**environment, "PATH": os.environ["PATH"]}, capture_output=True, text=True
        )
        assert answer.stderr == ""
        return answer.stdout.strip()

    spent = before + price // 3600 * seconds + price % 3600 * seconds // 3600
    assert abs(spent - before - Decimal(price) * seconds / 3600) < 1
    assert Decimal(ask("spent")) == Money(spent).decimal
    assert Decimal(ask("remaining")) == Money(held - spent).decimal
    following = [percent for percent in (50, 80, 100) if held * percent // 100 > spent]
    found = ask("next-threshold").split()
    assert found[:1] == [str(percent) for percent in following[:1]]
    if following:
        assert Decimal(found[1]) == Money(held * following[0] // 100).decimal
        lasts = (held * following[0] // 100 - spent) * 3600 // price
        assert abs(int(found[2]) - lasts) <= 1 or lasts > int(found[2]) >= 3_600_000_000
