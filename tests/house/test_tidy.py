"""Habits of the house that a machine can check: money without floats, one clock, SQL in its own files, no leftovers."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallygate.store import queries

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tallygate"
SQL = PACKAGE / "store" / "sql"

MONEY = ("money.py", "ledger/", "pricing/", "billing/", "reports/", "store/journal.py", "jobs/launch.py")
"""Where amounts are computed or carried. Seconds may be floats elsewhere; here nothing may."""

OUTSIDE_WORLD = {
    "times.py": {"time", "now"},
    "ids.py": {"urandom"},
    "config.py": {"environ"},
    "app/__init__.py": {"environ"},
}
"""Which modules besides the adapters may ask the world outside, and what for."""

ADAPTERS = ("store/sqlite.py", "store/postgresql.py", "store/queue.py", "providers/local", "objectstore/folder")
"""What translates between us and an engine, a vendor or this machine."""

ODD_NAMES = {"util", "utils", "common", "helper", "helpers", "model", "models", "misc", "stuff", "lib"}

# Written in pieces, so that this file does not contain what it looks for.
LEFTOVERS = re.compile(
    r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "place" + "holder", "st" + "ub")) + r")\b"
    r"|not " + r"implemented|Not" + "ImplementedError",
    re.IGNORECASE,
)

SQL_WORDS = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|WITH|VACUUM|ANALYZE)\s+[\w*(]", re.MULTILINE
)

LINES_MAX = 600


NOT_OURS = {".git", ".venv", "__pycache__", "build", "dist", "results", "node_modules", ".tallygate"}


def files(*endings: str) -> list[Path]:
    """Every file of the checkout that we wrote, caches and what runs leave behind aside."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.endswith(("_cache", ".egg-info"))]
        found += [Path(folder, name) for name in names if name.endswith(endings or "") and ".db" not in name]
    return sorted(found)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def where(path: Path, node: ast.AST) -> str:
    return f"{short(path)}:{getattr(node, 'lineno', 0)}"


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def is_in(path: Path, places: tuple[str, ...]) -> bool:
    return path.relative_to(PACKAGE).as_posix().startswith(places)


# --- money


def floats_in(tree: ast.Module) -> Iterator[ast.AST]:
    """Float literals, the name ``float`` other than as the second word of ``isinstance``, and binary-float modules."""
    excused = {
        name
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "isinstance"
        for argument in call.args[1:]
        for name in ast.walk(argument)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield node
        elif isinstance(node, ast.Name) and node.id == "float" and node not in excused:
            yield node
        elif isinstance(node, ast.Import) and any(alias.name in ("math", "statistics") for alias in node.names):
            yield node


def test_no_float_comes_near_money() -> None:
    """A float literal, a conversion to float or a float annotation in a money room fails this test."""
    rooms = [path for path in modules() if is_in(path, MONEY)]
    assert len(rooms) > 5
    assert [where(path, node) for path in rooms for node in floats_in(tree_of(path))] == []


@pytest.mark.parametrize("source", ["x = 0.1", "x = float(y)", "def f(x: float): ...", "import math"])
def test_a_planted_float_is_found(source: str) -> None:
    assert len(list(floats_in(ast.parse(source)))) == 1


# --- the world outside


def asks_the_world(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every use of the wall clock, of randomness, or of the environment, and its word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in ("time", "random", "secrets", "uuid"):
                    yield node, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module in ("time", "random", "secrets", "uuid"):
                yield node, node.module
            elif node.module == "os":
                for alias in node.names:
                    if alias.name in ("environ", "getenv", "urandom"):
                        yield node, alias.name
        elif isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name in ("datetime", "date") and node.attr in ("now", "utcnow", "today"):
                yield node, node.attr
            elif name == "os" and node.attr in ("environ", "getenv", "urandom", "getrandom"):
                yield node, node.attr


def test_only_the_edges_ask_the_world_outside() -> None:
    """Clock, randomness and environment reach everything else as arguments, so that a month can pass in seconds."""
    offences = [
        f"{where(path, node)} uses {word}"
        for path in modules()
        if not is_in(path, ADAPTERS)
        for node, word in asks_the_world(tree_of(path))
        if word not in OUTSIDE_WORLD.get(path.relative_to(PACKAGE).as_posix(), ())
    ]
    assert offences == []


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("import time", "time"),
        ("from random import choice", "random"),
        ("import datetime\nx = datetime.datetime.now()", "now"),
        ("from datetime import date\nx = date.today()", "today"),
        ("import os\nx = os.environ['HOME']", "environ"),
        ("from os import urandom", "urandom"),
        ("import uuid", "uuid"),
    ],
)
def test_a_planted_look_outside_is_found(source: str, word: str) -> None:
    assert [found for _, found in asks_the_world(ast.parse(source))] == [word]


