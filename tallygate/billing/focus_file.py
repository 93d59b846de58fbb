"""FOCUS files: charges as CSV by column name, read strictly and written back the same.

A file is taken whole or not at all. A missing column, a number that is none, a moment without a zone or a currency
nobody pays in raises ``Quarantined`` with the row and the reason. Columns we have no use for are left out, their order
does not matter, and memory does not grow with the file. Names ending in ``.gz`` are compressed.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TextIO

from ..errors import Quarantined, UsageError
from ..money import Money, parse_decimal
from ..times import Period, instant
from .charge import CATEGORIES, CURRENCIES, Charge

LINE_CHARACTERS_MAX = 1_000_000
"""A longer line is a broken or hostile file; without a bound one line could fill the memory."""

_TEXTS = {
    "BillingAccountId": "billing_account_id",
    "BillingAccountName": "billing_account_name",
    "SubAccountId": "sub_account_id",
    "ChargeCategory": "charge_category",
    "ChargeClass": "charge_class",
    "ChargeDescription": "charge_description",
    "ChargeFrequency": "charge_frequency",
    "ProviderName": "provider_name",
    "PublisherName": "publisher_name",
    "InvoiceIssuerName": "invoice_issuer_name",
    "ServiceName": "service_name",
    "ServiceCategory": "service_category",
    "RegionId": "region_id",
    "AvailabilityZone": "availability_zone",
    "ResourceId": "resource_id",
    "ResourceName": "resource_name",
    "ResourceType": "resource_type",
    "SkuId": "sku_id",
    "SkuPriceId": "sku_price_id",
    "PricingCategory": "pricing_category",
    "PricingUnit": "pricing_unit",
    "ConsumedUnit": "consumed_unit",
    "InvoiceId": "invoice_id",
}
_QUANTITIES = {
    "PricingQuantity": "pricing_quantity",
    "ConsumedQuantity": "consumed_quantity",
    "ListUnitPrice": "list_unit_price",
    "ContractedUnitPrice": "contracted_unit_price",
}
_COSTS = {
    "ListCost": "list_cost",
    "ContractedCost": "contracted_cost",
    "EffectiveCost": "effective_cost",
    "BilledCost": "billed_cost",
}
_PERIODS = {"BillingPeriod": "billing_period", "ChargePeriod": "charge_period"}

COLUMNS = (
    *("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"),
    *_TEXTS,
    *_QUANTITIES,
    *_COSTS,
    "BillingCurrency",
    "Tags",
)
"""The columns that are written, and read wherever they stand."""

REQUIRED = (
    "BillingAccountId",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ChargeDescription",
    "ProviderName",
    "ServiceName",
    "ServiceCategory",
    *_COSTS,
    "BillingCurrency",
)
"""Without one of these columns a row cannot be attributed or added up, so the file is refused."""

_NEVER_BLANK = frozenset(REQUIRED) - {"ChargeDescription"}

_RENAMED = {"ServiceProviderName": "ProviderName"}
"""Columns of later FOCUS versions that say the same under another name."""


@dataclass(frozen=True, slots=True)
class Written:
    """What went into a file.

    ``digest`` is a fingerprint of the rows whatever their order, so that the same bill delivered in another order is
    the same bill. ``file_sha256`` is of the file's bytes, to see that it is still what was written.
    """

    row_count: int
    digest: str
    file_sha256: str


# --- reading


def read(path: Path) -> Iterator[Charge]:
    """The charges of a file, one by one. Raises ``Quarantined``; the header is row 1."""
    try:
        with open(path, "rb") as raw:
            yield from _charges(_text_of(raw, path.name.endswith(".gz")), path.name)
    except OSError as error:  # a damaged gzip stream is an OSError too
        raise Quarantined(f"{path.name} cannot be read: {error}") from error


def parse(text: str, *, name: str = "text") -> Iterator[Charge]:
    """The charges of a file that is already in memory."""
    return _charges(io.StringIO(text, newline=""), name)


def _text_of(raw: BinaryIO, compressed: bool) -> TextIO:
    source = gzip.GzipFile(fileobj=raw) if compressed else raw
    return io.TextIOWrapper(source, encoding="utf-8-sig", errors="strict", newline="")


def _charges(lines: TextIO, name: str) -> Iterator[Charge]:
    row_number = 1
    try:
        rows = csv.reader(_bounded(lines), strict=True)
        header = _header(next(rows, []))
        places = {column: place for place, column in enumerate(header) if column}
        texts = tuple((_TEXTS[column], place) for column, place in places.items() if column in _TEXTS)
        for row in rows:
            row_number += 1
            if not row:
                continue
            if len(row) != len(header):
                raise UsageError(f"it has {len(row)} cells where the header has {len(header)}")
            yield _charge(row, places, texts)
    except UsageError as error:
        raise Quarantined(f"{name}, row {row_number}: {error.message}") from error
    except csv.Error as error:
        raise Quarantined(f"{name}, after row {row_number}: it is not proper CSV ({error})") from error
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise Quarantined(f"{name}, after row {row_number}: the file is damaged ({error})") from error


def _bounded(lines: TextIO) -> Iterator[str]:
    while line := lines.readline(LINE_CHARACTERS_MAX):
        if len(line) == LINE_CHARACTERS_MAX:
            raise csv.Error(f"a line is longer than {LINE_CHARACTERS_MAX:,} characters")
        if "\0" in line:
            raise csv.Error("a line holds a zero byte")
        yield line


def _header(names: Sequence[str]) -> list[str]:
    """The known column of every cell; empty text where there is none."""
    found = [_RENAMED.get(name, name) for name in names]
    if "ProviderName" in names:
        found = list(names)
    known = [name if name in COLUMNS else "" for name in found]
    twice = {name for name in known if name and known.count(name) > 1}
    if twice:
        raise UsageError(f"the column {min(twice)} is there more than once")
    missing = [name for name in REQUIRED if name not in known]
    if missing:
        raise UsageError(f"the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing")
    return known


def _charge(row: Sequence[str], places: Mapping[str, int], texts: Sequence[tuple[str, int]]) -> Charge:
    """One row, given where each known column stands in it, and where each text field does."""
    for column in _NEVER_BLANK:
        if not row[places[column]]:
            raise UsageError(f"{column} is blank")
    category = row[places["ChargeCategory"]]
    if category not in CATEGORIES:
        raise UsageError(f"ChargeCategory {category[:40]!r} is not one of FOCUS's")
    currency = row[places["BillingCurrency"]]
    if currency not in CURRENCIES:
        raise UsageError(f"BillingCurrency {currency[:40]!r} is not a currency")
    fields: dict[str, object] = {field: row[place] for field, place in texts if row[place]}
    fields["charge_description"] = row[places["ChargeDescription"]]
    for column, field in _QUANTITIES.items():
        if column in places and row[places[column]]:
            fields[field] = _number(column, row[places[column]])
    for column, field in _COSTS.items():
        fields[field] = _cost(column, row[places[column]], currency)
    for prefix, field in _PERIODS.items():
        fields[field] = _period(row[places[f"{prefix}Start"]], row[places[f"{prefix}End"]])
    if "Tags" in places and row[places["Tags"]]:
        fields["tags"] = _tags(row[places["Tags"]])
    billed = row[places["BilledCost"]]
    if len(billed.partition(".")[2]) > 9 and fields["billed_cost"].decimal != parse_decimal(billed):  # type: ignore[attr-defined]
        fields["x_billed_cost_text"] = billed
    return Charge(**fields)  # type: ignore[arg-type]


def _number(column: str, text: str) -> Decimal:
    try:
        return parse_decimal(text)
    except UsageError:
        raise UsageError(f"{column} {text[:40]!r} is not a plain decimal number") from None


def _cost(column: str, text: str, currency: str) -> Money:
    whole, _, fraction = text.removeprefix("-").partition(".")
    is_plain = whole and text[-1] != "." and len(whole) <= _DIGITS_PLAIN and len(fraction) <= _PLACES
    if is_plain and text.isascii() and f"{whole}{fraction}".isdecimal():
        nanos = int(f"{whole}{fraction.ljust(_PLACES, '0')}")  # nothing to round
        return Money(-nanos if text[0] == "-" else nanos, currency)
    return Money.of(_number(column, text), currency)


_PLACES = 9
_DIGITS_PLAIN = 7
"""Amounts below ten million with no more places than nanos have need no decimal arithmetic."""


@lru_cache(maxsize=4096)
def _period(start: str, end: str) -> Period:
    return Period(instant(start), instant(end))


@lru_cache(maxsize=4096)
def _tags(text: str) -> Mapping[str, str]:
    """Tags from a JSON object. FOCUS allows a tag without a value to be true or null."""
    try:
        found = json.loads(text)
        # Halves of characters, which no store can keep, and zeros can only come of escapes.
        whole = json.dumps(found, ensure_ascii=False).encode() if "\\u" in text or not text.isascii() else b""
    except (ValueError, RecursionError):
        raise UsageError(f"Tags {text[:40]!r} is not JSON") from None
    if not isinstance(found, dict) or b"\\u0000" in whole:
        raise UsageError(f"Tags {text[:40]!r} is not a JSON object of text")
    return MappingProxyType(
        {key: _tag(key, value) for key, value in found.items()}
    )  # one for all rows that say the same


def _tag(key: str, value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
    raise UsageError(f"Tags: the value of {key[:40]!r} is not text")


# --- writing


def write(target: BinaryIO, charges: Iterable[Charge], *, compressed: bool) -> Written:
    """Write ``charges`` with a header; the same charges always give the same bytes."""
    hashing = _Hashing(target)
    count, mixed = 0, 0
    # No time and no name inside, so that the bytes depend on the rows alone.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=hashing, mtime=0)
        if compressed
        else nullcontext(hashing) as body
    ):
        lines = [_line(COLUMNS)]
        for charge in charges:
            line = _row(charge)
            lines.append(line)
            if len(lines) == _LINES_AT_ONCE:
                body.write(b"".join(lines))
                lines.clear()
            count += 1
            mixed += int.from_bytes(hashlib.sha256(line).digest(), "big")
        body.write(b"".join(lines))
    # Adding the rows' hashes forgets their order and, unlike a set, still counts a row that comes twice.
    digest = hashlib.sha256(f"{count} {mixed % (1 << 256):064x}".encode()).hexdigest()
    return Written(row_count=count, digest=digest, file_sha256=hashing.sha256.hexdigest())


_COMPRESSION = 6
"""The level above which bills get hardly smaller and take twice as long."""

_LINES_AT_ONCE = 100


def _row(charge: Charge) -> bytes:
    """One charge as a line of ``COLUMNS``. Tags come last: they always need quotes, the others hardly ever."""
    billing, charged = charge.billing_period, charge.charge_period
    values = [
        *map(_moment, (billing.start, billing.end, charged.start, charged.end)),
        *[text or "" for text in _texts_of(charge)],
        *["" if number is None else f"{number:f}" for number in _quantities_of(charge)],
        charge.list_cost.shown(),
        charge.contracted_cost.shown(),
        charge.effective_cost.shown(),
        charge.x_billed_cost_text or charge.billed_cost.shown(),
        charge.billed_cost.currency,
    ]
    return f"{_quoted(values)},{_tags_text(tuple(sorted(charge.tags.items())))}\n".encode()


_texts_of = attrgetter(*_TEXTS.values())
_quantities_of = attrgetter(*_QUANTITIES.values())


@lru_cache(maxsize=4096)
def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=4096)
def _tags_text(tags: tuple[tuple[str, str], ...]) -> str:
    return _cell(json.dumps(dict(tags), ensure_ascii=False)) if tags else ""


def _line(values: Sequence[str]) -> bytes:
    return f"{_quoted(values)}\n".encode()


def _quoted(values: Sequence[str]) -> str:
    line = ",".join(values)
    if '"' in line or "\n" in line or "\r" in line or line.count(",") >= len(values):
        line = ",".join(_cell(value) for value in values)
    return line


def _cell(text: str) -> str:
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()
