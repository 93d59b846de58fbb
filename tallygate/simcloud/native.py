"""The same lines in the clouds' own columns: what a parser of real exports would be given.

The columns are a part of the real ones, with their real names, and every amount is text or a decimal as the cloud writes it.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from ..money import Money
from ..times import Period
from .deliveries import Shown
from .timeline import HOUR
from .words import WORDS, words_of

_PACIFIC = ZoneInfo("America/Los_Angeles")
_NANO = Decimal("0.000000001")


def native_row(
    row: Shown, charged: Period, currency: str, rate: Decimal, *, now: datetime, number: int
) -> dict[str, object]:
    """One row in the columns of the meter's cloud. ``number`` is its place in the delivery, ``rate`` that of its day."""
    name, billed = row.line.meter.dialect.name, Money(row.nanos, currency)
    if name == "aws":
        return _cur(row, charged, billed, rate, number)
    if name == "gcp":
        return _usage_export(row, charged, billed, rate, now)
    return _cost_details(row, charged, billed, rate)


def _hours(row: Shown) -> Decimal:
    return (Decimal((row.line.end - row.line.start) * row.part) / (HOUR * row.parts)).quantize(_NANO)


def _cur(row: Shown, charged: Period, billed: Money, rate: Decimal, number: int) -> dict[str, object]:
    """Cost and Usage Report 2.0: flat, lower case, times in UTC, tag keys flattened to lower case and underscores."""
    meter, words, month = row.line.meter, words_of(row.line.meter), Period.month(charged.start)
    tags = {f"user_{_flat(key)}": value for key, value in meter.tags.items()} if row.tagged else {}
    hours = Decimal(0) if row.correction else _hours(row)
    return {
        "identity_line_item_id": f"{number:08d}",  # unique within one delivery only, as Amazon's are
        "identity_time_interval": f"{_zulu(charged.start)}/{_zulu(charged.end)}",
        "bill_payer_account_id": WORDS["aws"].payer,
        "bill_billing_period_start_date": _zulu(month.start),
        "bill_billing_period_end_date": _zulu(month.end),
        "bill_bill_type": "Anniversary",
        "bill_billing_entity": "AWS",
        "line_item_usage_account_id": meter.account,
        "line_item_line_item_type": "Refund" if row.correction and row.nanos < 0 else "Usage",
        "line_item_usage_start_date": _zulu(charged.start),
        "line_item_usage_end_date": _zulu(charged.end),
        "line_item_product_code": "AmazonVPC" if meter.kind in ("address", "interface") else "AmazonEC2",
        "line_item_usage_type": words.sku,
        "line_item_operation": "RunInstances:SV001" if meter.pool is not None else "RunInstances",
        "line_item_availability_zone": meter.zone,
        "line_item_resource_id": meter.resource_id if row.named else "",
        "line_item_usage_amount": f"{hours:f}",
        "line_item_currency_code": billed.currency,
        "line_item_unblended_cost": billed.shown(),
        "line_item_line_item_description": words.description,
        "pricing_term": "Spot" if meter.pool is not None else "OnDemand",
        "pricing_unit": "Hrs",
        "pricing_public_on_demand_cost": Money(row.list_nanos).shown(),
        "pricing_public_on_demand_rate": f"{Decimal(meter.list_rate).scaleb(-9) * rate:f}",
        "product_region_code": meter.region,
        "product_instance_type": meter.sku if meter.kind == "machine" else "",
        "product_sku": words.sku,
        "resource_tags": tags,
    }


def _usage_export(row: Shown, charged: Period, billed: Money, rate: Decimal, now: datetime) -> dict[str, object]:
    """Google's detailed usage export: nested, labels as pairs, the invoice month by Pacific time, cost before credits."""
    meter, words = row.line.meter, words_of(row.line.meter)
    labels = [{"key": key, "value": value} for key, value in sorted(meter.tags.items())] if row.tagged else []
    kind = {"machine": "instances", "disk": "disks"}.get(meter.kind, "addresses")
    path = f"//compute.googleapis.com/projects/{meter.account}/zones/{meter.zone}/{kind}/{meter.resource_id}"
    # Half as much again is shown as cost and taken back as a credit, so that cost alone is not the net.
    gross = billed.decimal + abs(billed.decimal) / 2
    return {
        "billing_account_id": WORDS["gcp"].payer,
        "service": {"id": words.service.upper(), "description": words.service},
        "sku": {"id": words.sku, "description": words.sku},
        "usage_start_time": _zulu(charged.start),
        "usage_end_time": _zulu(charged.end),
        "project": {"id": meter.account, "number": "123456789012", "name": meter.account},
        "labels": labels,
        "system_labels": [{"key": "compute.googleapis.com/machine_spec", "value": meter.sku}],
        "location": {"location": meter.zone, "region": meter.region, "zone": meter.zone},
        "resource": {
            "name": meter.tags.get("tallygate-token", "") if row.named else None,
            "global_name": path if row.named else None,
        },
        "cost": gross,
        "currency": billed.currency,
        "currency_conversion_rate": rate,
        "usage": {
            "amount": (row.line.end - row.line.start) * row.part // (row.parts * 1_000_000),
            "unit": "seconds",
            "amount_in_pricing_units": _hours(row),
            "pricing_unit": "hour",
        },
        "credits": [{"name": "Spending based discount", "amount": billed.decimal - gross, "type": "DISCOUNT"}],
        "cost_type": "adjustment" if row.correction else "regular",
        "invoice": {"month": f"{charged.start.astimezone(_PACIFIC):%Y%m}"},
        "export_time": _zulu(now),
        "cost_at_list": Money(row.list_nanos).decimal,
    }


def _cost_details(row: Shown, charged: Period, billed: Money, rate: Decimal) -> dict[str, object]:
    """Azure's cost details: one day a row, lower-case resource ids, tags as JSON without its braces."""
    meter, words, month = row.line.meter, words_of(row.line.meter), Period.month(charged.start)
    tags = json.dumps(dict(sorted(meter.tags.items())))[1:-1] if row.tagged else ""
    hours = _hours(row)
    price = (billed.decimal / hours).quantize(_NANO) if hours else Decimal(0)
    return {
        "BillingProfileId": WORDS["azure"].payer,
        "SubscriptionId": meter.account,
        "BillingPeriodStartDate": f"{month.start:%m/%d/%Y}",
        "BillingPeriodEndDate": f"{month.end - timedelta(days=1):%m/%d/%Y}",  # inclusive
        "Date": f"{charged.start:%m/%d/%Y}",
        "ChargeType": "Refund" if row.correction and row.nanos < 0 else "Usage",
        "PricingModel": "Spot" if meter.pool is not None else "OnDemand",
        "Frequency": "UsageBased",
        "ProductName": words.description,
        "MeterName": words.sku,
        "MeterCategory": words.service,
        "ConsumedService": "Microsoft.Compute" if meter.kind in ("machine", "disk") else "Microsoft.Network",
        "ResourceId": meter.resource_id.lower() if row.named else "",
        "ResourceLocation": meter.region,
        "Quantity": f"{hours:f}",
        "UnitOfMeasure": "1 Hour",
        "UnitPrice": f"{price:f}",
        "CostInBillingCurrency": billed.shown(),
        "PaygCostInBillingCurrency": Money(row.list_nanos).shown(),
        "BillingCurrency": billed.currency,
        "PricingCurrency": "USD",
        "ExchangeRate": f"{rate:f}",
        "Tags": tags,
    }


def _zulu(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _flat(key: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in key.lower())
