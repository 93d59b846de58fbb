"""The catalogue as one SQLite file: opened without being changed, searched without being loaded.

    shape   some hundred combinations of what a request may bound: processors, memory, GPU, provider, purchase option
    offer   clustered by (shape, price): the cheapest of a shape are neighbours

A search reads the shapes that fit, cheapest first, and merges their offers until it has enough; it touches a few pages of
a file of any size. ``catalog_writer`` makes the files; a file that is there is only ever replaced as a whole.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from heapq import heappop, heappush, heapreplace
from itertools import islice
from math import lcm
from typing import Any, NamedTuple

from ..errors import SchemaOutOfDate, SchemaTooNew, StoreDamaged, StoreError, StoreMissing, UsageError
from ..money import NANOS_MAX, Money
from ..pricing.catalog import Cost, Part, Per, Version
from ..pricing.interruptions import Band
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest
from ..times import instant
from .queries import INTEGER_MAX, named

FILE_NAME = "catalogue.db"

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pricing", "reference.db")
"""The dated reference prices that come with the package."""

FORMAT = 1
"""The layout of the file. A program reads its own format and no other."""

APPLICATION = 0x54674361
"""What marks a SQLite file as a catalogue of ours: ``TgCa``."""

NANO = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NONSENSE = (sqlite3.Error, ValueError, TypeError, AttributeError, ArithmeticError, UsageError)
"""What reading a damaged file comes to: SQLite notices, or a value is not of the kind that was written."""

_AGAIN = "Delete it and refresh the prices; until then the reference prices of the package are used"


def statement(name: str) -> str:
    """The one statement of a query of ``catalog.sql``."""
    (found,) = named("sqlite", name)
    return found


def open_catalog(folder: str | os.PathLike[str]) -> SqliteCatalog:
    """The catalogue of that folder if it was ever refreshed, else the reference prices of the package.

    A catalogue that is there and cannot be used is an error and never silently passed over.
    """
    path = os.path.join(folder, FILE_NAME)
    return SqliteCatalog(path if os.path.lexists(path) else SHIPPED)


class SqliteCatalog:
    """One version, open for reading by one thread. Nothing is written, neither by us nor by SQLite.

    Raises ``StoreMissing``, ``SchemaTooNew`` or ``SchemaOutOfDate`` for another format, and ``StoreDamaged`` for what is
    truncated, damaged or no catalogue; the same from a search that meets damage later.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        _check_header(self.path)
        self._words: dict[int, str] = {}
        self._shapes: dict[int, tuple[Any, ...]] = {}
        self._sources: dict[int, tuple[str, bool]] = {}
        self._bands: dict[int, Band] = {}
        try:
            self._connection = sqlite3.connect(_address(self.path), uri=True, isolation_level=None)
            rows = self._connection.execute(statement("catalog.version")).fetchall()
            ((identity, made_at, currency, offers),) = rows
            self._version = Version(id=str(identity), made_at=instant(made_at), offers=int(offers))
            self.currency = Money.zero(currency).currency
        except NONSENSE as error:
            raise self._damaged(error) from error

    @property
    def version(self) -> Version:
        return self._version

    @property
    def is_shipped(self) -> bool:
        """Whether these are the reference prices of the package, because nothing was ever refreshed."""
        return self.path == SHIPPED

    def parts(self) -> Sequence[Part]:
        found = []
        try:
            for provider, region, read_at, source, offers, refused, notes in self._all("catalog.parts"):
                reasons = json.loads(refused)
                part = Part(
                    provider=str(provider),
                    region=str(region),
                    read_at=instant(read_at),
                    source=str(source),
                    offers=int(offers),
                    refused=sum(reasons.values()),
                    reasons=reasons,
                    notes=tuple(json.loads(notes)),
                )
                found.append(part)
        except NONSENSE as error:
            raise self._damaged(error) from error
        return found

    def reference_offers(self) -> dict[tuple[str, str], int]:
        """How many offers of a provider's region are reference prices; those that have none are not named."""
        try:
            return {(str(row[0]), str(row[1])): int(row[2]) for row in self._all("catalog.references")}
        except NONSENSE as error:
            raise self._damaged(error) from error

    def cheapest(self, request: ResourceRequest, *, limit: int, per: Per = Per.HOUR) -> list[Offer]:
        return [self._offer(found) for found in islice(self._in_order(request, per, min(limit, 64)), limit)]

    def cheapest_to_finish(self, request: ResourceRequest, cost: Cost, *, hours: Decimal, limit: int) -> list[Offer]:
        if limit < 1:
            return []
        kept: list[tuple[int, int, Offer]] = []  # a heap with the dearest on top; of equal costs the later one
        for turn, found in enumerate(self._in_order(request, Per.HOUR)):
            if len(kept) == limit and found.price * hours > -kept[0][0]:
                break
            offer = self._offer(found)
            entry = (-cost(offer).nanos, -turn, offer)
            if len(kept) < limit:
                heappush(kept, entry)
            elif entry > kept[0]:
                heapreplace(kept, entry)
        return [offer for _, _, offer in sorted(kept, key=lambda entry: (-entry[0], -entry[1]))]

    def offers(self) -> Iterator[Offer]:
        """Every offer, in the order of ``rank``."""
        return self._in_full(self._in_order(ResourceRequest(vcpus_min=0), Per.HOUR))

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Every offer as the plain values that ``catalog_writer`` writes, in the order of ``rank``."""
        return iter(self._all("catalog.everything"))

    def close(self) -> None:
        self._connection.close()

    # --- searching

    def _in_order(self, request: ResourceRequest, per: Per, first: int = 16) -> Iterator[_Found]:
        """What matches, in the order of ``rank``, or by the price per vCPU or GiB; read from the file only as far as asked.

        A shape's offers are looked at no sooner than its cheapest may be the next one, ``first`` of them to begin with.
        """
        bounds, at = self._bounds(request), self._place(request)
        if bounds is None or at is None:
            return
        query = "catalog.shapes"
        if request.gpus_min > 0:
            query = "catalog.shapes_with_gpus" if request.gpu_model is None else "catalog.shapes_of_gpu"
        at["price_max"] = bounds["price_max"]
        try:
            shapes = self._connection.execute(statement(query), bounds)
            yield from self._merged(shapes, at, per, first)
        except NONSENSE as error:
            raise self._damaged(error) from error

    def _merged(self, shapes: Iterator[Any], at: dict[str, Any], per: Per, first: int) -> Iterator[_Found]:
        """The offers of ``shapes``, which come in the order of their cheapest and are asked for one by one."""
        weight: Callable[[Any], int] = _unweighted
        if per is not Per.HOUR:
            everything = list(shapes)
            weight = _weights(everything, per)
            shapes = iter(sorted(everything, key=lambda shape: shape[0] * weight(shape)))
        heap: list[tuple[tuple[Any, ...], int, _Stream]] = []
        opened, shape = 0, next(shapes, None)
        while heap or shape is not None:
            while shape is not None and (not heap or shape[0] * weight(shape) <= heap[0][0][0]):
                stream = _Stream(self, shape, weight(shape), at, first)
                if stream.row is not None:
                    heappush(heap, (stream.order(), opened, stream))
                opened, shape = opened + 1, next(shapes, None)
            if heap:
                _, number, stream = heap[0]
                yield stream.found()
                stream.advance()
                if stream.row is None:
                    heappop(heap)
                else:
                    heapreplace(heap, (stream.order(), number, stream))

    def _bounds(self, request: ResourceRequest) -> dict[str, Any] | None:
        """The request as values of ``catalog.shapes``; None when nothing can match."""
        ceiling = request.hourly_price_max
        if ceiling is not None and ceiling.currency != self.currency:
            raise UsageError(
                f"The highest hourly price is in {ceiling.currency}, and the prices are in {self.currency}",
                cure=f"State it in {self.currency}",
            )
        options = [str(option) for option in request.purchase_options]
        if not options:
            return None
        model = request.gpu_model
        return {
            "vcpus_min": request.vcpus_min,
            "vcpus_max": INTEGER_MAX if request.vcpus_max is None else request.vcpus_max,
            "memory_min": _nano_bound(request.memory_gib_min, ROUND_CEILING),
            "memory_max": INTEGER_MAX
            if request.memory_gib_max is None
            else _nano_bound(request.memory_gib_max, ROUND_FLOOR),
            "gpus_min": request.gpus_min,
            "gpu_key": None if model is None else model.casefold(),
            "architecture": request.architecture,
            "provider": request.provider,
            "one_option": options[0],
            "other_option": options[-1],
            "price_max": NANOS_MAX if ceiling is None else ceiling.nanos,
        }

    def _place(self, request: ResourceRequest) -> dict[str, int | None] | None:
        """Region and type as numbers; None when one of them is nowhere in the catalogue."""
        found: dict[str, int | None] = {}
        if request.region is not None or request.instance_type is not None:
            for name, text in (("region", request.region), ("type", request.instance_type)):
                rows = [] if text is None else self._all("catalog.number", (text,))
                if text is not None and not rows:
                    return None
                found[name] = rows[0][0] if rows else None
        return found

    # --- from numbers to offers

    def _in_full(self, found: Iterator[_Found]) -> Iterator[Offer]:
        return (self._offer(one) for one in found)

    def _offer(self, found: _Found) -> Offer:
        try:
            return self._built(found)
        except NONSENSE as error:
            raise self._damaged(error) from error

    def _built(self, found: _Found) -> Offer:
        price, region, zone, kind, _, on_demand, priced_at, source, band = found.row
        shape = self._shapes.get(found.shape) or self._shape(found.shape)
        vcpus, memory, architecture, gpus, gpu_model, gpu_memory, provider, option = shape
        says, is_reference = self._sources.get(source) or self._source(source)
        words = self._words
        return Offer(
            provider=provider,
            region=words.get(region) or self._word(region),
            zone=(words.get(zone) or self._word(zone)) if zone else None,
            instance_type=words.get(kind) or self._word(kind),
            purchase_option=option,
            vcpus=vcpus,
            memory_gib=memory,
            architecture=architecture,
            gpus=gpus,
            gpu_model=gpu_model,
            gpu_memory_gib=gpu_memory,
            hourly_price=Money(price, self.currency),
            on_demand_price=None if on_demand is None else Money(on_demand, self.currency),
            priced_at=EPOCH + timedelta(microseconds=priced_at),
            price_source=says,
            interruptions=None if band is None else self._bands.get(band) or self._band(band),
            is_reference=is_reference,
        )

    def _shape(self, number: int) -> tuple[Any, ...]:
        vcpus, memory, architecture, gpus, model, gpu_memory, provider, option = self._one("catalog.shape", number)
        found = self._shapes[number] = (
            vcpus,
            Decimal(memory) / NANO,
            architecture,
            gpus,
            model,
            None if gpu_memory is None else Decimal(gpu_memory) / NANO,
            provider,
            PurchaseOption(option),
        )
        return found

    def _word(self, number: int) -> str:
        found = self._words[number] = str(self._one("catalog.word", number)[0])
        return found

    def _source(self, number: int) -> tuple[str, bool]:
        says, is_reference = self._one("catalog.source", number)
        found = self._sources[number] = (says, bool(is_reference))
        return found

    def _band(self, number: int) -> Band:
        low, high, hours = self._one("catalog.band", number)
        found = self._bands[number] = Band(low=Decimal(low), high=None if high is None else Decimal(high), hours=hours)
        return found

    # --- the file

    def _all(self, query: str, values: Any = ()) -> list[Any]:
        try:
            return self._connection.execute(statement(query), values).fetchall()
        except NONSENSE as error:
            raise self._damaged(error) from error

    def _one(self, query: str, number: int) -> tuple[Any, ...]:
        rows = self._all(query, (number,))
        if not rows:
            raise self._damaged(f"number {number} of {query} is missing")
        found: tuple[Any, ...] = rows[0]
        return found

    def _damaged(self, why: object) -> StoreError:
        return StoreDamaged(f"The price catalogue {self.path} is damaged ({why})", cure=_AGAIN)


class _Found(NamedTuple):
    """One match, still as numbers."""

    price: int
    shape: int
    row: tuple[Any, ...]


class _Stream:
    """The offers of one shape, cheapest first, fetched a few at a time. ``row`` is the next one, None after the last."""

    __slots__ = ("_catalog", "_count", "_place", "_query", "_rows", "_shape", "_skip", "_values", "_weight", "row")

    def __init__(
        self, catalog: SqliteCatalog, shape: tuple[Any, ...], weight: int, values: dict[str, Any], count: int
    ) -> None:
        self._catalog, self._shape, self._weight, self._values = catalog, shape, weight, values
        self._query = "catalog.of_shape_at" if "region" in values else "catalog.of_shape"
        self._rows: list[tuple[Any, ...]] = []
        self._place, self._skip, self._count = -1, 0, count
        self.row: tuple[Any, ...] | None = ()
        self.advance()

    def advance(self) -> None:
        if self.row is None:
            return
        self._place += 1
        if self._place == len(self._rows):
            self._fetch()
        self.row = self._rows[self._place] if self._rows else None

    def _fetch(self) -> None:
        values = {**self._values, "shape": self._shape[1], "count": self._count, "skip": self._skip}
        self._skip += self._count
        self._count *= 4  # who asks on asks for many
        self._place = 0
        self._rows = self._catalog._all(self._query, values)

    def found(self) -> _Found:
        assert self.row is not None
        return _Found(self.row[0], self._shape[1], self.row)

    def order(self) -> tuple[Any, ...]:
        """The offer's place among all: ``rank``'s key after the price weighted by what it is compared per."""
        assert self.row is not None
        price, region, zone, kind, turn, *_ = self.row
        return (price * self._weight, price, self._shape[4], region, zone, kind, self._shape[5], turn)


def _unweighted(shape: Any) -> int:
    """By the hour a price is compared as it is."""
    return 1


def _weights(shapes: list[Any], per: Per) -> Callable[[Any], int]:
    """What a shape's prices are multiplied with to be compared per vCPU or GiB, in whole numbers and so exactly."""
    column = 2 if per is Per.VCPU else 3
    whole = lcm(*(shape[column] for shape in shapes)) if shapes else 1

    def weight(shape: Any) -> int:
        return whole // int(shape[column])

    return weight


