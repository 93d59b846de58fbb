"""Money: a whole number of nano-units of one currency.

Integers, because a budget compared as a float can be passed by NaN and a sum of floats depends on its order. Nano-units
(10^-9), because cloud bills carry that many digits and a signed 64-bit integer still reaches 9.2 billion units.
No float is accepted anywhere in this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from typing import Self

from .errors import UsageError

NANOS_PER_UNIT = 1_000_000_000

NANOS_MAX = 10**17
"""The largest amount one row may carry: 100 million units. Sums of 92 such rows still fit 64 bits."""

SECONDS_PER_HOUR = 3600

_DIGITS = frozenset("0123456789")
_DIGITS_MAX = 40
_WIDE = Context(prec=60)
_CODES_SEEN: set[str] = set()
"""Currency codes found good before: bills make money by the hundred thousand. At most 26 ** 3."""


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount of one currency. Immutable; arithmetic across currencies raises ``UsageError``.

    ``nanos``: whole nano-units, negative for credits. ``currency``: three capital letters (ISO 4217).
    """

    nanos: int
    currency: str = "USD"

    def __post_init__(self) -> None:
        if type(self.nanos) is not int:
            raise UsageError(f"Money needs a whole number of nano-units, not {self.nanos!r}")
        if self.currency not in _CODES_SEEN:
            _check_code(self.currency)

    # --- making money

    @classmethod
    def zero(cls, currency: str = "USD") -> Self:
        return cls(0, currency)

    @classmethod
    def of(cls, amount: Decimal | int | str, currency: str = "USD") -> Self:
        """Money from decimal text, a ``Decimal`` or an ``int``, rounded half to even at the ninth place.

        Text must be plain ASCII digits with an optional sign and point: no exponent, separator, blank, or other
        script's digits, all of which ``Decimal`` would take. Raises ``UsageError`` beyond ``NANOS_MAX``.
        """
        if isinstance(amount, (float, bool)):
            raise UsageError(f"{amount!r} cannot become money exactly", cure="Pass decimal text instead")
        value = parse_decimal(amount) if isinstance(amount, str) else _finite(Decimal(amount))
        return cls(_whole(_WIDE.multiply(value, Decimal(NANOS_PER_UNIT)), ROUND_HALF_EVEN), currency)

    # --- reading it

    @property
    def decimal(self) -> Decimal:
        """The amount as an exact ``Decimal`` in whole units."""
        return _WIDE.multiply(Decimal(self.nanos), Decimal("1e-9"))

    def __str__(self) -> str:
        return f"{self:.2f} {self.currency}"

    def __format__(self, spec: str) -> str:
        """``f"{m:.4f}"`` gives the amount with four places, rounded half to even, without the currency."""
        return format(self.decimal, spec) if spec else str(self)

    def shown(self, places_min: int = 2) -> str:
        """The exact amount with at least ``places_min`` places and no further trailing zeros."""
        whole, fraction = divmod(abs(self.nanos), NANOS_PER_UNIT)
        sign = "-" if self.nanos < 0 else ""
        return f"{sign}{whole}.{f'{fraction:09}'.rstrip('0').ljust(places_min, '0')}"

    def __bool__(self) -> bool:
        raise TypeError("Ask money a question: is it None, is it zero, is it below something?")

    @property
    def is_zero(self) -> bool:
        return self.nanos == 0

    # --- arithmetic

    def _same(self, other: Money) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"Money goes with money, not with {type(other).__name__}")
        if other.currency != self.currency:
            raise UsageError(
                f"{self.currency} and {other.currency} cannot be mixed",
                cure="Convert one of them with a dated rate first",
            )
        return other.nanos

    def __add__(self, other: Money) -> Self:
        return type(self)(self.nanos + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Self:
        return type(self)(self.nanos - self._same(other), self.currency)

    def __neg__(self) -> Self:
        return type(self)(-self.nanos, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.nanos < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.nanos <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.nanos > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.nanos >= self._same(other)

    def times(self, quantity: Decimal | int, *, round_up: bool = False) -> Self:
        """This amount ``quantity`` times. Rounds up for a hold (``round_up``), half to even for a captured cost."""
        product = _WIDE.multiply(Decimal(self.nanos), _finite(Decimal(quantity)))
        return type(self)(_whole(product, ROUND_CEILING if round_up else ROUND_HALF_EVEN), self.currency)

    def for_seconds(self, seconds: int, *, round_up: bool = False) -> Self:
        """What an hourly price comes to over whole ``seconds``, computed in integers."""
        product = self.nanos * seconds
        if round_up:
            return type(self)(-(-product // SECONDS_PER_HOUR), self.currency)
        quotient, rest = divmod(product, SECONDS_PER_HOUR)
        if rest * 2 > SECONDS_PER_HOUR or (rest * 2 == SECONDS_PER_HOUR and quotient % 2):
            quotient += 1
        return type(self)(quotient, self.currency)

    def split(self, weights: Sequence[int]) -> list[Self]:
        """Parts in proportion to ``weights`` that add up to exactly this amount (largest remainder)."""
        if len(weights) == 1 and weights[0] > 0:
            return [type(self)(self.nanos, self.currency)]
        whole = sum(weights)
        if whole <= 0 or any(weight < 0 for weight in weights):
            raise UsageError("Weights must not be negative and must not all be zero")
        parts = [divmod(self.nanos * weight, whole) for weight in weights]
        left = self.nanos - sum(quotient for quotient, _ in parts)
        first = set(sorted(range(len(parts)), key=lambda i: (-parts[i][1], i))[:left])
        return [type(self)(quotient + (i in first), self.currency) for i, (quotient, _) in enumerate(parts)]

    def percent_of(self, whole: Money) -> Decimal | None:
        """This amount in percent of ``whole``, one decimal place; None when ``whole`` is zero."""
        divisor = self._same(whole)
        if divisor == 0:
            return None
        return (Decimal(self.nanos) * 100 / Decimal(divisor)).quantize(Decimal("0.1"))


def total(amounts: Iterable[Money], currency: str = "USD") -> Money:
    """The sum of ``amounts``; zero of ``currency`` when there are none."""
    result: Money | None = None
    for amount in amounts:
        result = amount if result is None else result + amount
    return Money.zero(currency) if result is None else result


def parse_decimal(text: str) -> Decimal:
    """A plain decimal number from text: ASCII digits, an optional leading sign, an optional point.

    Raises ``UsageError`` for anything else, so that ``nan``, ``1e999``, ``1,000`` and full-width digits stay out.
    """
    body = text[1:] if text[:1] in ("-", "+") else text
    whole, point, fraction = body.partition(".")
    digits = whole + fraction
    if not digits or not _DIGITS.issuperset(digits) or (point and not fraction) or len(digits) > _DIGITS_MAX:
        raise UsageError(f"{text[:60]!r} is not a decimal number", cure="Write it like 12.50")
    return Decimal(text)


def _check_code(code: str) -> None:
    if not (isinstance(code, str) and len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
        raise UsageError(f"{code!r} is not a currency code", cure="Use three capital letters, such as USD")
    _CODES_SEEN.add(code)


def _finite(value: Decimal) -> Decimal:
    """``value`` unless it is no number, infinite, or so large that arithmetic with it fails."""
    if not value.is_finite() or value.adjusted() > _DIGITS_MAX:
        raise UsageError(f"{str(value)[:60]} is not a number that money can be made from", cure="Write it like 12.50")
    return value


def _whole(value: Decimal, rounding: str) -> int:
    try:
        rounded = value.quantize(Decimal(1), rounding=rounding, context=Context(prec=60, traps=[InvalidOperation]))
    except (InvalidOperation, Inexact):
        raise UsageError(f"{value} is not an amount of money") from None
    nanos = int(rounded)
    if abs(nanos) > NANOS_MAX:
        raise UsageError(
            f"{value / NANOS_PER_UNIT:f} is beyond the largest amount, {NANOS_MAX // NANOS_PER_UNIT:,}",
            cure="Use an amount below 100 million",
        )
    return nanos
