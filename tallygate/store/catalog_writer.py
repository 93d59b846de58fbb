"""Making the next version of the catalogue: beside the old one, flushed, and put in its place in one step.

Whoever is searching goes on in the file that was there. A writer that dies at any point leaves the former version, and at
most a file ``catalogue.db.next`` that the following one overwrites. Writers take turns by a lock file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from ..errors import StoreError, StoreFull, UsageError
from ..pricing.catalog import Part, Version
from ..pricing.offers import Offer
from ..pricing.source import Sheet
from ..times import text
from .catalog import APPLICATION, EPOCH, FILE_NAME, FORMAT, NANO, SqliteCatalog, statement
from .queries import INTEGER_MAX, named
from .queue import WriteQueue

BUSY_SECONDS = 60
"""How long a second writer waits for the first."""

Passing = Callable[[str], None]
"""Told the name of every step as it is done: ``locked``, ``built``, ``flushed``, ``replaced``. For tests of crashes."""

_Row = tuple[Any, ...]
_RANK = slice(0, 6)
"""The part of a row that ``rank`` sorts by: price, provider, region, zone or nothing, type, purchase option."""


def keep_all(part: Part) -> bool:
    """Keep every part of the former version that no sheet replaces."""
    return True


def write(
    folder: str | os.PathLike[str],
    sheets: Iterable[Sheet],
    *,
    keep: Callable[[Part], bool] | None = keep_all,
    made_at: datetime,
    busy_seconds: float = BUSY_SECONDS,
    passing: Passing = lambda step: None,
) -> Version:
    """Make the catalogue of ``folder`` anew from ``sheets`` and from the parts of the former version worth keeping.

    A sheet replaces its provider's region. ``keep`` decides about every other part of the former version; None does not even
    look at it, which is the way past a damaged one. The version that is answered is on the disk.

    Raises ``StoreBusy`` when another writer takes longer than ``busy_seconds``, ``StoreFull``, ``StoreReadOnly``, what
    ``SqliteCatalog`` raises for the former version, and ``UsageError`` for offers that cannot be kept: two sheets for one
    region, an offer of another place than its sheet's, more than one currency, no price, no processor or no memory.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, FILE_NAME)
    beside = f"{path}.next"
    queue = WriteQueue(f"{path}.lock", like=os.fspath(folder))
    try:
        queue.enter(busy_seconds)
        passing("locked")
        rows, parts, currency = _gathered(path, list(sheets), keep)
        version = build(beside, rows, parts, currency=currency, made_at=made_at)
        passing("built")
        _flush(beside)
        passing("flushed")
        os.replace(beside, path)
        _flush(folder)
        passing("replaced")
        return version
    except OSError as error:
        _drop(beside)
        raise StoreError(
            f"The price catalogue {path} cannot be written: {error.strerror}", cure="The former version is still there"
        ) from error
    finally:
        queue.leave()
        queue.close()


def build(path: str, rows: list[_Row], parts: list[Part], *, currency: str, made_at: datetime) -> Version:
    """Write ``rows`` as the catalogue file ``path``, which is deleted first; equal rows give the same bytes."""
    rows.sort(key=lambda row: row[_RANK])
    version = Version(id=digest(currency, rows), made_at=made_at, offers=len(rows))
    _drop(path)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _fill(connection, rows, parts, version, currency)
    except sqlite3.Error as error:
        connection.close()
        _drop(path)
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise StoreFull(f"The disk is full: {path}", cure="The former version is still there") from error
        raise StoreError(
            f"The price catalogue {path} cannot be written: {error}", cure="The former version is still there"
        ) from error
    connection.close()
    return version


def verify(catalog: SqliteCatalog) -> bool:
    """Whether every offer of an open catalogue is as it was written: reads all of them."""
    try:
        return digest(catalog.currency, catalog.rows()) == catalog.version.id
    except TypeError:  # a damaged value that is not even text or a number
        return False


_COMPACT = json.JSONEncoder(separators=(",", ":")).encode


