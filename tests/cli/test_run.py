"""``cloud_run.py``: the gate's answers, a dry run that touches nothing, and launches on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

RUN = "cloud_run.py"
LISTED = {"provider": "AWS", "instance": "r5.4xlarge", "region": "us-east-1", "price_hr": 0.8, "vcpu": 16, "ram_gb": 128,
          "on_demand_hr": 1.008}  # fmt: skip


@pytest.fixture
def price_list(here: Path) -> Path:
    path = here / "spot_prices.json"
    path.write_text(json.dumps([LISTED, {**LISTED, "instance": "m5.large", "price_hr": 0.04, "vcpu": 2, "ram_gb": 8}]))
    return path


def everything(folder: Path) -> list[tuple[str, bytes]]:
    return [(str(path), path.read_bytes() if path.is_file() else b"") for path in sorted(folder.rglob("*"))]


# --- the gate


def test_an_estimate_above_the_budget_is_refused_in_exactly_the_documented_words(
    cli: Any, job_dir: Path, price_list: Path
) -> None:
    answer = cli(RUN, "my_job", "--s3-bucket", "test", "--budget", "5.00", "--estimated-runtime", "10.0")
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err == (
        "ERROR: Estimated cost $8.0000 exceeds budget $5.00\n"
        "ERROR: Instance: r5.4xlarge @ $0.8000/hour for 10.0 hours\n"
        "ERROR: Use --estimated-runtime to adjust runtime estimate or increase --budget\n"
    )
    assert cli("job_manager.py", "list", "--json").out == "[]\n"


def test_equal_passes_the_comparison_and_a_nano_less_does_not(cli: Any, job_dir: Path, price_list: Path) -> None:
    common = (RUN, "my_job", "--estimated-runtime", "10", "--dry-run")
    assert "Estimated cost $8.0000 exceeds" in cli(*common, "--budget", "7.999999999").err
    assert "exceeds" not in cli(*common, "--budget", "8.00").err


@pytest.mark.parametrize("index", ["2", "9999"])
def test_an_entry_that_is_not_in_the_list_is_refused(index: str, cli: Any, job_dir: Path, price_list: Path) -> None:
    answer = cli(RUN, "my_job", "--from-spot-prices", "--index", index, "--dry-run")
    assert answer.code == 2
    assert "--index" in answer.err


def test_an_entry_is_chosen_by_its_index(cli: Any, job_dir: Path, price_list: Path) -> None:
    answer = cli(RUN, "my_job", "--from-spot-prices", "--index", "1", "--dry-run", "--json")
    plan = json.loads(answer.out)
    assert (plan["provider"], plan["instance_type"]) == ("AWS", "m5.large")


def test_hardware_bounds_hold_for_a_list_too(cli: Any, job_dir: Path, price_list: Path) -> None:
    answer = cli(RUN, "my_job", "--from-spot-prices", "--min-vcpu", "96", "--dry-run")
    assert answer.code == 1
    assert "m5.large in us-east-1 with 2 vCPU" in answer.err
    assert "--min-vcpu" in answer.err


def test_a_budget_that_covers_less_says_so_and_names_the_most_one_can_pay(
    cli: Any, job_dir: Path, price_list: Path
) -> None:
    out = cli(RUN, "my_job", "--from-spot-prices", "--budget", "8.05", "--estimated-runtime", "10", "--dry-run").out
    assert "of the estimated 10 h" in out
    assert "You cannot pay more than $8.0" in out


# --- dry run


def test_a_dry_run_touches_nothing(cli: Any, job_dir: Path, here: Path) -> None:
    before = everything(here)
    answer = cli(RUN, "my_job", "--dry-run", "--budget", "10")
    assert answer.code == 0
    assert "You cannot pay more than $" in answer.out
    assert "assuming" in answer.out
    assert everything(here) == before


def test_a_dry_run_answers_programs_with_exact_amounts_and_nothing_else(cli: Any, job_dir: Path) -> None:
    answer = cli(
        RUN, "my_job", "--dry-run", "--budget", "10", "--estimated-runtime", "3", "--json", "--provider", "LOCAL"
    )
    plan = json.loads(answer.out, parse_float=Decimal)
    assert plan["status"] == "dry_run_success"
    assert plan["provider"] == "local"
    assert plan["budget_limit"] == Decimal("10.00")
    assert plan["estimated_cost"] == plan["price_per_hour"] * 3
    assert plan["estimated_cost"] <= plan["worst_case"] <= plan["budget_limit"]
    assert sum(part["cost"] for part in plan["parts"]) == plan["worst_case"]


def test_a_directory_that_is_not_there_is_refused(cli: Any, here: Path) -> None:
    for more in ((), ("--dry-run",)):
        answer = cli(RUN, "nowhere", *more)
        assert answer.code in (1, 2)
        assert "nowhere" in answer.err
    assert "Traceback" not in answer.err


# --- launching


def test_a_job_runs_and_its_output_is_the_answer(cli: Any, job_dir: Path) -> None:
    answer = cli(RUN, "my_job", "--budget", "1.00", "--estimated-runtime", "0.1", "--wait")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("it ran\n")
    assert "is completed" in answer.out
    (job,) = json.loads(cli("job_manager.py", "list", "--json").out)
    assert (job["name"], job["status"]) == ("my-job", "completed")


def test_waiting_for_a_job_that_fails_ends_with_1_and_json_stays_clean(cli: Any, job_dir: Path) -> None:
    answer = cli(RUN, "my_job", "--budget", "1", "--command", "echo to the log; exit 3", "--wait", "--json")
    assert answer.code == 1
    job = json.loads(answer.out)
    assert (job["status"], job["exit_status"]) == ("failed", 3)
    assert "to the log" in answer.err


def test_what_was_given_is_kept_with_the_job(cli: Any, job_dir: Path) -> None:
    answer = cli(
        RUN, "my_job", "--s3-bucket", "my-bucket", "--gdrive-path", "jobs/1", "--basis", "aug-cc-pVDZ",
        "--compute-executable", "./x", "--tag", "team=search", "--env", "GREETING=a b", "--name", "kept",
        "--command", 'echo "$GREETING"', "--wait", "--json",
    )  # fmt: skip
    job = json.loads(answer.out)
    assert (job["name"], job["s3_bucket"], job["gdrive_path"]) == ("kept", "my-bucket", "jobs/1")
    assert job["basis_set"] == "aug-cc-pVDZ"
    assert job["billing_tags"]["team"] == "search"
    assert job["metadata"]["compute_executable"] == "./x"
    assert "a b" in answer.err
    assert "only kept on record" in answer.err


def test_the_same_key_is_the_same_job(cli: Any, job_dir: Path) -> None:
    first, second = (json.loads(cli(RUN, "my_job", "--key", "nightly-1", "--wait", "--json").out) for _ in range(2))
    assert first["job_id"] == second["job_id"]
    answer = cli(RUN, "my_job", "--key", "nightly-1", "--budget", "3")
    assert answer.code == 2
    assert "nightly-1" in answer.err


def test_a_job_charged_to_a_budget_holds_there_first(cli: Any, job_dir: Path) -> None:
    cli("tallygate", "budget", "add", "team", "--limit", "0.01")
    answer = cli(RUN, "my_job", "--charge-to", "team", "--budget", "5")
    assert answer.code == 1
    assert "team" in answer.err
    cli("tallygate", "budget", "set", "team", "--limit", "5")
    assert cli(RUN, "my_job", "--charge-to", "team", "--budget", "2", "--wait").code == 0
    budget = json.loads(cli("tallygate", "budget", "show", "team", "--json").out, parse_float=Decimal)
    assert budget["held"] + budget["spent"] > 0
    assert budget["available"] + budget["held"] + budget["spent"] == 5


def test_a_budget_that_does_not_exist_launches_nothing(cli: Any, job_dir: Path) -> None:
    answer = cli(RUN, "my_job", "--charge-to", "taem")
    assert answer.code == 2
    assert cli("job_manager.py", "list", "--json").out == "[]\n"


def test_a_configured_budget_holds_without_a_flag(cli: Any, job_dir: Path, here: Path, price_list: Path) -> None:
    (here / "config.json").write_text('{"defaults": {"budget_limit": 1.00, "estimated_runtime": 2.0}}')
    assert "Estimated cost $1.6000 exceeds budget $1.00" in cli(RUN, "my_job", "--from-spot-prices").err


@pytest.mark.parametrize(("provider", "said"), [("AWS", "AWS"), ("gcp", "Google Cloud"), ("Azure", "Azure")])
def test_a_cloud_that_cannot_be_launched_on_is_said_so(provider: str, said: str, cli: Any, job_dir: Path) -> None:
    """Never a silent swap to another provider."""
    answer = cli(RUN, "my_job", "--provider", provider, "--budget", "5")
    assert answer.code == 3
    assert said in answer.err
    assert cli("job_manager.py", "list", "--json").out == "[]\n"


def test_logs_fetch_and_terminate_go_by_name(cli: Any, job_dir: Path, here: Path) -> None:
    cli(RUN, "my_job", "--wait")
    assert cli("job_manager.py", "logs", "my-job").out == "it ran\n"
    assert "results" in cli("job_manager.py", "fetch", "my-job").out
    assert any(path.is_file() for path in (here / "results").rglob("*"))
    cli(RUN, "my_job", "--name", "long", "--command", "sleep 600")
    assert cli("job_manager.py", "terminate", "long", "--yes", "--reason", "enough").code == 0
    assert cli("job_manager.py", "watch", "--until-idle", "--interval", "1").code == 0
    job = json.loads(cli("job_manager.py", "show", "long", "--json").out)
    assert (job["status"], job["reason"]) == ("terminated", "enough")


def test_control_c_while_waiting_leaves_the_job_running_and_says_how_to_look(job_dir: Path, here: Path) -> None:
    """The whole process group gets the signal, as from a keyboard; the machine is in none of ours and goes on."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(here), "PYTHONUNBUFFERED": "1"}

    def door(name: str, *arguments: str) -> list[str]:
        return [sys.executable, str(ROOT / name), *arguments]

    process = subprocess.Popen(
        door("cloud_run.py", "my_job", "--command", "echo begun; sleep 600", "--wait"),
        cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    try:
        assert process.returncode == 130
        assert b"goes on" in err
        assert b"job_manager.py show" in err
        assert b"Traceback" not in err
        shown = subprocess.run(
            door("job_manager.py", "show", "my-job", "--json"),
            cwd=here,
            env=environment,
            capture_output=True,
            check=True,
        )
        assert json.loads(shown.stdout)["status"] == "running"
    finally:
        subprocess.run(door("job_manager.py", "terminate", "my-job", "--yes"), cwd=here, env=environment, check=True)
        watch = door("job_manager.py", "watch", "--until-idle", "--interval", "1")
        subprocess.run(watch, cwd=here, env=environment, check=True)
