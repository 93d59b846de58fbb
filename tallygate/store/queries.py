"""Named queries from the ``.sql`` files under ``sql/``.

A file is one noun, ``sql/<noun>.sql``; what an engine says differently is in ``sql/<engine>/<noun>.sql`` under the same name.
A query starts with ``-- <name>: <what it is for>`` and is asked for as ``<noun>.<name>``. Values are written ``:name``. A query
may hold several statements, each ended by a semicolon at the end of a line; SQLite carries them out in order, and
PostgreSQL's version of such a query is one statement.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_SQL = Path(__file__).parent / "sql"


@cache
def named(engine: str, query: str) -> tuple[str, ...]:
    """The statements of ``noun.name`` for ``engine``. Raises ``KeyError`` for an unknown name."""
    noun, _, name = query.partition(".")
    return _load(engine, noun)[name]


@cache
def _load(engine: str, noun: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for path in (_SQL / f"{noun}.sql", _SQL / engine / f"{noun}.sql"):
        if path.exists():
            found.update(parse(path.read_text(encoding="utf-8")))
    return found


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """The queries of one file by name, comments removed."""
    found: dict[str, tuple[str, ...]] = {}
    name, lines = "", [""]

    def keep() -> None:
        body = "\n".join(lines).strip()
        if name:
            if name in found:
                raise ValueError(f"two queries are called {name}")
            found[name] = tuple(part.strip() for part in (body + "\n").split(";\n") if part.strip())

    for line in text.splitlines():
        if line.startswith("-- ") and ": " in line and line[3:].partition(": ")[0].isidentifier():
            keep()
            name, lines = line[3:].partition(": ")[0], []
        elif not line.lstrip().startswith("--"):
            lines.append(line)
    keep()
    return found
