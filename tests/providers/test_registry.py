"""Providers by name; and every provider that can launch has run the contract."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tallygate import providers
from tallygate.errors import CredentialsMissing, UnknownProvider


@pytest.mark.parametrize("name", ["local", "LOCAL", " Local "])
def test_a_name_may_come_in_any_case(name: str) -> None:
    assert providers.check(name) == "local"
    assert providers.provider_type(name).__name__ == "LocalProvider"


@pytest.mark.parametrize(("name", "near"), [("locl", "local"), ("awss", "aws"), ("azur", "azure"), ("gpc", "gcp")])
def test_a_slip_is_answered_with_the_name_that_was_meant(name: str, near: str) -> None:
    with pytest.raises(UnknownProvider, match=name) as caught:
        providers.check(name)
    assert caught.value.cure == f"Did you mean {near}?"


@pytest.mark.parametrize("name", ["", "hetzner", "x" * 1000, "local;id"])
def test_other_names_are_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownProvider) as caught:
        providers.check(name)
    assert "local" in caught.value.cure
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("name", ["aws", "gcp", "AZURE"])
def test_a_cloud_says_plainly_that_it_cannot_be_launched_on_yet(name: str) -> None:
    with pytest.raises(CredentialsMissing, match="cannot launch on") as caught:
        providers.check(name)
    assert "--dry-run" in caught.value.cure


def test_asking_for_a_name_loads_no_provider() -> None:
    program = (
        "import sys, tallygate.providers as p; p.check('local'); print('tallygate.providers.local' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def contracts_run() -> set[str]:
    """The ``provider_name`` of every class in these tests that inherits the contract."""
    names = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "ProviderContract" for base in node.bases):
                for line in node.body:
                    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "provider_name":
                        names.add(ast.literal_eval(line.value))
    return names


def test_every_provider_that_can_launch_has_run_the_contract() -> None:
    assert contracts_run() == set(providers.PROVIDERS)
