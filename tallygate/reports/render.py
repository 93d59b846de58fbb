"""Rendering: the one place where answers become tables, JSON or CSV.

Text for people is cleaned, because a job's name or a bill's description must not move the cursor, colour the screen
or turn the line around. Text in CSV is guarded, because a spreadsheet runs a cell that begins like a formula. Money in
JSON and CSV is an exact decimal number, never the digits of a binary float.

Two tables: ``table`` draws through tabulate, ``columns`` by itself. Importing tabulate takes two to four times as long
as starting Python (it reads package metadata), which a report does not feel and ``list`` would.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum

from .. import times
from ..money import Money

_LEAST_SHOWN = Decimal("0.0001")
"""Money in tables has four decimal places at most, as in the launcher's own messages."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_GUARD = "'"

# C0 and C1 controls, line separators, marks that turn the reading direction, joiners, and the byte order mark.
_UNSEEN: Mapping[int, str | None] = (
    dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2060, 0x2070)))
    | dict.fromkeys((*range(0x200B, 0x2010), 0x061C, 0xFEFF))
    | dict.fromkeys(map(ord, "\t\n\r\v\f\u2028\u2029"), " ")
)

# A system command runs to a bell or string terminator, a control sequence to a letter, any other is one character.
_ESCAPES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|$)"
    r"|\x1b[ -/]*[0-~]?"
)

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}


# --- for people


def clean(text: str) -> str:
    """``text`` on one line without escape sequences, control characters or direction marks."""
    if text.isascii() and text.isprintable():
        return text
    return _ESCAPES.sub("", text).translate(_UNSEEN)


def amount(money: Money | None, *, missing: str = "unknown", in_full: bool = False) -> str:
    """Money for people: ``$12.50``, ``$0.8342``, ``3.20 EUR``. Rounded to four places, unless that would hide it.

    ``in_full``: every digit, for a limit or a worst case, which must not look smaller than it is.
    """
    if money is None:
        return missing
    rounded = money.decimal.quantize(_LEAST_SHOWN)
    figure = money.shown() if in_full or rounded.is_zero() else _trimmed(rounded)
    if money.currency != "USD":
        return f"{figure} {money.currency}"
    return f"-${figure[1:]}" if figure.startswith("-") else f"${figure}"


def _trimmed(figure: Decimal) -> str:
    whole, _, fraction = f"{figure:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def provider_name(name: str) -> str:
    """A provider as documents write it: ``AWS``, ``GCP``, ``AZURE``; ``local`` stays ``local``."""
    return name if name == "local" else name.upper()


def cell(value: object, *, missing: str = "-") -> str:
    """One value as a table shows it. ``None`` is ``missing``, never zero and never blank."""
    match value:
        case None:
            return missing
        case bool():
            return "yes" if value else "no"
        case Money():
            return amount(value)
        case datetime():
            return times.shown(value)
        case Decimal():
            return f"{value:f}"
        case Enum():
            return clean(str(value.value))
        case _:
            return clean(str(value))


def table(rows: Iterable[Sequence[object]], headers: Sequence[str], *, missing: str = "-") -> str:
    """A table for a report. Columns that hold only numbers and money stand to the right."""
    from tabulate import tabulate

    found = list(rows)
    right = _numeric(found, len(headers))
    return tabulate(
        [[cell(value, missing=missing) for value in row] for row in found],
        headers=[clean(header) for header in headers],
        tablefmt="simple",
        disable_numparse=True,
        colalign=["right" if number else "left" for number in right] if found else None,
    )


def columns(rows: Iterable[Sequence[object]], headers: Sequence[str], *, missing: str = "-") -> str:
    """The same table drawn without tabulate, for commands that must answer in a blink."""
    found = list(rows)
    right = _numeric(found, len(headers))
    cells = [[clean(header) for header in headers], *([cell(value, missing=missing) for value in row] for row in found)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(headers))]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def wants_colour(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether to colour: only on a terminal, never with ``NO_COLOR`` set to anything (https://no-color.org)."""
    return is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def paint(text: str, style: str, *, colour: bool) -> str:
    """``text`` in ``bold``, ``dim``, ``red``, ``yellow`` or ``green`` when ``colour`` is wanted."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour else text


# --- for programs


def json_text(value: object, *, indent: int | None = 2) -> str:
    """``value`` as JSON in plain ASCII. Amounts and ``Decimal`` become exact numbers, instants and dates ISO text.

    Anything with ``as_dict`` answers for itself. NaN and infinity raise ``ValueError``: neither is JSON.
    """
    import simplejson

    return str(
        simplejson.dumps(
            value,
            indent=indent,
            use_decimal=False,  # left to _for_json, which writes 0.000000001 where use_decimal would write 1E-9
            default=_for_json,
            namedtuple_as_object=False,
            allow_nan=False,
        )
    )


def _for_json(value: object) -> object:
    from simplejson import RawJSON

    match value:
        case Money():
            return RawJSON(value.shown())
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is not a JSON number")
            return RawJSON(f"{value:f}")
        case datetime():
            return times.text(value)
        case date():
            return value.isoformat()
        case Enum():
            return value.value
        case os.PathLike():
            return os.fspath(value)
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value)
        case bytes() | bytearray():
            raise TypeError("Bytes are not JSON")
        case Iterable():
            return list(value)
    if hasattr(value, "as_dict"):
        return value.as_dict()
    raise TypeError(f"{type(value).__name__} is not JSON")


def csv_text(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """``rows`` as CSV with a header line. See ``csv_lines``."""
    return "".join(csv_lines(rows, headers))


def csv_lines(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> Iterator[str]:
    """CSV line by line: numbers bare, text always in quotes, unknown as nothing at all.

    Text that a spreadsheet would run, or that begins with an apostrophe, gets one apostrophe in front; ``unguarded``
    takes it off again.
    """
    yield ",".join(_quoted(header) for header in headers) + "\n"
    for row in rows:
        yield ",".join(_csv_cell(value) for value in row) + "\n"


def unguarded(text: str) -> str:
    """A CSV text cell as it was before ``csv_lines`` guarded it."""
    return text.removeprefix(_GUARD)


def _csv_cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Money():
            return value.shown()
        case Decimal():
            return f"{value:f}"
        case datetime():
            return _quoted(times.text(value))
        case Enum():
            return _quoted(str(value.value))
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    # Some spreadsheets skip blanks before they look for a formula.
    if text.lstrip(" ").startswith(_FORMULA_STARTS) or text.startswith(_GUARD):
        text = _GUARD + text
    return '"' + text.replace('"', '""') + '"'


def exact(money: Money | None) -> Decimal | None:
    """An amount as reports carry it in dictionaries: an exact ``Decimal``, at least two places; None when unknown."""
    return None if money is None else Decimal(money.shown())


def _numeric(rows: Sequence[Sequence[object]], count: int) -> list[bool]:
    """Which of ``count`` columns hold nothing but numbers and money, unknown ones aside."""
    return [
        any(row[i] is not None for row in rows)
        and all(
            row[i] is None or (isinstance(row[i], int | Decimal | Money) and not isinstance(row[i], bool))
            for row in rows
        )
        for i in range(count)
    ]
