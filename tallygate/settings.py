"""What a setting is: the kinds of values, and sections that hold them and cannot be changed.

A setting is declared once, as an attribute of its section, with its kind, its default and its meaning. On an instance
the same attribute is the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Generic, Never, TypeVar

from .errors import UsageError
from .money import Money, parse_decimal

T = TypeVar("T")

TEXT_LENGTH_MAX = 4_096


class Kind(Generic[T]):
    """How the values of a setting are read.

    ``says`` names it in documents: ``a number from 1 to 9``. ``read(value, currency)`` answers the value or raises
    ``UsageError`` with what is wrong about it. ``nullable``: whether null is a value.
    """

    __slots__ = ("nullable", "read", "says")

    def __init__(self, says: str, read: Callable[[object, str], T], *, nullable: bool = False) -> None:
        self.says = says
        self.read = read
        self.nullable = nullable


class Setting:
    """One setting as it is declared. On an instance of its section it is its value, which nothing can change."""

    __slots__ = ("default", "key", "kind", "meaning")

    def __init__(self, kind: Kind[Any], default: object, meaning: str) -> None:
        self.kind, self.default, self.meaning, self.key = kind, default, meaning, ""

    def __set_name__(self, owner: type, key: str) -> None:
        self.key = key

    def __get__(self, section: Section | None, owner: type) -> Any:
        return self if section is None else section._values[self.key]

    def __set__(self, section: Section, value: object) -> Never:
        raise AttributeError(f"{self.key} cannot be changed; load another configuration instead")


def setting(kind: Kind[T], default: object, meaning: str) -> T:
    """Declare a setting. ``default`` is written as it would be in the file."""
    declared: Any = Setting(kind, default, meaning)
    value: T = declared
    return value


class Section:
    """Settings that belong together, fixed once loaded."""

    __slots__ = ("_values",)
    _values: Mapping[str, object]

    def __init__(self, values: Mapping[str, object]) -> None:
        object.__setattr__(self, "_values", values)

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"{name} cannot be changed; load another configuration instead")


# --- the kinds


def _text(value: object, _: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{shown(value)} is not text", cure="Write it in quotes")
    if not value or not value.isprintable() or len(value) > TEXT_LENGTH_MAX:
        raise UsageError("is empty, too long or holds characters that cannot be printed")
    return value


def _boolean(value: object, _: str) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    found = known.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise UsageError(f"{shown(value)} is neither true nor false")
    return found


def _decimal(value: object) -> Decimal:
    if isinstance(value, str):
        return parse_decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise UsageError(f"{shown(value)} is not a number")
    number = Decimal(value)
    # More digits or a larger exponent than any setting needs would only make the arithmetic behind it slow.
    if not number.is_finite() or number.adjusted() > 30 or len(number.as_tuple().digits) > 40:
        raise UsageError(f"{shown(value)} is not a number that can be used here")
    return number


TEXT = Kind("text", _text)
BOOLEAN = Kind("true or false", _boolean)


def number(low: str, high: str) -> Kind[Decimal]:
    """A decimal number between two bounds, both allowed."""

    def read(value: object, _: str) -> Decimal:
        found = _decimal(value)
        if not Decimal(low) <= found <= Decimal(high):
            raise UsageError(f"{shown(value)} is outside {low} to {high}")
        return found

    return Kind(f"a number from {low} to {high}", read)


def count(low: int, high: int) -> Kind[int]:
    """A whole number between two bounds, both allowed."""

    def read(value: object, _: str) -> int:
        found = _decimal(value)
        if found != found.to_integral_value():
            raise UsageError(f"{shown(value)} is not a whole number")
        if not low <= found <= high:
            raise UsageError(f"{shown(value)} is outside {low:,} to {high:,}")
        return int(found)

    return Kind(f"a whole number from {low:,} to {high:,}", read)


def money(high: str, *, currency: str | None = None, zero: bool = False) -> Kind[Money]:
    """An amount up to ``high``, above zero unless ``zero`` is allowed; in the section's currency when none is named."""

    def read(value: object, section_currency: str) -> Money:
        found = Money.of(_decimal(value), currency or section_currency)
        if found.nanos < 0 or (found.is_zero and not zero):
            raise UsageError(f"{shown(value)} is not an amount above zero")
        if found.decimal > Decimal(high):
            raise UsageError(f"{shown(value)} is beyond the largest amount allowed here, {Decimal(high):,}")
        return found

    least = "0" if zero else "above 0"
    return Kind(f"an amount of {currency or 'the currency'}, {least} to {Decimal(high):,}", read)


def _currency(value: object, _: str) -> str:
    return Money.zero(_text(value, _)).currency


CURRENCY = Kind("three capital letters", _currency)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """``kind``, or nothing: ``null`` in a file, ``none`` in the environment."""

    def read(value: object, currency: str) -> T | None:
        return None if value is None or value == "none" else kind.read(value, currency)

    return Kind(f"{kind.says}; or null", read, nullable=True)


def several(kind: Kind[T], *, at_most: int) -> Kind[tuple[T, ...]]:
    """A list in a file, text with commas in the environment."""

    def read(value: object, currency: str) -> tuple[T, ...]:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            raise UsageError(f"{shown(value)} is not a list")
        if len(value) > at_most:
            raise UsageError(f"holds {len(value):,} values, more than {at_most}")
        return tuple(kind.read(part, currency) for part in value)

    return Kind(f"a list of {kind.says}", read)


def _rising_percents(value: object, currency: str) -> tuple[int, ...]:
    found = several(count(1, 100), at_most=20).read(value, currency)
    if list(found) != sorted(set(found)):
        raise UsageError("must rise from each value to the next")
    return found


PERCENTS = Kind("a rising list of whole numbers from 1 to 100", _rising_percents)


def shown(value: object) -> str:
    """A value inside a message, cut to a bearable length."""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a group of settings"
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to write out very long integers
        return "a number of very many digits"
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def members(section: type[Section]) -> dict[str, Setting]:
    """The settings that a section declares, by key."""
    return {key: value for key, value in vars(section).items() if isinstance(value, Setting)}
