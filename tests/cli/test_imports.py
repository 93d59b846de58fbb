"""What a command imports: nothing it does not need. A heavy import on a hot path is how commands become slow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAVY = (
    "rich", "boto3", "botocore", "google", "azure", "sqlalchemy", "psycopg", "pandas", "numpy", "duckdb", "polars",
    "tabulate", "yaml", "asyncio", "http", "ssl", "urllib.request", "logging", "importlib.metadata", "hypothesis",
)  # fmt: skip

VALIDATORS = ("pydantic", "pydantic_core")
"""Typer's own: it brings a validator to every option, which our commands do without."""

HOT = {
    "--help": ("cloud_run.py", "--help"),
    "a menu's --help": ("job_manager.py", "--help"),
    "list": ("job_manager.py", "list"),
    "list of the umbrella": ("-m", "tallygate", "jobs", "list"),
    "find": ("find_cheapest_instance.py", "--no-interactive"),
    "find, nothing fits": ("find_cheapest_instance.py", "--no-interactive", "--gpu", "none"),
    "prices show": ("-m", "tallygate", "prices", "show"),
    "prices history": ("-m", "tallygate", "prices", "history", "r5.4xlarge"),
    "prices import": ("-m", "tallygate", "prices", "import", "vms.csv", "--provider", "aws"),
    "--dry-run": ("cloud_run.py", "my_job", "--dry-run"),
    "budget list": ("job_manager.py", "budget", "list"),
    "config show": ("-m", "tallygate", "config", "show"),
    "a wrong flag": ("cloud_run.py", "my_job", "--budget", "nan"),
    "an unknown flag": ("cloud_run.py", "my_job", "--budgt", "5"),
}

RUNNER = """
import atexit, runpy, sys
def report():
    print("IMPORTED", *sorted(sys.modules), file=sys.stderr)
atexit.register(report)
"""


@pytest.mark.parametrize("arguments", HOT.values(), ids=HOT)
def test_a_hot_path_imports_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "my_job").mkdir()
    (tmp_path / "my_job" / "run.sh").write_text("true\n")
    (tmp_path / "vms.csv").write_text(
        "InstanceType,vCPUs,MemoryGiB,Price,SpotPrice,Region,AvailabilityZone\n"
        "m5.large,2,8,0.096,0.035,us-east-1,us-east-1a\n"
    )
    # Python runs this before anything else, and it tells at the end what has been imported.
    (tmp_path / "sitecustomize.py").write_text(RUNNER)
    command = [arguments[0] if arguments[0] == "-m" else str(ROOT / arguments[0]), *arguments[1:]]
    answer = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode in (0, 1, 2), answer.stderr
    modules = answer.stderr.rpartition("IMPORTED")[2].split()
    assert "typer" in modules
    assert [name for name in (*HEAVY, *VALIDATORS) if name in modules] == []


def test_loading_a_json_configuration_needs_no_yaml(tmp_path: Path) -> None:
    """And a YAML configuration does import it: the test above can see such things."""
    (tmp_path / "config.yaml").write_text("database: x.db\n")
    (tmp_path / "sitecustomize.py").write_text(RUNNER)
    answer = subprocess.run(
        [sys.executable, str(ROOT / "job_manager.py"), "list"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "yaml" in answer.stderr.rpartition("IMPORTED")[2].split()
