"""Published price files: SkyPilot's catalogue as CSV, and interruption rates as the Spot Advisor or ``spotinfo`` write them.

Such a file is somebody's copy of prices at some time. Its offers carry that time, stated or the file's own, so that the rule of
age decides what they are good for; nothing here makes them fresh.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from .. import times
from ..errors import UsageError
from . import skypilot_csv, spot_advisor
from .offers import PurchaseOption
from .source import Sheet
from .spot_advisor import Advisor

BYTES_MAX = 200_000_000
PROVIDERS = ("aws", "gcp", "azure")

Fetch = Callable[[str], bytes]
"""Reads the document at an address, within bounds. Raises ``Unavailable``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a file said, as of when.

    ``sheets``: prices by region; empty for a file of interruption rates. ``advisor``: those rates; None for a file of prices.
    ``refused``: rows that belong to no sheet, by reason; a sheet counts its own.
    """

    place: str
    as_of: datetime
    sheets: tuple[Sheet, ...] = ()
    advisor: Advisor | None = None
    refused: Mapping[str, int] = field(default_factory=dict)


def read(
    place: str, *, fetch: Fetch, now: datetime, provider: str | None = None, as_of: datetime | None = None
) -> Published:
    """The file at ``place``, a path or an address.

    ``provider`` says whose prices they are; without it, a name such as ``aws/vms.csv`` does. ``as_of`` says when they were
    right; without it, a file's own time does, and an address has none. Raises ``UsageError`` for a file that is damaged, of
    another layout, or does not say these two, and ``Unavailable`` when an address cannot be read.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", place):
        data, dated = fetch(place), as_of
    else:
        data, written_at = _file(Path(place))
        dated = as_of or written_at
    name = _short(place)
    if dated is None:
        raise UsageError(f"{name} does not say when its prices were right", cure="State it, as in --as-of 2026-11-20")
    if dated > now:
        raise UsageError(
            f"Prices as of {times.shown(dated)} lie in the future", cure="State when they were right: --as-of"
        )
    text = _text(data, name)
    if text.lstrip()[:1] in ("{", "["):
        advisor = _about(name, spot_advisor.parse, text)
        return Published(place=name, as_of=dated, advisor=advisor, refused=advisor.refused)
    whose = _provider(provider, place)
    rows = skypilot_csv.parse(text, name=name, provider=whose, as_of=dated)
    return Published(place=name, as_of=dated, sheets=rows.sheets, refused=rows.refused)


def with_bands(sheet: Sheet, advisor: Advisor) -> Sheet:
    """The same prices, with what ``advisor`` tells about the spot machines among them. Prices are neither added nor changed."""
    if sheet.provider != "aws":
        return sheet
    offers = [
        replace(offer, interruptions=band)
        if offer.purchase_option is PurchaseOption.SPOT and (band := advisor.band(sheet.region, offer.instance_type))
        else offer
        for offer in sheet.offers
    ]
    return replace(sheet, offers=tuple(offers))


def _file(path: Path) -> tuple[bytes, datetime]:
    try:
        found = path.stat()
        if found.st_size > BYTES_MAX:
            raise UsageError(f"{path} is larger than {BYTES_MAX // 1_000_000} MB, which no price file is")
        return path.read_bytes(), datetime.fromtimestamp(found.st_mtime, UTC)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _text(data: bytes, name: str) -> str:
    if data[:2] == b"\x1f\x8b" or data[:4] == b"PK\x03\x04":
        raise UsageError(f"{name} is compressed", cure="Unpack it first")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not text in UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{name} is damaged: it contains zero bytes")
    start = text.lstrip()[:1]
    if not start:
        raise UsageError(f"{name} is empty")
    if start == "<":
        raise UsageError(f"{name} is a web page, not a price file", cure="Take the address of the raw file")
    return text


def _about(name: str, parse: Callable[[str], Advisor], text: str) -> Advisor:
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}") from error


def _provider(stated: str | None, place: str) -> str:
    if stated is not None:
        known = stated.strip().lower()
        if known not in PROVIDERS:
            raise UsageError(f"There is no price file of {stated[:40]!r}", cure=f"Use one of {', '.join(PROVIDERS)}")
        return known
    words = re.split(r"[^a-z]+", _short(place).lower())
    named = {provider for provider in PROVIDERS if provider in words}
    if len(named) != 1:
        raise UsageError(f"{_short(place)} does not say whose prices these are", cure="State it: --provider aws")
    return named.pop()


def _short(place: str) -> str:
    """The last two parts of a path or address: enough to know it by, without a query that may carry a key."""
    return "/".join(re.split(r"[?#]", place, maxsplit=1)[0].rstrip("/").split("/")[-2:])[-100:]
