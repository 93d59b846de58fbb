"""A charge: one row of a bill, in the words of the FOCUS specification.

Field names are FOCUS 1.2 column names in snake case; ours begin with ``x_`` as the specification asks of custom columns.
Source: FinOps Open Cost and Usage Specification, https://focus.finops.org
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..money import Money
from ..times import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One FOCUS row. Costs are exact and may be negative (credits, refunds, corrections).

    ``billed_cost`` is what the invoice will carry and what jobs are settled to. ``charge_class`` is ``Correction`` for a change
    to a bill already invoiced, else None. ``pricing_category`` ``Dynamic`` is FOCUS's word for spot.
    """

    billing_account_id: str
    sub_account_id: str | None = None
    billing_period: Period
    charge_period: Period
    charge_category: str
    charge_class: str | None = None
    charge_description: str
    charge_frequency: str = "Usage-Based"
    provider_name: str
    service_name: str
    service_category: str
    region_id: str | None = None
    availability_zone: str | None = None
    resource_id: str | None = None
    resource_name: str | None = None
    resource_type: str | None = None
    sku_id: str | None = None
    pricing_category: str | None = None
    pricing_quantity: Decimal | None = None
    pricing_unit: str | None = None
    consumed_quantity: Decimal | None = None
    consumed_unit: str | None = None
    list_cost: Money
    contracted_cost: Money
    effective_cost: Money
    billed_cost: Money
    invoice_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
