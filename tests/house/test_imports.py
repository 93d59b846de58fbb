"""The dependency rule of ARCHITECTURE.md is kept, and each of its contracts can be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ("floors", "no-circles", "adapters", "pretence", "drivers")


def lint_imports(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    options = ["--no-logo", "--no-cache", *(part for name in contracts for part in ("--contract", name))]
    # The copy of the package must be found before the installed one.
    environment = {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"}
    return subprocess.run(
        command + options, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_every_import_obeys_the_dependency_rule() -> None:
    answer = lint_imports(ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in answer.stdout


@pytest.mark.parametrize(
    ("contract", "place", "line"),
    [
        ("floors", "ledger/book.py", "from ..store import database"),
        ("floors", "money.py", "from .ledger import holds"),
        ("floors", "jobs/job.py", "from .. import app"),
        ("floors", "app/market.py", "from ..cli import main"),
        ("floors", "odds_and_ends.py", "from . import errors"),
        ("no-circles", "providers/base.py", "from ..store import database"),
        ("adapters", "jobs/job.py", "from ..providers import local"),
        ("adapters", "cli/main.py", "from ..store import sqlite"),
        ("pretence", "jobs/watch.py", "from ..simcloud import world"),
        ("drivers", "store/queries.py", "import sqlite3"),
        ("drivers", "billing/charge.py", "import boto3"),
        ("drivers", "cli/main.py", "from google.cloud import compute_v1"),
    ],
)
def test_a_planted_offence_breaks_its_contract(tmp_path: Path, contract: str, place: str, line: str) -> None:
    shutil.copytree(ROOT / "tallygate", tmp_path / "tallygate", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "tallygate" / place
    before = planted.read_text(encoding="utf-8") if planted.exists() else ""
    # At the end, so that an import inside a function counts no less than one at the top.
    planted.write_text(f"{before}\n\ndef planted() -> None:\n    {line}\n", encoding="utf-8")

    answer = lint_imports(tmp_path, contract)

    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "0 kept, 1 broken" in answer.stdout
