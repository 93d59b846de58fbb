"""How a plan is shown: what would be launched, what finishing costs and on what that rests, and the most it can be."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from .. import times
from ..reports.render import provider_name
from .output import show, show_json, warn

if TYPE_CHECKING:
    from ..jobs.submission import Plan
    from ..money import Money
    from ..pricing.estimate import Estimate
    from ..pricing.offers import Offer
    from ..pricing.quote import Quote


def show_plan(plan: Plan, *, as_json: bool, written: Path | None = None) -> None:
    """Show a dry run, or the plan that was ``written`` to a file."""
    if as_json:
        show_json(_for_programs(plan, written))
        return
    from ..reports.render import amount, clean

    best, submission = plan.best, plan.submission
    offer = best.offer
    share = None if best.budget is None else best.expected.percent_of(best.budget)
    lines = [
        "Dry run: nothing is launched, uploaded or written."
        if written is None
        else f"Plan written to {clean(str(written))}. Nothing is launched or uploaded.",
        f"Job             {submission.name}: {clean(plan.command)}",
        f"Machine         {provider_name(offer.provider)} {clean(offer.instance_type)} in"
        f" {clean(offer.zone or offer.region)}, {offer.vcpus} vCPU, {offer.memory_gib:f} GiB, {offer.purchase_option}",
        f"Price           {amount(offer.hourly_price)}/hour, as of {times.shown(offer.priced_at)}"
        f" ({clean(offer.price_source)})",
        f"Estimated cost  {amount(best.expected)} for {times.duration(best.estimated_seconds)}"
        + ("" if best.budget is None else f", {'all' if share is None else f'{share}%'} of budget ${best.budget:.2f}"),
        f"Runs at most    {times.duration(best.run_seconds_max)}" + (f"; {best.coverage}" if best.coverage else ""),
        f"Files           {plan.files:,}, {plan.size_bytes:,} bytes",
    ]
    if plan.secrets:
        lines.append(f"Left out        {', '.join(map(clean, plan.secrets))} (they look like secrets)")
    for account, charged in zip(plan.accounts, plan.budgets, strict=True):
        lines.append(
            f"Charged to      {clean(charged.name)}: {amount(account.available)} available of {amount(account.limit)}"
        )
    lines += [
        f"You cannot pay more than ${best.worst_case.shown()}, assuming",
        *(f"  - {clean(assumption)}" for assumption in best.assumptions),
        "made of",
        *(f"  - {part.name}: ${part.cost.shown(4)}" for part in best.parts),
        *_quoted(plan.quote),
    ]
    instead = _instead(plan)
    if instead:
        lines += ["Instead", *instead]
    if plan.catalogue is not None:
        lines.append(f"Catalogue       version {plan.catalogue}")
    if written is not None:
        lines.append(f"Launch it       python cloud_run.py --from-plan {clean(str(written))}")
    for remark in plan.notes:
        warn(remark)
    if plan.refused is not None:
        warn(f"a launch would be refused: {plan.refused}")
    show("\n".join(lines))


def _quoted(quote: Quote) -> list[str]:
    """What finishing costs, item by item, and what that rests on."""
    from ..reports.render import amount, clean

    lines = [
        f"Finishing costs {amount(quote.expected)} expected, {amount(quote.p50)} p50, {amount(quote.p90)} p90,"
        f" {amount(quote.worst_case)} at worst; expected are",
        *(f"  - {part.name}, {part.quantity:f} {part.unit}: {amount(part.cost)}" for part in quote.parts),
    ]
    if quote.low != quote.high:
        lines.append(f"Nine of ten such jobs end up between {amount(quote.low)} and {amount(quote.high)} (p5 to p95)")
    if quote.in_time < 1:
        lines.append(f"Done before its machine ends itself in {_percent(quote.in_time)} of cases")
    return [*lines, "based on", *(f"  - {clean(sentence)}" for sentence in quote.basis)]


def _instead(plan: Plan) -> list[str]:
    from ..reports.render import amount, clean

    return [
        f"  - {clean(name)}: {amount(cost)} expected, {_more(cost, plan.quote.expected)}"
        for name, _, cost in _counterfactuals(plan)
    ]


def _counterfactuals(plan: Plan) -> list[tuple[str, Offer, Money]]:
    """What else could be done, as far as its price is known: the same machine on demand, and in another region."""
    found: list[tuple[str, Offer, Money]] = []
    if plan.quote.on_demand is not None:
        found.append(("the same machine on demand", plan.best.offer, plan.quote.on_demand))
    if plan.elsewhere is not None:
        offer, cost = plan.elsewhere
        found.append((f"the same machine in {offer.region}", offer, cost))
    return found


def _more(cost: Money, than: Money) -> str:
    share = _share_more(cost, than)
    return "as much" if share == 0 else f"{share:+f}%"


def _share_more(cost: Money, than: Money) -> Decimal:
    """By how many percent ``cost`` is more, to a tenth."""
    percent = cost.percent_of(than)
    return Decimal(0) if percent is None else percent - 100


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f}%"


def _for_programs(plan: Plan, written: Path | None) -> dict[str, object]:
    best, submission = plan.best, plan.submission
    offer = best.offer
    return {
        "status": "dry_run_success" if written is None else "plan_written",
        "plan": None if written is None else str(written),
        "name": submission.name,
        "command": plan.command,
        "provider": provider_name(offer.provider),
        "instance_type": offer.instance_type,
        "region": offer.region,
        "zone": offer.zone,
        "purchase_option": offer.purchase_option,
        "price_per_hour": offer.hourly_price,
        "priced_at": offer.priced_at,
        "price_source": offer.price_source,
        "currency": best.worst_case.currency,
        "estimated_runtime_hours": best.hours,
        "estimated_cost": best.expected,
        "budget_limit": best.budget,
        "run_seconds_max": best.run_seconds_max,
        "price_max": best.price_max,
        "worst_case": best.worst_case,
        "assumptions": list(best.assumptions),
        "parts": [
            {"name": part.name, "quantity": part.quantity, "unit": part.unit, "cost": part.cost} for part in best.parts
        ],
        "charged_to": plan.charged_to,
        "budgets": [
            {"name": budget.name, "limit": account.limit, "available": account.available}
            for budget, account in zip(plan.budgets, plan.accounts, strict=True)
        ],
        "files": plan.files,
        "bytes": plan.size_bytes,
        "left_out_as_secret": list(plan.secrets),
        "quote": plan.quote.facts(),
        "instead": [
            {
                "name": name,
                "region": offer.region,
                "expected": cost,
                "percent_more": _share_more(cost, plan.quote.expected),
            }
            for name, offer, cost in _counterfactuals(plan)
        ],
        "catalogue_version": plan.catalogue,
        "launch_refused": plan.refused,
        "alternatives": [_alternative(other) for other in plan.estimates[1:]],
        "notes": list(plan.notes),
        "s3_path": submission.bucket,
        "gdrive_path": submission.metadata.get("gdrive_path"),
        "message": f"You cannot pay more than ${best.worst_case.shown(4)}",
    }


def _alternative(other: Estimate) -> dict[str, object]:
    return {
        "provider": provider_name(other.offer.provider),
        "instance_type": other.offer.instance_type,
        "region": other.offer.region,
        "price_per_hour": other.offer.hourly_price,
        "worst_case": other.worst_case,
    }
