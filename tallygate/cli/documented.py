"""A job's row as the documents show it: their column names, exact amounts, provider names in capitals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from .. import times
from ..money import Money
from ..reports.render import provider_name

_JSON_COLUMNS = ("billing_tags", "metadata", "spec")
_NANOS = "_nanos"


def of_row(row: Mapping[str, object]) -> dict[str, object]:
    """A row of ``jobs`` for programs: amounts as exact ``Decimal``, instants as text in UTC, JSON columns read.

    ``actual_cost`` is what the bill says: the final cost when there is one, else the cost billed so far, else None.
    """
    currency = str(row["currency"])
    found: dict[str, object] = {}
    for column, value in row.items():
        name = column.removesuffix(_NANOS)
        if column.endswith(_NANOS):
            found[name] = None if value is None else _exact(value, currency)
        elif isinstance(value, datetime):
            found[name] = times.text(value)
        elif column in _JSON_COLUMNS and isinstance(value, str):
            found[name] = json.loads(value)
        elif name not in found:  # not the generated decimal column beside an exact one
            found[name] = value
    found["provider"] = provider_name(str(row["provider"]))
    final = found.pop("final_cost", None)
    billed = found.get("billed_cost")
    found["actual_cost"] = billed if final is None else final
    return found


def _exact(nanos: object, currency: str) -> Decimal:
    assert isinstance(nanos, int)
    return Decimal(Money(nanos, currency).shown())


def cost_so_far(row: Mapping[str, object]) -> tuple[Money, str]:
    """The surest cost that is known of a job, and how sure it is."""
    currency = str(row["currency"])
    for column, word in (
        ("final_cost_nanos", "final"),
        ("billed_cost_nanos", "billed"),
        ("metered_cost_nanos", "metered"),
    ):
        nanos = row[column]
        if isinstance(nanos, int):
            return Money(nanos, currency), word
    estimated = row["estimated_cost_nanos"]
    assert isinstance(estimated, int)
    return Money(estimated, currency), "estimated"
