"""Write the documents that are generated from the code. ``make docs`` runs this; a test compares the result.

    python docs/generate.py            writes docs/errors.md, the table in docs/configuration.md, those in docs/simulation.md
    python docs/generate.py --check    writes nothing; exit 1 when a document is out of date

Nothing else in docs/ is generated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tallygate import config, errors

HERE = Path(__file__).resolve().parent

EXITS = {
    1: "refused: nothing was done that was not asked for",
    2: "wrong usage or configuration",
    3: "a cloud or billing service failed",
    4: "the database cannot be used now",
    70: "a bug in Tallygate itself",
    130: "interrupted by Control-C; what is pending was said",
    141: "whoever read the output went away",
}


def family(parent: type[errors.TallygateError]) -> Iterator[type[errors.TallygateError]]:
    """``parent`` and everything below it, in the order of the module."""
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


def sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?")) else f"{text}."


def catalogue() -> str:
    """The text of docs/errors.md: every error class with its exit code, message and cure."""
    lines = [
        "# Errors",
        "",
        "Every error says what happened and, where there is one, what to do. This page lists the default message of",
        "every kind; a raised error usually adds the numbers of its case. Programs can rely on the exit code and on",
        "the class name. Written by `make docs` from `tallygate/errors.py`.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | done |",
        *(f"| {code} | {meaning} |" for code, meaning in EXITS.items()),
    ]
    for kind in family(errors.TallygateError):
        (parent, *_) = kind.__bases__
        below = "" if parent is Exception else f", a kind of [{parent.__name__}](#{parent.__name__.lower()})"
        says = sentence(kind.__doc__ or "")
        lines += ["", f"## {kind.__name__}", "", f"Exit code {kind.exit_code}{below}.", "", f"> {says}"]
        if kind.default_cure:
            lines += ["", f"What to do: {sentence(kind.default_cure)}"]
    return "\n".join(lines) + "\n"


def configuration() -> str:
    """The text of docs/configuration.md: what is written there by hand, and the table of every setting at its end."""
    text = (HERE / "configuration.md").read_text(encoding="utf-8")
    return text.partition("\n| Setting |")[0] + "\n" + config.table()


def simulation() -> str:
    """The text of docs/simulation.md: what is written there by hand, and the tables between their marks."""
    from tallygate.simcloud import bugs, faults, invariants

    tables = {
        "faults": _table(("Fault", "What happens"), faults.SAYS.items()),
        "invariants": _table(("Invariant", "Promise"), invariants.INVARIANTS.items()),
        "planted mistakes": bugs.table(),
    }
    text = (HERE / "simulation.md").read_text(encoding="utf-8")
    for name, table in tables.items():
        head, mark, rest = text.partition(f"<!-- {name}, written by make docs -->\n")
        _, end, tail = rest.partition(f"<!-- end of {name} -->")
        if not mark or not end:
            raise SystemExit(f"simulation.md has lost its marks for: {name}")
        text = f"{head}{mark}\n{table}\n{end}{tail}"
    return text


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {heads[0]} | {heads[1]} |", "|---|---|", *(f"| `{name}` | {says} |" for name, says in rows)]
    return "\n".join(lines) + "\n"


DOCUMENTS = {
    HERE / "errors.md": catalogue,
    HERE / "configuration.md": configuration,
    HERE / "simulation.md": simulation,
}


def main() -> int:
    old = [
        path for path, write in DOCUMENTS.items() if not path.exists() or path.read_text(encoding="utf-8") != write()
    ]
    if "--check" in sys.argv[1:]:
        for path in old:
            print(f"{path.name} is out of date; run: make docs", file=sys.stderr)
        return 1 if old else 0
    for path in old:
        path.write_text(DOCUMENTS[path](), encoding="utf-8")
        print(f"wrote docs/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
