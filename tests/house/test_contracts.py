"""Every implementation of a boundary runs the boundary's own suite of promises."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tallygate"
TESTS = ROOT / "tests"


class Boundary(NamedTuple):
    """Where a protocol is, and the class that says what all of its implementations promise."""

    module: str
    protocol: str
    contract: str
    beside: str | None = None
    """A protocol of the same module that its implementations also keep, where its own names are too few to know them by."""


BOUNDARIES = (
    Boundary("store/database.py", "Database", "DatabaseContract"),
    Boundary("objectstore/base.py", "ObjectStore", "ObjectStoreContract"),
    Boundary("providers/base.py", "Provider", "ProviderContract"),
    Boundary("billing/source.py", "BillingSource", "BillingSourceContract"),
    Boundary("pricing/source.py", "PriceSource", "PriceSourceContract"),
    Boundary("pricing/source.py", "HistorySource", "HistorySourceContract", beside="PriceSource"),
    Boundary("pricing/refresh.py", "HistoryWriter", "HistoryWriterContract"),
    Boundary("pricing/refresh.py", "CatalogWriter", "CatalogWriterContract"),
)


def classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)]


def bases(kind: ast.ClassDef) -> set[str]:
    return {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in kind.bases}


def offered(kind: ast.ClassDef) -> set[str]:
    """The public names a class defines: its methods, properties and attributes, those set in ``__init__`` included."""
    names: set[str] = set()
    for node in ast.walk(kind):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            names |= {target.attr for target in node.targets if isinstance(target, ast.Attribute)}
    return {name for name in names if not name.startswith("_")}


PASSED_THROUGH = ("simcloud/processes.py", "simcloud/invariants.py")
"""Modules whose classes stand in front of an implementation and hand every call on: the simulation's turns and witnesses."""


def implementations(boundary: Boundary) -> list[str]:
    """The modules that have a class with everything the protocol asks for, by their stem."""
    protocols = {kind.name: kind for kind in classes(PACKAGE / boundary.module)}
    wanted = offered(protocols[boundary.protocol])
    assert wanted
    if boundary.beside:
        wanted |= offered(protocols[boundary.beside])
    return sorted(
        path.stem
        for path in PACKAGE.rglob("*.py")
        if not path.as_posix().endswith(PASSED_THROUGH)
        for kind in classes(path)
        if "Protocol" not in bases(kind) and wanted <= offered(kind)
    )


def suites_of(boundary: Boundary) -> list[str]:
    """The file stem and class name of every test class that inherits the contract."""
    return [
        f"{path.stem} {kind.name}".lower()
        for path in TESTS.rglob("test_*.py")
        for kind in classes(path)
        if boundary.contract in bases(kind) and kind.name.startswith("Test")
    ]


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: boundary.protocol)
def test_every_implementation_runs_the_contract_of_its_boundary(boundary: Boundary) -> None:
    found = implementations(boundary)
    assert found, f"nothing implements {boundary.protocol}"
    suites = suites_of(boundary)
    missing = [stem for stem in found if not any(stem in suite for suite in suites)]
    assert missing == [], f"add a test class that inherits {boundary.contract}"


def test_both_database_engines_are_seen() -> None:
    """Guards the search above against finding less than there is."""
    assert implementations(BOUNDARIES[0]) == ["postgresql", "sqlite"]
