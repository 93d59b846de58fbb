"""The price history in one SQLite file, which only ever grows.

Comparing happens in the database, a market at a time: a sheet is laid out in a temporary table, and what differs from what was
known last becomes observations. One transaction a market: a refresher that dies leaves whole markets, and of two that bring the
same market the later reading stays and the earlier is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import Any

from ..errors import SchemaTooNew, StoreDamaged
from ..money import Money
from ..pricing.history import VOUCHED, Change, Path, Pool, Vouched, path
from ..pricing.interruptions import Band
from ..pricing.offers import Offer, PurchaseOption
from ..pricing.refresh import Moves
from ..pricing.source import Observation, Sheet
from ..times import Period
from .database import Database, Row, open_database

VERSION = 1
APPLICATION = 1952935016
"""What marks the file as ours: the letters tgph as a number."""

CURRENCY = "USD"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class PriceHistory:
    """One connection to a history. Not shared between threads. It implements ``pricing.refresh.HistoryWriter``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_prepared = False

    @classmethod
    def open(cls, file: str, *, create: bool = True, allow_network_files: bool = False) -> PriceHistory:
        """Open the history in ``file``, made first with ``create``; without, for reading only.

        Raises ``StoreMissing``, ``SchemaTooNew``, or ``StoreDamaged`` for a file of another program.
        """
        if create:
            os.makedirs(os.path.dirname(os.path.abspath(file)), mode=0o700, exist_ok=True)
        database = open_database(file, create=create, allow_network_files=allow_network_files)
        try:
            if not _is_ours(database, file) and create:
                _create(database, file)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        self._database.close()

    # --- writing

    def last_readings(self) -> dict[tuple[str, str], datetime]:
        """When each market was last read, as far as it is on record."""
        rows = self._database.all("price_history.last_readings")
        return {(str(row["provider"]), str(row["region"])): _instant(row["at"]) for row in rows}

    def stage(self, provider: str, region: str, observations: Sequence[Observation]) -> None:
        """Lay past prices by until ``keep`` brings their sheet. They are lost when the connection closes."""
        rows = [
            (each.instance_type, each.zone or "", each.purchase_option.value, _number(each.at), each.hourly_price.nanos)
            for each in observations
        ]
        self._prepare()
        self._database.run("price_history.stage", provider=provider, region=region, rows=json.dumps(rows))

    def discard(self, provider: str, region: str) -> None:
        """Forget what is staged for a market."""
        self._prepare()
        self._database.run("price_history.discard", provider=provider, region=region)

    def keep(self, sheet: Sheet, *, since: datetime | None = None) -> Moves | None:
        """Record what differs from what was known. None when a reading of the market at least as new is on record.

        ``since``: what is staged tells every spot price from then on. Reference prices are no observations and are left out.
        """
        offers = [offer for offer in sheet.offers if not offer.is_reference]
        market: dict[str, object] = {"provider": sheet.provider, "region": sheet.region, "currency": CURRENCY}
        at = _number(sheet.read_at)
        self._prepare()
        run = self._database.run
        with self._database.transaction():
            last = self._database.one("price_history.last_reading", provider=sheet.provider, region=sheet.region)
            moves = None
            if offers and (last is None or last["at"] is None or int(str(last["at"])) < at):
                run("price_history.clear")
                run("price_history.lay_out", rows=json.dumps([_row(offer) for offer in offers]))
                run("price_history.add_pools", **market)
                past = 0
                if since is not None:
                    run("price_history.add_past_pools", **market)
                    past = run("price_history.fill_back", **market, at=at, since=_number(since))
                moves = self._moves(market, past, at)
                run("price_history.observe", **market, at=at)
                run("price_history.describe", **market, at=at)
                for option in sorted({offer.purchase_option for offer in offers}):
                    reaches = at if since is None or option is not PurchaseOption.SPOT else _number(since)
                    run(
                        "price_history.note_reading",
                        provider=sheet.provider,
                        region=sheet.region,
                        purchase_option=option,
                        at=at,
                        since=reaches,
                        source=sheet.source,
                    )
            run("price_history.discard", provider=sheet.provider, region=sheet.region)
        return moves

    def _moves(self, market: Mapping[str, object], past: int, at: int) -> Moves:
        row = self._database.one("price_history.moves", **market)
        assert row is not None  # it counts
        gone = self._database.run(
            "price_history.observe_gone", provider=market["provider"], region=market["region"], at=at
        )
        return Moves(
            up=_whole(row["up"]), down=_whole(row["down"]), appeared=_whole(row["appeared"]), gone=gone, past=past
        )

    def _prepare(self) -> None:
        if not self._is_prepared:
            self._database.run("price_history.prepare")
            self._is_prepared = True

    # --- asking

    def paths(
        self,
        instance_type: str,
        window: Period,
        *,
        provider: str | None = None,
        region: str | None = None,
        zone: str | None = None,
        purchase_option: PurchaseOption | None = None,
    ) -> list[Path]:
        """The path of every pool of a type that had a price in the window, in order of place."""
        rows = self._database.all(
            "price_history.window",
            instance_type=instance_type,
            provider=provider,
            region=region,
            zone=zone,
            purchase_option=purchase_option,
            start=_number(window.start),
            end=_number(window.end),
        )
        readings = self._readings(instance_type, window, provider, region, purchase_option)
        return [
            path(pool, changes, readings.get((pool.provider, pool.region, pool.purchase_option.value), ()), window)
            for pool, changes in _by_pool(rows)
        ]

    def price_as_of(self, pool: Pool, at: datetime) -> Money | None:
        """The price of a pool at an instant; None when unknown."""
        paths = self.paths(
            pool.instance_type,
            Period(at, at + _MICROSECOND),
            provider=pool.provider,
            region=pool.region,
            zone=pool.zone,
            purchase_option=pool.purchase_option,
        )
        return paths[0].price_at(at) if paths else None

    def as_of(
        self,
        at: datetime,
        *,
        provider: str | None = None,
        region: str | None = None,
        instance_type: str | None = None,
    ) -> list[Offer]:
        """Every offer as it was known at an instant, so that an old quote can be worked out again.

        ``priced_at`` and ``price_source`` are those of the market's last reading up to then. Rank them: the order says nothing.
        """
        rows = self._database.all(
            "price_history.as_of",
            at=_number(at),
            earliest=_number(at - VOUCHED) + 1,
            provider=provider,
            region=region,
            instance_type=instance_type,
        )
        return [_offer(row, at) for row in rows]

    def types(self, *, provider: str | None = None, region: str | None = None) -> list[str]:
        """Every instance type that has a history."""
        return [
            str(row["instance_type"])
            for row in self._database.all("price_history.types", provider=provider, region=region)
        ]

    def counts(self) -> tuple[int, int, datetime | None, datetime | None]:
        """How many pools and observations there are, since when, and up to which reading. Counts every row."""
        row = self._database.one("price_history.counts")
        assert row is not None  # it counts
        since, upto = (None if row[name] is None else _instant(row[name]) for name in ("since", "upto"))
        return _whole(row["pools"]), _whole(row["observations"]), since, upto

    def problems(self) -> list[str]:
        """What SQLite finds wrong with the file; reads all of it."""
        return list(self._database.problems())

    def _readings(
        self,
        instance_type: str,
        window: Period,
        provider: str | None,
        region: str | None,
        purchase_option: PurchaseOption | None,
    ) -> dict[tuple[str, str, str], list[Vouched]]:
        """Who vouches for the prices of a type, by market; readings that follow each other closely enough are one."""
        rows = self._database.all(
            "price_history.readings",
            instance_type=instance_type,
            provider=provider,
            region=region,
            purchase_option=purchase_option,
            earliest=_number(window.start - VOUCHED),
            end=_number(window.end),
        )
        joined: dict[tuple[str, str, str], list[list[int]]] = {}
        reach = VOUCHED // _MICROSECOND
        for row in rows:
            spans = joined.setdefault((str(row["provider"]), str(row["region"]), str(row["purchase_option"])), [])
            since, at = _whole(row["since"]), _whole(row["at"])
            if spans and since <= spans[-1][1] + reach:
                spans[-1][1] = at
            else:
                spans.append([since, at])
        return {
            market: [Vouched(_instant(since), _instant(at)) for since, at in spans] for market, spans in joined.items()
        }


