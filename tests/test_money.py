"""Money is exact, of one currency, and nothing that is not an amount becomes one."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.errors import TallygateError, UsageError
from tallygate.money import NANOS_MAX, NANOS_PER_UNIT, SECONDS_PER_HOUR, Money, parse_decimal, total

nanos = st.integers(min_value=-NANOS_MAX, max_value=NANOS_MAX)
small = st.integers(min_value=-(10**12), max_value=10**12)

# --- what becomes money


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-0", 0),
        ("8", 8_000_000_000),
        ("8.00", 8_000_000_000),
        ("+8.5", 8_500_000_000),
        ("-0.000000001", -1),
        (".5", 500_000_000),
        ("0.0000000005", 0),  # half to even
        ("0.0000000015", 2),
        ("0.00000000051", 1),
        ("007.10", 7_100_000_000),
        ("99999999.0000000005000000000001", 99_999_999_000_000_001),  # rounded once, however many digits
        ("100000000", NANOS_MAX),
        ("-100000000", -NANOS_MAX),
    ],
)
def test_plain_decimal_text_becomes_money(text: str, expected: int) -> None:
    assert Money(expected) == Money.of(text)


NOT_AMOUNTS = [
    "", " ", "-", "+", ".", "-.", "1.", "1..2", "1.2.3", "--1", "+-1", "1-", " 1", "1 ", "1 000", "1,000", "1,5", "1_000",
    "1'000", "$5", "5$", "5USD", "5 USD", "USD 5", "nan", "NaN", "NAN", "-nan", "snan", "inf", "-inf", "Infinity", "infinity",
    "1e3", "1E3", "1e999", "1e-999", "0x10", "0b1", "1/3", "½", "５", "１２.５０", "٣", "५", "一", "1\u00a0", "1\u200b",
    "\ufeff1", "1\n", "1\0", "\x001", "−5", "1‚5", "None", "null", "true", "1" * 41, "0." + "0" * 41, "9" * 30, "1" + "0" * 30,
    "100000000.000000001", "-100000000.000000001",
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_AMOUNTS)
def test_text_that_is_not_an_amount_is_refused(text: str) -> None:
    """Not-a-number, infinities, exponents, separators, other scripts' digits and amounts beyond the bound (D09)."""
    with pytest.raises(UsageError):
        Money.of(text)


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Decimal("1e30"),
        10**30,
        -(10**30),
        Decimal("9e999999"),
    ],
)
def test_numbers_that_are_not_amounts_are_refused(value: Decimal | int) -> None:
    with pytest.raises(UsageError):
        Money.of(value)


@pytest.mark.parametrize("value", [0.1, 5.0, math.nan, math.inf, -math.inf, 1e300, True])
def test_no_float_and_no_truth_becomes_money(value: float) -> None:
    for make in (Money.of, Money):
        with pytest.raises(UsageError):
            make(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, "5", Decimal(5), None, b"5"])
def test_nanos_are_whole_numbers_and_nothing_that_looks_like_one(value: object) -> None:
    with pytest.raises(UsageError):
        Money(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("currency", ["", "US", "USDX", "usd", "Usd", "U$D", "ÜSD", "ＵＳＤ", "U D", "123"])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    with pytest.raises(UsageError):
        Money(1, currency)


@given(st.text(max_size=45))
def test_any_text_is_money_or_refused_as_a_mistake(text: str) -> None:
    """No text raises anything but ``UsageError``; what is taken has plain digits and the value they spell."""
    try:
        made = Money.of(text)
    except UsageError:
        return
    assert set(text) <= set("0123456789.+-")
    assert abs(Fraction(text) - Fraction(made.nanos, NANOS_PER_UNIT)) <= Fraction(1, 2 * NANOS_PER_UNIT)


@given(st.text(alphabet="0123456789.+-eE_, naifNAIF٣５", max_size=20))
def test_near_misses_are_money_or_refused_as_a_mistake(text: str) -> None:
    try:
        made = Money.of(text)
    except UsageError:
        return
    assert abs(Fraction(text) - Fraction(made.nanos, NANOS_PER_UNIT)) <= Fraction(1, 2 * NANOS_PER_UNIT)
    assert abs(made.nanos) <= NANOS_MAX


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.integers())
def test_any_number_is_money_or_refused_as_a_mistake(value: Decimal | int) -> None:
    try:
        made = Money.of(value)
    except TallygateError:
        return
    assert abs(Fraction(value) - Fraction(made.nanos, NANOS_PER_UNIT)) <= Fraction(1, 2 * NANOS_PER_UNIT)


def test_what_json_reads_as_a_number_is_no_way_around() -> None:
    """``json`` takes NaN, Infinity and 1e999; read as decimals, they are refused all the same."""
    for text in ("NaN", "Infinity", "-Infinity", "1e999", "1e400"):
        value = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
        with pytest.raises(UsageError):
            Money.of(value)


# --- reading it


@given(nanos)
def test_an_amount_survives_being_written_down(amount: int) -> None:
    money = Money(amount)
    assert money == Money.of(money.shown())
    assert money == Money.of(money.decimal)
    assert money.decimal * NANOS_PER_UNIT == amount


