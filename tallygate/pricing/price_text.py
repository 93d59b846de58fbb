"""A price as clouds and files write it: money, or the reason in a few words why it is none."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from ..errors import UsageError
from ..money import Money, parse_decimal
from .estimate import HOURLY_PRICE_MAX


def hourly_price(value: object, currency: str = "USD") -> Money | str:
    """The price that ``value`` says, always above zero; else why it is none, in words that refusals are counted under.

    ``value``: decimal text, a ``Decimal`` or an ``int``. What is no price is told apart: unknown is not zero.
    """
    if value is None or value == "":
        return "price is missing"
    if isinstance(value, bool) or not isinstance(value, str | Decimal | int):
        return "price is not a number"
    try:
        amount = parse_decimal(value.strip()) if isinstance(value, str) else Decimal(value)
        if amount > HOURLY_PRICE_MAX.decimal:
            return f"price is above {HOURLY_PRICE_MAX:.0f} an hour"
        price = Money.of(amount, currency)
    except (UsageError, InvalidOperation):  # a NaN cannot even be compared
        return "price is not a number"
    if price.nanos < 0:
        return "price is negative"
    return price if price.nanos else "price is zero"
