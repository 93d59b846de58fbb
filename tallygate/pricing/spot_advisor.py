"""AWS's Spot Instance Advisor: how often machines of a type are taken back in a region, and what was saved.

It is a public JSON document that AWS's own web page reads; its layout is not promised. It says nothing about prices, and
nothing here makes one out of the savings it tells.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..errors import UsageError
from ..times import HOURS_PER_MONTH
from .interruptions import Band

URL = "https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json"

ENTRIES_MAX = 500_000
"""The document has some 25,000 entries."""

_LABEL = re.compile(r"(?:(?P<below><)|(?P<above>>)|(?P<low>\d{1,2})-)(?P<limit>\d{1,3})%")


@dataclass(frozen=True, slots=True)
class Advice:
    """What is known of one type in one region: the band of last month, and the saving in percent, when told."""

    band: Band
    saving: Decimal | None


@dataclass(frozen=True, slots=True)
class Advisor:
    """``advice`` by region and type, for Linux. ``refused``: entries left out, by reason."""

    advice: Mapping[str, Mapping[str, Advice]]
    refused: Mapping[str, int]

    def band(self, region: str, instance_type: str) -> Band | None:
        """None when nothing is told about such machines."""
        found = self.advice.get(region, {}).get(instance_type)
        return None if found is None else found.band


def band_of(label: str) -> Band | None:
    """The band that a label such as ``<5%``, ``5-10%`` or ``>20%`` names; None for any other text."""
    found = _LABEL.fullmatch(label.strip())
    if found is None:
        return None
    limit = Decimal(found["limit"]) / 100
    low = Decimal(found["low"]) / 100 if found["low"] else Decimal(0)
    if not low < limit <= 1 or (found["above"] and limit == 1):
        return None
    if found["above"]:
        return Band(low=limit, high=None, hours=HOURS_PER_MONTH)
    return Band(low=low, high=limit, hours=HOURS_PER_MONTH)


def parse(text: str) -> Advisor:
    """The advisor in ``text``: the document itself, or what the program ``spotinfo`` prints as JSON in either of its forms.

    Raises ``UsageError`` when it is neither, or has nothing in it that can be used.
    """
    document = _json(text)
    refused: Counter[str] = Counter()
    if isinstance(document, list):
        found = _listed(document, refused)
    elif isinstance(document, dict) and isinstance(document.get("candidates"), list):
        found = _candidates(document["candidates"], refused)
    elif isinstance(document, dict):
        found = _document(document, refused)
    else:
        found = {}
    if not any(found.values()):
        reasons = f" ({', '.join(f'{count} x {why}' for why, count in refused.items())})" if refused else ""
        raise UsageError(f"No interruption rate can be read from this document{reasons}")
    return Advisor(found, refused)


def _json(text: str) -> object:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"This is no JSON document: {str(error)[:100]}") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


def _document(document: dict[str, object], refused: Counter[str]) -> dict[str, dict[str, Advice]]:
    """``ranges`` with their labels, and ``spot_advisor`` by region, system and type with ``r`` (range) and ``s`` (saving)."""
    ranges, regions = document.get("ranges"), document.get("spot_advisor")
    if not isinstance(ranges, list) or not isinstance(regions, dict):
        return {}
    bands: dict[int, Band] = {}
    for entry in ranges:
        index, label = (entry.get("index"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        band = band_of(label) if isinstance(label, str) else None
        if band is None or type(index) is not int or bands.setdefault(index, band) != band:
            refused["range is not understood"] += 1
    found: dict[str, dict[str, Advice]] = {}
    entries = 0
    for region, systems in regions.items():
        types = systems.get("Linux") if isinstance(systems, dict) else None
        if not isinstance(types, dict):
            refused["region has no Linux machines"] += 1
            continue
        entries += len(types)
        if entries > ENTRIES_MAX:
            raise UsageError(f"This document has more than {ENTRIES_MAX:,} entries, which no advisor has")
        for name, entry in types.items():
            index = entry.get("r") if isinstance(entry, dict) else None
            if type(index) is not int or index not in bands:
                refused["interruption rate is not understood"] += 1
                continue
            found.setdefault(region, {})[name] = Advice(bands[index], _percent(entry.get("s")))
    return found


def _listed(rows: list[object], refused: Counter[str]) -> dict[str, dict[str, Advice]]:
    """Rows with ``region``, ``instance``, ``range.label`` and ``savings``; their prices are not looked at."""
    found: dict[str, dict[str, Advice]] = {}
    for row in rows[:ENTRIES_MAX]:
        entry = row if isinstance(row, dict) else {}
        span = entry.get("range")
        label = span.get("label") if isinstance(span, dict) else None
        _keep(found, entry.get("region"), entry.get("instance"), label, entry.get("savings"), refused)
    return found


def _candidates(rows: list[object], refused: Counter[str]) -> dict[str, dict[str, Advice]]:
    """Rows with ``cloud``, ``os``, ``region``, ``machine``, ``risk.label`` and ``savings_percent``; no price is looked at."""
    found: dict[str, dict[str, Advice]] = {}
    for row in rows[:ENTRIES_MAX]:
        entry = row if isinstance(row, dict) else {}
        if (entry.get("cloud"), entry.get("os")) != ("aws", "linux"):
            refused["row is not about Linux on AWS"] += 1
            continue
        risk = entry.get("risk")
        label = risk.get("label") if isinstance(risk, dict) else None
        _keep(found, entry.get("region"), entry.get("machine"), label, entry.get("savings_percent"), refused)
    return found


def _keep(
    found: dict[str, dict[str, Advice]],
    region: object,
    name: object,
    label: object,
    saving: object,
    refused: Counter[str],
) -> None:
    band = band_of(label) if isinstance(label, str) else None
    if band is None or not isinstance(region, str) or not isinstance(name, str):
        refused["interruption rate is not understood"] += 1
        return
    advice = Advice(band, _percent(saving))
    if found.setdefault(region, {}).setdefault(name, advice).band != band:
        refused["type has two interruption rates"] += 1
        if band.share > found[region][name].band.share:  # the worse one: the better one flatters
            found[region][name] = advice


def _percent(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= 100:
        return None
    return Decimal(value)
