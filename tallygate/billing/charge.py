"""A charge: one row of a bill, in the words of the FOCUS specification.

Field names are FOCUS 1.2 column names in snake case; ours begin with ``x_``, as the specification asks of custom ones.
Source: FinOps Open Cost and Usage Specification, https://focus.finops.org
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..money import Money
from ..times import Period

CATEGORIES = frozenset({"Usage", "Purchase", "Tax", "Credit", "Adjustment"})
"""The values FOCUS allows for ChargeCategory."""

_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP
CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR
ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT
MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD
SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND
VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CODES.split())
"""Currencies a bill may be in: the codes of ISO 4217 that money is paid in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One FOCUS row. Costs are exact and may be negative (credits, refunds, corrections).

    ``billed_cost`` is what the invoice will carry and what jobs are settled to. ``charge_class`` is ``Correction`` for
    a change to a bill already invoiced, else None. ``pricing_category`` ``Dynamic`` is FOCUS's word for spot.
    ``x_billed_cost_text`` is the amount as the source wrote it, kept only where it has more digits than money holds.
    """

    billing_account_id: str
    billing_account_name: str | None = None
    sub_account_id: str | None = None
    billing_period: Period
    charge_period: Period
    charge_category: str
    charge_class: str | None = None
    charge_description: str
    charge_frequency: str = "Usage-Based"
    provider_name: str
    publisher_name: str | None = None
    invoice_issuer_name: str | None = None
    service_name: str
    service_category: str
    region_id: str | None = None
    availability_zone: str | None = None
    resource_id: str | None = None
    resource_name: str | None = None
    resource_type: str | None = None
    sku_id: str | None = None
    sku_price_id: str | None = None
    pricing_category: str | None = None
    pricing_quantity: Decimal | None = None
    pricing_unit: str | None = None
    consumed_quantity: Decimal | None = None
    consumed_unit: str | None = None
    list_unit_price: Decimal | None = None
    contracted_unit_price: Decimal | None = None
    list_cost: Money
    contracted_cost: Money
    effective_cost: Money
    billed_cost: Money
    invoice_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    x_billed_cost_text: str | None = None