# --- the file


def _is_ours(database: Database, file: str) -> bool:
    """Whether the schema is there; False for an empty file."""
    row = database.one("price_history.version")
    assert row is not None  # it is made of counts
    version, application, things = (_whole(row[name]) for name in ("version", "application", "things"))
    if version == 0 and application == 0 and things == 0:
        return False
    if application != APPLICATION:
        raise StoreDamaged(
            f"{file} is no price history", cure="Name another prices.folder, or move the file away; nothing was changed"
        )
    if version > VERSION:
        raise SchemaTooNew(f"{file} has version {version}, newer than this program knows ({VERSION})")
    return True


def _create(database: Database, file: str) -> None:
    with database.transaction():
        if not _is_ours(database, file):  # another process may have been faster
            database.run("price_history.create")


# --- rows


def _by_pool(rows: Sequence[Row]) -> Iterator[tuple[Pool, list[Change]]]:
    for _, group in groupby(rows, key=lambda row: row["pool"]):
        of_pool = list(group)
        pool, changes = _pool(of_pool[0]), []
        for row in of_pool:
            nanos = row["nanos"]
            price = None if nanos is None else Money(_whole(nanos), str(row["currency"]))
            changes.append(Change(_instant(row["at"]), price))
        yield pool, changes


def _pool(row: Row) -> Pool:
    return Pool(
        provider=str(row["provider"]),
        region=str(row["region"]),
        zone=str(row["zone"]),
        instance_type=str(row["instance_type"]),
        purchase_option=PurchaseOption(str(row["purchase_option"])),
    )