def digest(currency: str, rows: Iterable[_Row]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over every offer in the order of ``rank``, equal ones by their rest."""
    summed = sha256(currency.encode())
    for group in _equal_ranks(rows):
        for line in sorted(map(_COMPACT, group)) if len(group) > 1 else (_COMPACT(group[0]),):
            summed.update(line.encode())
            summed.update(b"\n")
    return summed.hexdigest()[:16]


def row_of(offer: Offer) -> _Row:
    """An offer as plain values, amounts and GiB in nanos. Raises ``UsageError`` for one that cannot be kept."""
    if offer.hourly_price.nanos <= 0:
        raise UsageError(f"{offer} has the price {offer.hourly_price.shown()}, which is no price")
    if not (offer.provider and offer.region and offer.instance_type) or offer.zone == "":
        raise UsageError(f"{offer} lacks a provider, region, zone or type")
    if offer.vcpus < 1 or not offer.memory_gib.is_finite() or offer.memory_gib <= 0:
        raise UsageError(f"{offer} has {offer.vcpus} vCPUs and {offer.memory_gib} GiB")
    on_demand, band = offer.on_demand_price, offer.interruptions
    if on_demand is not None and on_demand.currency != offer.hourly_price.currency:
        raise UsageError(f"{offer} is priced in {offer.hourly_price.currency}, and on demand in {on_demand.currency}")
    return (
        offer.hourly_price.nanos,
        offer.provider,
        offer.region,
        offer.zone or "",
        offer.instance_type,
        str(offer.purchase_option),
        offer.vcpus,
        _nanos(offer, offer.memory_gib),
        offer.architecture,
        offer.gpus,
        offer.gpu_model,
        None if offer.gpu_memory_gib is None else _nanos(offer, offer.gpu_memory_gib),
        None if on_demand is None else on_demand.nanos,
        (offer.priced_at.astimezone(UTC) - EPOCH) // timedelta(microseconds=1),
        offer.price_source,
        int(offer.is_reference),
        None if band is None else str(band.low),
        None if band is None or band.high is None else str(band.high),
        None if band is None else band.hours,
    )


# --- what goes in


def _gathered(
    path: str, sheets: list[Sheet], keep: Callable[[Part], bool] | None
) -> tuple[list[_Row], list[Part], str]:
    """The rows and parts of the next version, and its currency."""
    places = [(sheet.provider, sheet.region) for sheet in sheets]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"Two sheets tell the prices of {twice[0]} in {twice[1]}", cure="Give one of them")
    rows: list[_Row] = []
    currencies: set[str] = set()
    for sheet in sheets:
        for offer in sheet.offers:
            if (offer.provider, offer.region) != (sheet.provider, sheet.region):
                raise UsageError(f"{offer} is on the sheet of {sheet.provider} in {sheet.region}")
            currencies.add(offer.hourly_price.currency)
            rows.append(row_of(offer))
    parts = [_part(sheet) for sheet in sheets]
    if keep is not None and os.path.lexists(path):
        former = SqliteCatalog(path)
        try:
            kept = [part for part in former.parts() if (part.provider, part.region) not in set(places) and keep(part)]
            wanted = {(part.provider, part.region) for part in kept}
            rows += [row for row in former.rows() if (row[1], row[2]) in wanted] if wanted else []
            parts += kept
            if any(part.offers for part in kept):
                currencies.add(former.currency)
        finally:
            former.close()
    if len(currencies) > 1:
        raise UsageError(
            f"The prices are in {', '.join(sorted(currencies))}, and a catalogue has one currency",
            cure="Leave out the sheets of the other currency",
        )
    return rows, parts, currencies.pop() if currencies else "USD"


def _part(sheet: Sheet) -> Part:
    return Part(
        provider=sheet.provider,
        region=sheet.region,
        read_at=sheet.read_at,
        source=sheet.source,
        offers=len(sheet.offers),
        refused=sum(sheet.refused.values()),
        reasons=dict(sheet.refused),
        notes=sheet.notes,
    )


def _nanos(offer: Offer, gib: Decimal) -> int:
    found = gib * NANO
    if not gib.is_finite() or found != found.to_integral_value() or not 0 <= found <= INTEGER_MAX:
        raise UsageError(f"{offer} has {gib} GiB of memory, which is not a number of whole billionths")
    return int(found)


# --- the file


def _fill(connection: sqlite3.Connection, rows: list[_Row], parts: list[Part], version: Version, currency: str) -> None:
    for switch in (
        f"application_id = {APPLICATION}",
        f"user_version = {FORMAT}",
        "journal_mode = OFF",
        "synchronous = OFF",
    ):
        connection.execute(f"PRAGMA {switch}")
    connection.execute("BEGIN")
    for table in named("sqlite", "catalog.make"):
        connection.execute(table)

    def add(query: str, values: Iterable[_Row]) -> None:
        connection.executemany(statement(query), values)

    words = _numbered(sorted({word for row in rows for word in (row[2], row[3], row[4]) if word}))
    bands = _numbered(dict.fromkeys(row[16:19] for row in rows if row[16] is not None))
    sources = _numbered(dict.fromkeys(row[14:16] for row in rows))
    shapes = _numbered(dict.fromkeys(_shape(row) for row in rows))  # rows are in order of price, so shapes are as well
    cheapest: dict[_Row, int] = {}
    for row in rows:
        cheapest.setdefault(_shape(row), row[0])
    add("catalog.add_version", [(version.id, text(version.made_at), currency, version.offers)])
    add(
        "catalog.add_part",
        (
            (p.provider, p.region, text(p.read_at), p.source, p.offers, _json(dict(p.reasons)), _json(list(p.notes)))
            for p in sorted(parts, key=lambda part: (part.provider, part.region))
        ),
    )
    add("catalog.add_word", ((number, word) for word, number in words.items()))
    add("catalog.add_band", ((number, *band) for band, number in bands.items()))
    add("catalog.add_source", ((number, *source) for source, number in sources.items()))
    add("catalog.add_shape", ((number, cheapest[shape], *shape) for shape, number in shapes.items()))
    offers = [
        (
            shapes[_shape(row)],
            row[0],
            words[row[2]],
            words[row[3]] if row[3] else 0,
            words[row[4]],
            turn,
            row[12],
            row[13],
            sources[row[14:16]],
            None if row[16] is None else bands[row[16:19]],
        )
        for group in _equal_ranks(rows)
        for turn, row in enumerate(group)
    ]
    offers.sort(key=lambda offer: offer[:6])
    add("catalog.add_offer", offers)
    connection.execute("COMMIT")


def _shape(row: _Row) -> _Row:
    """What ``shape`` keeps of an offer: vCPUs, memory, GPUs, provider and purchase option."""
    _, provider, _, _, _, option, vcpus, memory, architecture, gpus, model, gpu_memory, *_ = row
    return (vcpus, memory, gpus, (model or "").casefold(), model, gpu_memory, architecture, provider, option)


def _equal_ranks(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Neighbours that ``rank`` holds for equal."""
    group: list[_Row] = []
    for row in rows:
        if group and row[_RANK] != group[0][_RANK]:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _numbered(words: Iterable[Any]) -> dict[Any, int]:
    return {word: number for number, word in enumerate(words, start=1)}


def _json(value: Mapping[str, int] | list[str]) -> str:
    return json.dumps(value, sort_keys=True)


def _flush(path: str | os.PathLike[str]) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _drop(path: str) -> None:
    for name in (path, f"{path}-journal"):
        if os.path.lexists(name):
            os.unlink(name)
