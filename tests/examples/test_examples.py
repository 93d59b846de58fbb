"""The examples compute what they say, by hand and with nothing but Python's standard library."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
JOBS = sorted(path.parent for path in EXAMPLES.glob("*/run.sh"))


def environment(**more: str) -> dict[str, str]:
    """A plain environment in which ``python3`` is the interpreter of these tests and no Tallygate variable is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALLYGATE", "PYTHON"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", **more}


@pytest.fixture
def copied(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The job directory alone, without the rest of the checkout beside it."""
    name: str = request.param
    return Path(shutil.copytree(EXAMPLES / name, tmp_path / name))


def run(folder: Path, *arguments: str, **more: str) -> str:
    answer = subprocess.run(
        ["./run.sh", *arguments],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def result(folder: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def test_there_are_three_examples_each_with_a_page_of_its_own() -> None:
    assert {path.name for path in JOBS} == {"primes", "checkpoint", "budget_aware"}
    assert [path.name for path in JOBS if not (path / "README.md").exists()] == []


@pytest.mark.parametrize("folder", JOBS, ids=lambda path: path.name)
def test_an_example_needs_only_the_standard_library(folder: Path) -> None:
    own = {path.stem for path in folder.glob("*.py")}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | own


@pytest.mark.parametrize("copied", ["primes"], indirect=True)
def test_primes_are_counted_right(copied: Path) -> None:
    run(copied, "1000000")
    known = {"below": 1_000_000, "primes": 78_498, "twins": 8_169, "widest_gap": 114, "largest": 999_983}
    assert result(copied / "outputs") == known


@pytest.mark.parametrize("bound", range(3, 60))
def test_primes_below_small_bounds_agree_with_plain_division(bound: int) -> None:
    namespace: dict[str, object] = {"__name__": "primes"}
    exec((EXAMPLES / "primes" / "primes.py").read_text(encoding="utf-8"), namespace)
    found = namespace["survey"](bound, lambda line: None)  # type: ignore[operator]
    expected = [number for number in range(2, bound) if all(number % divisor for divisor in range(2, number))]
    assert (found["primes"], found["largest"]) == (len(expected), expected[-1])


@pytest.mark.parametrize("copied", ["primes"], indirect=True)
def test_results_go_where_the_machine_says(copied: Path, tmp_path: Path) -> None:
    run(copied, "1000", TALLYGATE_OUTPUT_DIR=str(tmp_path / "elsewhere"))
    assert result(tmp_path / "elsewhere")["primes"] == 168
    assert not (copied / "outputs").exists()


@pytest.mark.parametrize("copied", ["checkpoint"], indirect=True)
def test_interrupted_work_ends_with_the_digits_of_uninterrupted_work(copied: Path, tmp_path: Path) -> None:
    pieces = {"TALLYGATE_OUTPUT_DIR": str(tmp_path / "pieces"), "TALLYGATE_CHECKPOINT_DIR": str(tmp_path / "state")}
    endless = ["./run.sh", "1000000000000"]
    process = subprocess.Popen(endless, cwd=copied, env=environment(**pieces), stdout=subprocess.PIPE, text=True)
    # The folder appears after the signal is caught and before the work starts.
    while not (tmp_path / "pieces").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "asked to stop: checkpoint at" in said
    assert not (tmp_path / "pieces" / "result.json").exists()

    reached = json.loads((tmp_path / "state" / "state.json").read_text(encoding="utf-8"))["points"]
    points = str(reached + 123_456)
    assert f"resuming at {reached:,}" in run(copied, points, **pieces)
    run(copied, points, TALLYGATE_OUTPUT_DIR=str(tmp_path / "whole"))
    assert result(tmp_path / "whole")["starts"] == 1
    assert result(tmp_path / "pieces") == {**result(tmp_path / "whole"), "starts": 2}


@pytest.mark.parametrize("copied", ["checkpoint"], indirect=True)
def test_the_error_bar_is_honest(copied: Path) -> None:
    """Pi lies within four standard errors of the estimate."""
    run(copied, "400000")
    found = result(copied / "outputs")
    assert abs(found["pi"] - 3.141592653589793) < 4 * found["error_bar"] < 0.02


def told(path: Path, *, seconds_left: int) -> str:
    """A budget file such as a machine writes."""
    path.write_text(
        f'{{"currency": "USD", "remaining": 0.002, "price_per_hour": 0.36, "seconds_left": {seconds_left}, '
        f'"as_of_epoch": {int(time.time())}}}',
        encoding="utf-8",
    )
    return str(path)


@pytest.mark.parametrize("copied", ["budget_aware"], indirect=True)
def test_a_job_does_less_when_its_budget_is_smaller(copied: Path, tmp_path: Path) -> None:
    said = run(copied, "1000000000", TALLYGATE_BUDGET_FILE=told(tmp_path / "budget.json", seconds_left=4))
    found = result(copied / "outputs")
    assert 20_000 <= found["samples"] < found["wanted"] == 1_000_000_000
    assert ", 0.002 USD" in said
    assert abs(found["volume"] - 3.141592653589793**3 / 6) < 5 * found["error_bar"]


@pytest.mark.parametrize("copied", ["budget_aware"], indirect=True)
def test_a_job_without_time_still_has_a_result(copied: Path, tmp_path: Path) -> None:
    run(copied, "1000000000", TALLYGATE_BUDGET_FILE=told(tmp_path / "budget.json", seconds_left=0))
    assert result(copied / "outputs")["samples"] == 20_000


@pytest.mark.parametrize("copied", ["budget_aware"], indirect=True)
def test_a_job_with_money_enough_does_all_of_its_work(copied: Path, tmp_path: Path) -> None:
    run(copied, "50000", TALLYGATE_BUDGET_FILE=told(tmp_path / "budget.json", seconds_left=3600))
    found = result(copied / "outputs")
    assert found["samples"] == found["wanted"] == 50_000
