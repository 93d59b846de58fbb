"""Flags read strictly: what was typed becomes a value, or one sentence that names the flag and the cure.

Every amount and count is plain decimal text. ``nan``, ``inf``, ``1e9``, full-width digits, blanks and signs that make
no sense end here, before anything else has happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from ..errors import UnknownProvider, UsageError
from ..money import NANOS_MAX, NANOS_PER_UNIT, Money, parse_decimal
from ..reports.render import provider_name

HOURS_MAX = 720
"""The longest time that any machine is asked for: 30 days."""

NAME_LENGTH_MAX = 63
PAIRS_MAX = 50

PROVIDERS = ("local", "aws", "gcp", "azure")

_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_NAME_REST = _NAME_FIRST | {"-"}
_RESERVED_TAG = "tallygate-"


def money(
    flag: str, text: str | None, currency: str = "USD", *, at_most: int = NANOS_MAX // NANOS_PER_UNIT
) -> Money | None:
    """An amount above zero; None when the flag was not given."""
    if text is None:
        return None
    amount = _above_zero(flag, text, "an amount of money such as 12.50")
    if amount > at_most:
        raise UsageError(
            f"{flag} {_cut(text)} is beyond the largest amount allowed, {at_most:,}", cure="Check the number"
        )
    found = Money.of(amount, currency)
    if found.is_zero:
        raise UsageError(f"{flag} {_cut(text)} is less than the smallest amount, 0.000000001", cure="Check the number")
    return found


def hours(flag: str, text: str | None) -> Decimal | None:
    """A time in hours, above zero and at most 30 days; None when the flag was not given."""
    if text is None:
        return None
    found = _above_zero(flag, text, "a number of hours such as 2.5")
    if found > HOURS_MAX:
        raise UsageError(
            f"{flag} {_cut(text)} is longer than any machine may run, {HOURS_MAX} hours",
            cure="Split the job, or let it checkpoint and resume",
        )
    return found


def seconds(flag: str, text: str | None) -> int | None:
    """A time in hours as whole seconds, rounded up; None when the flag was not given."""
    found = hours(flag, text)
    return None if found is None else int((found * 3600).to_integral_value(ROUND_CEILING))


def number(flag: str, text: str | None, *, low: int, high: int) -> Decimal | None:
    """A decimal number between two bounds, both allowed; None when the flag was not given."""
    if text is None:
        return None
    found = _decimal(flag, text, f"a number from {low} to {high:,}")
    if not low <= found <= high:
        raise UsageError(f"{flag} {_cut(text)} is outside {low} to {high:,}", cure="Use a number in that range")
    return found


def whole(flag: str, text: str, *, low: int, high: int) -> int:
    """A whole number between two bounds, both allowed."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
        raise UsageError(
            f"{flag} {_cut(text)} is not a whole number from {low} to {high:,}", cure=f"Write it like {max(low, 10)}"
        )
    return int(text)


def maybe_whole(flag: str, text: str | None, *, low: int, high: int) -> int | None:
    return None if text is None else whole(flag, text, low=low, high=high)


def provider(flag: str, text: str | None) -> str | None:
    """A provider's short name, in any case: ``AWS`` is ``aws``."""
    if text is None:
        return None
    found = text.lower()
    if found not in PROVIDERS:
        raise UnknownProvider(
            f"{flag} {_cut(text)} is not a provider", cure=f"Use one of: {', '.join(map(provider_name, PROVIDERS))}"
        )
    return found


def choice(flag: str, text: str | None, among: Sequence[str]) -> str | None:
    """One of a few words, in any case; None when the flag was not given."""
    if text is None or text.lower() in among:
        return None if text is None else text.lower()
    raise UsageError(f"{flag} {_cut(text)} is not known", cure=f"Use one of: {', '.join(among)}")


def pairs(flag: str, texts: Sequence[str] | None, *, reserved: str = "") -> dict[str, str]:
    """Repeated ``NAME=VALUE`` flags. The value is everything after the first ``=`` and may be empty."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{flag} {_cut(text)} is not NAME=VALUE", cure=f"Write it like {flag} team=search")
        if name in found:
            raise UsageError(f"{flag} {_cut(name)} is given twice", cure="Keep one of them")
        if reserved and name.lower().startswith(reserved):
            raise UsageError(
                f"{flag} {_cut(name)} begins with {reserved}, which marks our own", cure="Choose another name"
            )
        found[name] = value
    if len(found) > PAIRS_MAX:
        raise UsageError(f"{flag} is given {len(found)} times, more than {PAIRS_MAX}")
    return found


def tags(flag: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Tags that a cloud takes: names of at most 128 and values of at most 256 printable characters."""
    found = pairs(flag, texts, reserved=_RESERVED_TAG)
    for name, value in found.items():
        if len(name) > 128 or len(value) > 256 or not f"{name}{value}".isprintable():
            raise UsageError(
                f"{flag} {_cut(name)} is too long or holds characters that cannot be printed",
                cure="A name has at most 128 characters and a value 256",
            )
    return found


def variables(flag: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Environment variables for a job. Their values reach it as data and may hold anything."""
    found = pairs(flag, texts)
    for name in found:
        if not (name.isascii() and name.isidentifier()):
            raise UsageError(
                f"{flag} {_cut(name)} is not a variable's name",
                cure="Use letters, digits and _, not beginning with a digit",
            )
    return found


def text(flag: str, given: str | None, *, at_most: int = 1_000) -> str | None:
    """Words for people or patterns: printable, not empty; None when the flag was not given."""
    if given is None:
        return None
    if not given.strip() or not given.isprintable() or len(given) > at_most:
        raise UsageError(
            f"{flag} {_cut(given)} is empty, too long or holds characters that cannot be printed",
            cure=f"Use 1 to {at_most:,} printable characters",
        )
    return given


def job_name(flag: str, given: str | None) -> str | None:
    """A job's name: 1 to 63 small letters, digits and dashes, not beginning with a dash."""
    if given is None:
        return None
    if not given or given[0] not in _NAME_FIRST or not _NAME_REST.issuperset(given) or len(given) > NAME_LENGTH_MAX:
        raise UsageError(
            f"{flag} {_cut(given)} is not a job name",
            cure=f"Use 1 to {NAME_LENGTH_MAX} of a-z, 0-9 and -, not beginning with -, such as {named_after(given)}",
        )
    return given


def named_after(words: str) -> str:
    """The job name closest to any words, such as a directory's name: ``My Job_2`` is ``my-job-2``."""
    letters = "".join(letter if letter in _NAME_FIRST else "-" for letter in words.lower()[:200])
    parts = [part for part in letters.split("-") if part]
    return "-".join(parts)[:NAME_LENGTH_MAX].rstrip("-") or "job"


def _above_zero(flag: str, text: str, wanted: str) -> Decimal:
    found = _decimal(flag, text, wanted)
    if found <= 0:
        raise UsageError(f"{flag} {_cut(text)} is not above zero", cure=f"Give {wanted}")
    return found


def _decimal(flag: str, text: str, wanted: str) -> Decimal:
    try:
        return parse_decimal(text)
    except UsageError:
        raise UsageError(f"{flag} {_cut(text)} is not a number", cure=f"Give {wanted}") from None


def _cut(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def command(flag: str, given: str | None) -> str | None:
    """A shell command for the machine, several lines if need be; None when the flag was not given."""
    if given is not None and (not given.strip() or len(given) > 100_000):
        raise UsageError(f"{flag} is empty or too long", cure=f"Write it like {flag} 'python3 main.py'")
    return given