def _row(offer: Offer) -> tuple[object, ...]:
    return (
        offer.instance_type,
        offer.zone or "",
        offer.purchase_option.value,
        offer.hourly_price.nanos,
        _description(offer),
    )


def _description(offer: Offer) -> str:
    """Everything about an offer but its place and its price, always in the same words."""
    band = offer.interruptions
    said = {
        "vcpus": offer.vcpus,
        "memory_gib": str(offer.memory_gib),
        "architecture": offer.architecture,
        "gpus": offer.gpus or None,
        "gpu_model": offer.gpu_model,
        "gpu_memory_gib": None if offer.gpu_memory_gib is None else str(offer.gpu_memory_gib),
        "on_demand_nanos": None if offer.on_demand_price is None else offer.on_demand_price.nanos,
        "interruptions": None
        if band is None
        else [str(band.low), None if band.high is None else str(band.high), band.hours],
    }
    return json.dumps({name: value for name, value in said.items() if value is not None}, separators=(",", ":"))


@lru_cache(maxsize=8192)  # a market has some thousand descriptions and many more pools
def _said(description: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(description)
    return found


def _offer(row: Row, at: datetime) -> Offer:
    pool = _pool(row)
    said = _said(str(row["description"]))
    currency = str(row["currency"])
    on_demand, memory, band = said.get("on_demand_nanos"), said.get("gpu_memory_gib"), said.get("interruptions")
    return Offer(
        provider=pool.provider,
        region=pool.region,
        zone=pool.zone or None,
        instance_type=pool.instance_type,
        purchase_option=pool.purchase_option,
        vcpus=said["vcpus"],
        memory_gib=Decimal(said["memory_gib"]),
        architecture=said.get("architecture"),
        gpus=said.get("gpus", 0),
        gpu_model=said.get("gpu_model"),
        gpu_memory_gib=None if memory is None else Decimal(memory),
        hourly_price=Money(_whole(row["nanos"]), currency),
        on_demand_price=None if on_demand is None else Money(on_demand, currency),
        priced_at=_instant(row["read_at"]) if row["read_at"] else at,
        price_source=str(row["source"]),
        interruptions=None if band is None else _band(band),
    )


def _band(said: Sequence[object]) -> Band:
    low, high, hours = said
    return Band(low=Decimal(str(low)), high=None if high is None else Decimal(str(high)), hours=_whole(hours))


def _whole(value: object) -> int:
    assert isinstance(value, int)  # the columns are STRICT
    return value


def _number(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _instant(number: object) -> datetime:
    return _EPOCH + _whole(number) * _MICROSECOND