def _nano_bound(gib: Decimal, rounding: str) -> int:
    """A bound on memory in nanos, within what the file can hold."""
    if gib >= INTEGER_MAX // NANO:
        return INTEGER_MAX
    return int((gib * NANO).to_integral_value(rounding=rounding))


def _address(path: str) -> str:
    plain = os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file://{plain}?mode=ro&immutable=1"


def _check_header(path: str) -> None:
    """Refuse what is no catalogue, of another format, or cut short, before SQLite looks at it."""
    try:
        with open(path, "rb") as file:
            header = file.read(100)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise StoreMissing(f"There is no price catalogue at {path}", cure="Refresh the prices") from None
    except OSError as error:
        raise StoreError(f"The price catalogue {path} cannot be read: {error.strerror}", cure=_AGAIN) from error
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        says = "is empty" if not header else "is not a price catalogue"
        raise StoreDamaged(f"{path} {says}", cure=_AGAIN)

    def number(place: int, length: int = 4) -> int:
        return int.from_bytes(header[place : place + length], "big")

    if number(68) != APPLICATION:
        raise StoreDamaged(
            f"{path} is a database, but not a price catalogue",
            cure="Name another directory with the setting prices.folder, or move the file away",
        )
    if number(60) > FORMAT:
        raise SchemaTooNew(
            f"The price catalogue {path} was made by a newer Tallygate (format {number(60)}; this one reads {FORMAT})"
        )
    if number(60) < FORMAT:
        raise SchemaOutOfDate(f"The price catalogue {path} was made by an older Tallygate", cure=_AGAIN)
    page = number(16, 2)
    expected = (65_536 if page == 1 else page) * number(28)
    if size != expected:
        raise StoreDamaged(f"The price catalogue {path} is damaged: it has {size:,} bytes of {expected:,}", cure=_AGAIN)
