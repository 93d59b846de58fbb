"""What programs and people may rely on in every output."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.money import Money
from tallygate.reports import render


@given(st.integers(-(10**17), 10**17))
def test_money_in_json_is_exactly_the_digits_of_the_amount(nanos: int) -> None:
    written = render.json_text({"cost": Money(nanos)})
    assert json.loads(written, parse_float=Decimal, parse_int=Decimal)["cost"] == Decimal(nanos) / 10**9
    assert "E" not in written.upper()


def test_small_decimals_are_written_out() -> None:
    assert render.json_text(Decimal("1E-9")) == "0.000000001"


@pytest.mark.parametrize("bad", [Decimal("NaN"), Decimal("Infinity"), float("nan"), float("inf")])
def test_what_is_no_number_is_not_written_as_json(bad: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        render.json_text([bad])


def test_instants_dates_and_unknowns_have_one_form_in_json() -> None:
    answer = render.json_text(
        {"at": datetime(2026, 3, 1, 12, tzinfo=UTC), "day": date(2026, 3, 1), "cost": None, "rows": (1, True)},
        indent=None,
    )
    assert answer == '{"at": "2026-03-01T12:00:00.000000Z", "day": "2026-03-01", "cost": null, "rows": [1, true]}'


@given(st.text())
def test_no_stored_text_can_move_the_cursor(text: str) -> None:
    """Whatever a job is called, a table stays one line per row and holds no control character."""
    drawn = render.columns([[text, 1]], ["name", "n"])
    assert drawn.count("\n") == 2
    assert all(sign == "\n" or sign.isprintable() or ord(sign) >= 0xA0 for sign in drawn)
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("a\nb\tc", "a b c"),
        ("x\u202eexe.txt", "xexe.txt"),
        ("\x9b2Jgone", "gone"),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_escape_sequences_leave_nothing_behind(text: str, shown: str) -> None:
    assert render.clean(text) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝", "＋", "－", "＠"])
def test_a_spreadsheet_never_sees_a_formula(start: str) -> None:
    (_, line) = csv.reader(io.StringIO(render.csv_text([[f"{start}cmd|' /C calc'!A0"]], ["name"]), newline=""))
    assert line[0].startswith("'")


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_csv_text_reads_back_as_it_was(texts: list[str]) -> None:
    written = render.csv_text([[text, Money.of("1.5")] for text in texts], ["text", "cost"])
    read = list(csv.reader(io.StringIO(written, newline="")))
    assert [[render.unguarded(row[0]), row[1]] for row in read[1:]] == [[text, "1.50"] for text in texts]


def test_a_negative_amount_in_csv_stays_a_number() -> None:
    assert (
        render.csv_text([[Money.of("-0.25"), Decimal("1E-9"), None]], ["a", "b", "c"])
        == '"a","b","c"\n-0.25,0.000000001,\n'
    )


def test_both_tables_show_the_same_cells() -> None:
    rows: list[list[object]] = [["one", Money.of("12.5"), None], ["two", Money.of("0.000000001"), True]]
    headers = ["name", "cost", "final"]
    assert render.columns(rows, headers).splitlines() == [
        "name          cost  final",
        "----  ------------  -----",
        "one         $12.50  -",
        "two   $0.000000001  yes",
    ]
    drawn = [line.split() for line in render.columns(rows, headers).splitlines() if "--" not in line]
    assert drawn == [line.split() for line in render.table(rows, headers).splitlines() if "--" not in line]


def test_unknown_money_is_never_shown_as_zero() -> None:
    assert render.amount(None) == "unknown"
    assert render.amount(Money.of("0.00000001")) == "$0.00000001"
    assert render.amount(Money.of("-3.14159")) == "-$3.1416"
    assert render.amount(Money.of("2", "EUR")) == "2.00 EUR"


def test_an_empty_table_still_names_its_columns() -> None:
    assert render.columns([], ["name", "cost"]).splitlines()[0] == "name  cost"
    assert render.table([], ["name", "cost"]).splitlines()[0].split() == ["name", "cost"]


def test_colour_is_off_when_asked_or_piped() -> None:
    assert render.wants_colour({}, is_terminal=True)
    assert not render.wants_colour({}, is_terminal=False)
    assert not render.wants_colour({"NO_COLOR": "1"}, is_terminal=True)
    assert render.paint("ok", "green", colour=False) == "ok"


def test_the_light_table_and_the_module_itself_import_neither_tabulate_nor_json() -> None:
    """Commands that must answer in a blink pay for no library they do not use."""
    program = (
        "import sys; from tallygate.reports import render; render.columns([['a', 1]], ['x', 'y']); "
        "print(sorted({'tabulate', 'simplejson', 'json', 'csv', 'importlib.metadata'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
