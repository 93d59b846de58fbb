"""Named queries from the ``.sql`` files under ``sql/``, and the values they may be given.

A file is one noun, ``sql/<noun>.sql``; what an engine says differently is in ``sql/<engine>/<noun>.sql`` under the
same name. A query starts with ``-- <name>: <what it is for>``, the name in lower case, and is asked for as
``<noun>.<name>``. Values are written ``:name``. A query may hold several statements, each ended by a semicolon at the
end of a line; SQLite carries them out in order, and PostgreSQL's version of such a query is one statement.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache

from ..errors import StoreError

SQL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sql")

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
"""What a whole number in the store may be, on both engines."""


@cache
def named(engine: str, query: str) -> tuple[str, ...]:
    """The statements of ``noun.name`` for ``engine``. Raises ``KeyError`` for an unknown name."""
    noun, _, name = query.partition(".")
    return _load(engine, noun)[name]


@cache
def _load(engine: str, noun: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for path in (os.path.join(SQL, f"{noun}.sql"), os.path.join(SQL, engine, f"{noun}.sql")):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found.update(parse(file.read()))
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
        heading = line[3:].partition(": ")[0] if line.startswith("-- ") and ": " in line else ""
        if heading.isidentifier() and heading.islower():
            keep()
            name, lines = heading, []
        elif not line.lstrip().startswith("--"):
            lines.append(line)
    keep()
    return found


def plain(values: Mapping[str, object]) -> dict[str, object]:
    """``values`` as what both engines store alike: None, ``str``, ``int``, or a ``datetime`` with a zone.

    A ``bool`` becomes 0 or 1, an enumeration its value, a ``date`` its text. Raises ``TypeError`` for a float or
    anything else, and ``StoreError`` for a number beyond 64 bits or text with a NUL character.
    """
    return {
        name: value if value is None or (type(value) is str and "\0" not in value) else _plain(name, value)
        for name, value in values.items()
    }


def _plain(name: str, value: object) -> object:
    if value is None:
        return None
    if isinstance(value, str):
        if "\0" in value:
            raise StoreError(f"The text for {name} contains a NUL character")
        return value
    if isinstance(value, int):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise StoreError(f"The number for {name} is too large to store: {value}")
        return int(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"The instant for {name} has no time zone: {value}")
        return value
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"A {type(value).__name__} cannot be stored ({name})")
