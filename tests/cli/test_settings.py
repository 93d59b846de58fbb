"""``tallygate config show``: what is in force, where it came from, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_every_setting_is_shown_with_its_source(cli: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "config.json").write_text('{"defaults": {"budget_limit": 12.50}}')
    monkeypatch.setenv("TALLYGATE_WATCH__INTERVAL_SECONDS", "5")
    found = json.loads(cli("tallygate", "config", "show", "--json").out)
    assert found["defaults.budget_limit"] == {"value": 12.5, "source": "config.json"}
    assert found["watch.interval_seconds"]["source"] == "environment TALLYGATE_WATCH__INTERVAL_SECONDS"
    assert found["database"] == {"value": "cloud_jobs.db", "source": "default"}
    assert "$12.50" in cli("tallygate", "config", "show").out


def test_no_secret_is_shown(cli: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_HOST", "db.example")
    monkeypatch.setenv("DB_USER", "ann")
    monkeypatch.setenv("DB_PASSWORD", "canary")
    (here / "config.json").write_text('{"azure": {"admin_password": "canary"}, "aws": {"key_name": "canary"}}')
    for form in ((), ("--json",)):
        answer = cli("tallygate", "config", "show", *form)
        assert "db.example" in answer.out
        assert "canary" not in answer.out + answer.err


def test_a_profile_is_shown_with_its_own_name(cli: Any) -> None:
    profile = Path(__file__).resolve().parents[2] / "config_profiles" / "large.json"
    found = json.loads(cli("tallygate", "config", "show", "--config", str(profile), "--json").out)
    assert found["hardware.min_vcpu"] == {"value": 32, "source": str(profile)}


def test_migrating_twice_is_migrating_once(cli: Any, here: Path) -> None:
    for _ in range(2):
        answer = cli("tallygate", "migrate")
        assert (answer.code, answer.out) == (0, "cloud_jobs.db is up to date\n")