# --- SQL


def sql_strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """String constants that begin like a statement, docstrings aside."""
    documentation = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            if SQL_WORDS.search(node.value):
                yield node


def test_sql_lives_in_sql_files() -> None:
    """Statements are in ``store/sql`` under a name; the engines may only begin, commit and set their own switches."""
    assert [where(path, node) for path in modules() for node in sql_strings(tree_of(path))] == []


def test_a_planted_statement_is_found() -> None:
    planted = ast.parse('rows = database.execute("""\n  SELECT * FROM jobs\n""")')
    assert len(list(sql_strings(planted))) == 1


def query_names() -> dict[str, list[Path]]:
    """``noun.name`` of every query, and the files that define it."""
    found: dict[str, list[Path]] = {}
    for path in sorted(SQL.rglob("*.sql")):
        for name, statements in queries.parse(path.read_text(encoding="utf-8")).items():
            if statements:  # the first comment of a file may look like a name, and nothing belongs to it
                found.setdefault(f"{path.stem}.{name}", []).append(path)
    return found


def test_every_named_query_is_asked_for() -> None:
    """A query that no module, test or benchmark names is dead."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in files(".py") if path != Path(__file__))
    names = query_names()
    assert names
    assert [name for name in names if not re.search(rf"[\"']{re.escape(name)}[\"']", text)] == []


def queries_asked_for(tree: ast.Module) -> Iterator[ast.Constant]:
    """Texts such as ``jobs.add`` in the first argument of ``run``, ``one`` or ``all``."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args:
            if call.func.attr in ("run", "one", "all"):
                for node in ast.walk(call.args[0]):
                    if isinstance(node, ast.Constant) and re.fullmatch(r"[a-z_]+\.[a-z_]+", str(node.value)):
                        yield node


def test_every_query_asked_for_exists_on_both_engines() -> None:
    names = query_names()
    missing = []
    for path in modules():
        for node in queries_asked_for(tree_of(path)):
            engines = {place.parent.name for place in names.get(str(node.value), [])}
            # An engine's own module may ask for what only that engine has.
            wanted = {path.stem} if path.stem in ("sqlite", "postgresql") else {"sqlite", "postgresql"}
            if not ("sql" in engines or wanted <= engines):
                missing.append(f"{where(path, node)} {node.value} (found for: {sorted(engines) or 'neither'})")
    assert missing == []


# --- order


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [short(path) for path in modules() if {path.stem, path.parent.name} & ODD_NAMES] == []


def test_no_file_is_too_long_to_hold_in_mind() -> None:
    ours = files(".py", ".sh", ".sql", "Makefile")
    assert [short(path) for path in ours if len(path.read_text(encoding="utf-8").splitlines()) > LINES_MAX] == []


def test_nothing_was_left_for_later() -> None:
    """No reminder words in any text file of ours. The licence and the lock are others' texts."""
    others = {"LICENSE", "requirements.lock"}
    found = []
    for path in files():
        if path.name in others or b"\0" in path.read_bytes()[:4096]:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if LEFTOVERS.search(line):
                found.append(f"{short(path)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_every_module_and_public_class_says_what_it_is_for() -> None:
    mute = []
    for path in modules():
        tree = tree_of(path)
        if not ast.get_docstring(tree):
            mute.append(short(path))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                mute.append(f"{where(path, node)} {node.name}")
    assert mute == []


def test_no_broad_except_goes_unexplained() -> None:
    """``except Exception`` stands only at a boundary, and the line says which."""
    found = []
    for path in modules():
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"bare"}
            if "bare" in names or ("Exception" in names and "#" not in lines[node.lineno - 1]):
                found.append(where(path, node))
    assert found == []
