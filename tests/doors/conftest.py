"""The doors as modules and as programs, in a directory of their own."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _door(name: str) -> ModuleType:
    """The script ``name``.py as a module, as ``import name`` in the checkout would give it."""
    if name not in sys.modules:
        found = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module
        found.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("TALLYGATE_", "DB_", "CLOUD_SCHEDULER")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def job_manager(in_an_empty_directory: Path) -> Any:
    """The module ``job_manager``."""
    return _door("job_manager")


@pytest.fixture
def cost_tracker(in_an_empty_directory: Path, job_manager: Any) -> Any:
    """The module ``cost_tracker``."""
    return _door("cost_tracker")


@pytest.fixture
def cloud_cost_report(in_an_empty_directory: Path, cost_tracker: Any) -> Any:
    """The module ``cloud_cost_report``."""
    return _door("cloud_cost_report")
