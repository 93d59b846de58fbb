"""``cloud_run.py --plan`` and ``--from-plan``, run times from history, and what a dry run shows of its quote."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

RUN = "cloud_run.py"


def everything(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


# --- quotes


def test_a_dry_run_shows_the_quote_and_what_it_rests_on(cli: Any, job_dir: Path) -> None:
    out = cli(RUN, "my_job", "--dry-run", "--estimated-runtime", "2").out
    assert "Finishing costs $" in out
    assert " expected, $" in out
    assert " p50, $" in out
    assert " p90, $" in out
    assert " at worst; expected are\n  - machine at work, 2.0000 hours: $" in out
    assert "  - run time: 2 h, as stated; from one number nothing is known of how far it may be off\n" in out


def test_a_dry_run_answers_programs_with_the_whole_quote(cli: Any, job_dir: Path) -> None:
    plan = json.loads(cli(RUN, "my_job", "--dry-run", "--json").out, parse_float=Decimal)
    quote = plan["quote"]
    assert quote["expected"] == sum(part["cost"] for part in quote["parts"]) == plan["estimated_cost"]
    assert quote["p5"] <= quote["p50"] <= quote["p90"] <= quote["p95"] <= quote["worst_case"] == plan["worst_case"]
    assert (quote["runs"], plan["launch_refused"], plan["catalogue_version"], plan["instead"]) == (0, None, None, [])


def test_an_old_list_is_planned_with_and_a_launch_is_refused(cli: Any, job_dir: Path, here: Path) -> None:
    listed = {
        "provider": "AWS",
        "instance": "m5.large",
        "region": "us-east-1",
        "price_hr": 0.04,
        "vcpu": 2,
        "ram_gb": 8,
    }
    path = here / "spot_prices.json"
    path.write_text(json.dumps([{**listed, "on_demand_hr": 0.096}]))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    dry = cli(RUN, "my_job", "--dry-run")
    assert dry.code == 0
    assert "WARNING: a launch would be refused: The price of aws m5.large in us-east-1 is " in dry.err
    assert "  - the same machine on demand: $0.2" in dry.out
    assert json.loads(cli(RUN, "my_job", "--dry-run", "--json").out)["launch_refused"].startswith("The price of aws")
    real = cli(RUN, "my_job")
    assert real.code == 1
    assert "older than the allowed" in real.err


# --- run times from history


def test_a_run_time_without_a_run_behind_it_is_refused_with_its_cure(cli: Any, job_dir: Path) -> None:
    answer = cli(RUN, "my_job", "--estimated-runtime", "auto")
    assert (answer.code, answer.out) == (1, "")
    assert (
        "nothing to base it on: no finished run of my-job\n  State the hours: --estimated-runtime 2.0\n" in answer.err
    )


def test_a_run_time_from_history_says_how_many_runs_are_behind_it(cli: Any, job_dir: Path) -> None:
    assert cli(RUN, "my_job", "--estimated-runtime", "0.1", "--wait").code == 0
    assert cli(RUN, "my_job", "--command", "exit 3", "--wait").code == 1
    plan = json.loads(cli(RUN, "my_job", "--estimated-runtime", "AUTO", "--dry-run", "--json").out, parse_float=Decimal)
    assert plan["quote"]["runs"] == 1
    assert plan["quote"]["basis"][0].startswith("run time: 1 finished run of my-job on local-")
    assert "; 1 that ended otherwise are left out" in plan["quote"]["basis"][0]
    assert 0 < plan["estimated_runtime_hours"] < Decimal("0.1")
    assert cli(RUN, "my_job", "--estimated-runtime", "auto", "--name", "other", "--dry-run").code == 1


# --- plans


def test_a_plan_is_written_shown_and_launched(cli: Any, job_dir: Path, here: Path) -> None:
    answer = cli(RUN, "my_job", "--plan", "job.plan", "--budget", "1", "--env", "A=1", "--estimated-runtime", "0.1")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("Plan written to job.plan. Nothing is launched or uploaded.\n")
    assert "Launch it       python cloud_run.py --from-plan job.plan\n" in answer.out
    assert cli("job_manager.py", "list", "--json").out == "[]\n"
    os.chdir("/")  # a plan knows where its job lies
    try:
        launched = cli(
            RUN, "--from-plan", str(here / "job.plan"), "--env", "A=1", "--wait", "--config", config_of(here)
        )
        again = cli(RUN, "--from-plan", str(here / "job.plan"), "--json", "--config", config_of(here))
    finally:
        os.chdir(here)
    assert launched.code == 0, launched.err
    assert launched.out.startswith("it ran\n")
    jobs = json.loads(cli("job_manager.py", "list", "--json").out)
    assert [job["job_id"] for job in jobs] == [json.loads(again.out)["job_id"]]


def config_of(here: Path) -> str:
    path = here / "elsewhere.json"
    path.write_text(json.dumps({"database": str(here / "cloud_jobs.db")}))
    return str(path)


def test_a_plan_tells_programs_where_it_is(cli: Any, job_dir: Path) -> None:
    found = json.loads(cli(RUN, "my_job", "--plan", "job.plan", "--plan-expires", "0.5", "--json").out)
    assert (found["status"], found["plan"]) == ("plan_written", "job.plan")
    content = json.loads(Path("job.plan").read_text())["content"]
    assert content["made_at"][:13] <= content["expires_at"][:13]


def test_a_plan_that_would_be_refused_is_not_written(cli: Any, job_dir: Path, here: Path) -> None:
    answer = cli(RUN, "my_job", "--plan", "job.plan", "--budget", "0.01", "--estimated-runtime", "10")
    assert answer.code == 1
    assert "exceeds budget $0.01" in answer.err
    assert not (here / "job.plan").exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("my_job",), "A job directory"),
        (("--budget", "5"), "--budget"),
        (("--command", "true"), "--command"),
        (("--key", "k"), "--key"),
        (("--dry-run",), "--dry-run"),
        (("--plan", "other.plan"), "--plan"),
        (("--plan-expires", "2"), "--plan-expires"),
        (("--accept-price", "1"), "--accept-price"),
        (("--max-runtime", "1"), "--max-runtime"),
        (("--tag", "a=b"), "--tag"),
    ],
)
def test_nothing_that_a_plan_says_can_be_said_again(
    flags: tuple[str, ...], named: str, cli: Any, job_dir: Path
) -> None:
    cli(RUN, "my_job", "--plan", "job.plan")
    answer = cli(RUN, *flags, "--from-plan", "job.plan")
    assert answer.code == 2
    assert answer.err == (
        f"ERROR: {named} cannot be given with --from-plan: the plan says everything\n"
        "  Drop it, or make another plan with --plan\n"
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--plan", "p", "--wait"), "--wait does not go with --plan"),
        (("--plan", "p", "--key", "k"), "--key does not go with --plan"),
        (("--plan", "p", "--dry-run"), "--dry-run does not go with --plan"),
        (("--plan-expires", "2"), "--plan-expires says how long a plan is good"),
        (("--plan", "p", "--plan-expires", "0"), "--plan-expires '0' is not above zero"),
        (("--checkpoint-minutes", "-1"), "--checkpoint-minutes '-1' is outside 0 to 43,200"),
        (("--estimated-runtime", "soon"), "--estimated-runtime 'soon' is not a number"),
    ],
)
def test_flags_that_make_no_sense_together_are_refused(
    flags: tuple[str, ...], says: str, cli: Any, job_dir: Path, here: Path
) -> None:
    before = everything(here)
    answer = cli(RUN, "my_job", *flags)
    assert answer.code == 2
    assert says in answer.err
    assert everything(here) == before