@pytest.mark.parametrize(
    ("amount", "shown", "two", "four"),
    [
        (8_000_000_000, "8.00", "8.00", "8.0000"),
        (8_100_000_000, "8.10", "8.10", "8.1000"),
        (123_456_789, "0.123456789", "0.12", "0.1235"),
        (-1, "-0.000000001", "-0.00", "-0.0000"),
        (5_000_000, "0.005", "0.00", "0.0050"),
        (15_000_000, "0.015", "0.02", "0.0150"),
        (NANOS_MAX, "100000000.00", "100000000.00", "100000000.0000"),
    ],
)
def test_an_amount_is_shown_exactly_and_rounded_half_to_even(amount: int, shown: str, two: str, four: str) -> None:
    money = Money(amount)
    assert (shown, two, four) == (money.shown(), f"{money:.2f}", f"{money:.4f}")
    assert str(money) == f"{two} USD"


def test_an_amount_is_neither_true_nor_false() -> None:
    """``if budget`` would take a budget of zero for no budget."""
    for amount in (0, 1):
        with pytest.raises(TypeError):
            bool(Money(amount))
    assert Money(0).is_zero
    assert not Money(1).is_zero


# --- arithmetic


@given(small, small, small)
def test_sums_do_not_depend_on_their_order(a: int, b: int, c: int) -> None:
    assert (Money(a) + Money(b)) + Money(c) == Money(c) + (Money(b) + Money(a)) == total([Money(a), Money(b), Money(c)])
    assert Money(a) - Money(b) == -(Money(b) - Money(a))


@given(small, small)
def test_amounts_compare_as_their_nanos(a: int, b: int) -> None:
    assert (Money(a) < Money(b), Money(a) <= Money(b), Money(a) > Money(b), Money(a) >= Money(b)) == (
        a < b, a <= b, a > b, a >= b,
    )  # fmt: skip
    assert (Money(a) == Money(b)) == (a == b)


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a.percent_of(b),
        lambda a, b: total([a, b]),
    ],
)
def test_two_currencies_never_meet(mix: object) -> None:
    """M10: not in a sum, not in a comparison."""
    with pytest.raises(UsageError, match="cannot be mixed"):
        mix(Money(1, "USD"), Money(1, "EUR"))  # type: ignore[operator]
    assert Money(1, "USD") != Money(1, "EUR")


@pytest.mark.parametrize("other", [1, 1.0, Decimal(1), "1", None])
def test_money_goes_with_money_only(other: object) -> None:
    with pytest.raises(TypeError):
        Money(1) + other  # type: ignore[operator]
    with pytest.raises(TypeError):
        assert Money(1) < other  # type: ignore[operator]


@given(small, st.decimals(min_value=-1000, max_value=1000, places=6))
def test_a_product_is_rounded_once(amount: int, quantity: Decimal) -> None:
    exact = Fraction(amount) * Fraction(quantity)
    rounded = Money(amount).times(quantity).nanos
    assert abs(exact - rounded) <= Fraction(1, 2)
    held = Money(amount).times(quantity, round_up=True).nanos
    assert held == math.ceil(exact)


@pytest.mark.parametrize("quantity", ["NaN", "sNaN", "Infinity", "-Infinity", "1e30", "9e999999"])
def test_a_product_with_what_is_no_number_is_refused(quantity: str) -> None:
    with pytest.raises(UsageError):
        Money.of("1.00").times(Decimal(quantity))


@given(st.integers(0, 10**12), st.integers(0, 10**7))
def test_an_hourly_price_over_seconds_is_exact_up_to_one_rounding(price: int, seconds: int) -> None:
    exact = Fraction(price * seconds, SECONDS_PER_HOUR)
    assert Money(price).for_seconds(seconds, round_up=True).nanos == math.ceil(exact)
    captured = Money(price).for_seconds(seconds).nanos
    assert captured == round(exact)  # Fraction rounds half to even


@given(small, st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any))
def test_a_split_loses_and_makes_nothing(amount: int, weights: list[int]) -> None:
    """M8: the parts add up to the whole, each within one nano of its share, and weight nothing gets nothing."""
    parts = Money(amount).split(weights)
    assert total(parts) == Money(amount)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(amount * weight, sum(weights)) - part.nanos) < 1
        assert weight or part.is_zero


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [-1]])
def test_weights_that_mean_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(UsageError):
        Money(10).split(weights)


def test_a_percentage_of_nothing_is_unknown() -> None:
    assert Money(1).percent_of(Money(0)) is None
    assert Money(1).percent_of(Money(3)) == Decimal("33.3")
    assert Money(-1).percent_of(Money(8)) == Decimal("-12.5")


def test_the_sum_of_nothing_is_zero_of_the_currency_asked_for() -> None:
    assert total([], "EUR") == Money.zero("EUR")


@pytest.mark.parametrize("text", ["12.50", "-3", "+0.1", ".25"])
def test_a_decimal_is_read_as_written(text: str) -> None:
    assert Decimal(text) == parse_decimal(text)
