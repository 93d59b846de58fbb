"""A price is money above zero, or a reason."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tallygate.money import Money
from tallygate.pricing.price_text import hourly_price


@pytest.mark.parametrize("value", ["0.041200", " 0.0412 ", Decimal("0.0412"), Decimal("4.12e-2")])
def test_a_price_keeps_every_digit(value: object) -> None:
    assert hourly_price(value) == Money.of("0.0412")
    assert hourly_price(value, "EUR") == Money.of("0.0412", "EUR")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        ("0", "zero"),
        ("0.0000000004", "zero"),
        (0, "zero"),
        ("-0.01", "negative"),
        (Decimal(-1), "negative"),
        (" ", "not a number"),
        ("abc", "not a number"),
        ("0,05", "not a number"),
        ("1e-3", "not a number"),
        ("NaN", "not a number"),
        ("\u0661", "not a number"),
        (Decimal("NaN"), "not a number"),
        (Decimal("sNaN"), "not a number"),
        (Decimal("-Infinity"), "not a number"),
        (0.5, "not a number"),
        (True, "not a number"),
        ([], "not a number"),
        ("2000.000000001", "above 2000 an hour"),
        ("1000000000", "above 2000 an hour"),
        (10**30, "above 2000 an hour"),
        (Decimal("Infinity"), "above 2000 an hour"),
    ],
)
def test_what_is_no_price_says_why(value: object, reason: str) -> None:
    assert hourly_price(value) == f"price is {reason}"
