"""A drawing of prices fits its width, shows every spike, and leaves unknown time empty."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.money import Money
from tallygate.pricing.history import Path, Pool, Span
from tallygate.pricing.offers import PurchaseOption
from tallygate.reports.price_plot import PATHS_MAX, braille_fits, plot
from tallygate.times import Period

START = datetime(2026, 3, 1, tzinfo=UTC)


def path(*prices: str | None, zone: str = "us-east-1a", days: Sequence[int] = ()) -> Path:
    """Prices of one day each, or of as many as ``days`` says."""
    lengths = days or [1] * len(prices)
    spans, at = [], START
    for price, length in zip(prices, lengths, strict=True):
        end = at + timedelta(days=length)
        spans.append(Span(at, end, None if price is None else Money.of(price)))
        at = end
    pool = Pool(
        provider="aws",
        region="us-east-1",
        zone=zone,
        instance_type="r5.4xlarge",
        purchase_option=PurchaseOption.SPOT,
    )
    return Path(pool=pool, window=Period(START, at), spans=tuple(spans), confirmed_at=None)


def field(lines: list[str], label: str) -> list[str]:
    """The drawing without its labels and axis."""
    return [line[len(label) + 1 :] for line in lines[:-1]]


def test_a_step_line_is_drawn_with_its_ends_labelled() -> None:
    assert plot([path("0.10", "0.20", "0.10", "0.10")], width=30, braille=False) == [
        "$0.20       |-----|",
        *["            |     |"] * 6,
        "$0.10 ------|     |-----------",
        "      03-01              03-05",
    ]
    assert plot([path("0.10", "0.20", None, "0.15")], width=40, braille=True) == [
        "$0.20         ⢸⠉⠉⠉⠉⠉⠉⠉⠉",
        *["              ⢸"] * 2,
        "              ⢸                ⢀⣀⣀⣀⣀⣀⣀⣀⣀",
        *["              ⢸"] * 3,
        "$0.10 ⣀⣀⣀⣀⣀⣀⣀⣀⣸",
        "      03-01                        03-05",
    ]


def test_time_in_which_nothing_is_known_stays_empty() -> None:
    lines = plot([path("0.10", None, "0.10")], width=30 + 6, braille=False)
    row = next(line for line in field(lines, "$0.10") if "-" in line).ljust(30)
    assert set(row[:9]) == {"-"}
    assert set(row[11:19]) == {" "}
    assert set(row[21:29]) == {"-"}


def test_no_spike_is_too_short_to_be_seen() -> None:
    spiky = Path(
        pool=path("1").pool,
        window=Period(START, START + timedelta(days=90)),
        spans=(
            Span(START, START + timedelta(days=45), Money.of("0.10")),
            Span(START + timedelta(days=45), START + timedelta(days=45, seconds=1), Money.of("9")),
            Span(START + timedelta(days=45, seconds=1), START + timedelta(days=90), Money.of("0.10")),
        ),
        confirmed_at=None,
    )
    for braille in (True, False):
        assert plot([spiky], width=40, braille=braille)[0].replace("$9.00", "").strip()


def test_several_pools_share_one_scale_and_are_named() -> None:
    lines = plot([path("0.10", "0.20"), path("0.40", "0.40", zone="us-east-1b")], width=60, braille=True)
    assert [line.split() for line in lines if "spot" in line] == [
        ["aws", "us-east-1a", "spot"],
        ["aws", "us-east-1b", "spot"],
    ]
    assert sum(line.startswith("$0.40") for line in lines) == sum(line.startswith("$0.10") for line in lines) == 2
    many = [path("0.10", zone=f"zone-{number}") for number in range(PATHS_MAX + 5)]
    assert sum("spot" in line for line in plot(many, width=60, braille=True)) == PATHS_MAX


def test_nothing_known_is_nothing_drawn() -> None:
    assert plot([path(None, None)], width=80, braille=True) == []
    assert plot([], width=80, braille=True) == []


@pytest.mark.parametrize(("encoding", "fits"), [("utf-8", True), ("ascii", False), ("latin-1", False), (None, False)])
def test_braille_is_drawn_only_where_it_can_be_shown(encoding: str | None, fits: bool) -> None:
    assert braille_fits(encoding) is fits


@given(
    st.lists(st.one_of(st.none(), st.integers(1, 10**9)), min_size=1, max_size=40),
    st.integers(30, 200),
    st.booleans(),
)
def test_a_drawing_is_never_wider_than_asked(prices: list[int | None], width: int, braille: bool) -> None:
    shown = [None if nanos is None else Money(nanos).shown() for nanos in prices]
    lines = plot(
        [path(*shown), path(*reversed(shown), zone="us-east-1-a-very-long-zone-name")], width=width, braille=braille
    )
    assert all(len(line) <= width for line in lines)
    assert bool(lines) == any(nanos is not None for nanos in prices)
