"""Planning: from a submission to the offers that pass the gate. Reads only; nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from ..errors import BudgetExceeded, NoMatchingOffer, PriceRefused, Refusal, UnknownBudget, UsageError
from ..ledger.holds import Account, Budget
from ..money import Money
from ..pricing import spot_list
from ..pricing.estimate import Estimate, Policy, estimate
from ..pricing.offers import Offer, ResourceRequest, matches, rank
from ..pricing.terms import Terms
from ..times import Clock
from . import agent
from .staging import Manifest
from .submission import DEFAULT_COMMAND, Plan, Submission

OFFERS_TRIED_MAX = 5
"""How many offers a launch may fall back on, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a submission leaves open."""

    budget: Money | None
    estimated_runtime_hours: Decimal
    charge_to: str | None


class Planner:
    """Answers submissions with plans.

    ``offers`` asks every provider at once and also says which of them failed. ``terms_of`` gives a provider's terms.
    ``applying`` finds the budgets that a charge draws on, and ``account`` their jars now.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        policy: Policy,
        defaults: Defaults,
        offers: Callable[[ResourceRequest], tuple[list[Offer], list[str]]],
        terms_of: Callable[[str], Terms],
        applying: Callable[[str], Sequence[Budget]],
        account: Callable[[Budget], Account],
        inspect: Callable[[Path, Iterable[str]], Manifest],
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._defaults = defaults
        self._offers = offers
        self._terms_of = terms_of
        self._applying = applying
        self._account = account
        self._inspect = inspect

    def plan(self, submission: Submission) -> Plan:
        """The plan for a submission, or the refusal that launching it would meet.

        The gate comes first: an estimate that does not fit is refused before the job directory is walked.
        """
        offers, notes = self._candidates(submission)
        estimates, considered = self._bound(submission, offers), len(offers)
        budgets, charged_to = self._budgets(submission)
        accounts = tuple(self._account(budget) for budget in budgets)
        for budget, account in zip(budgets, accounts, strict=True):
            _check_room(budget, account, estimates[0])
        manifest = self._inspect(submission.directory, submission.exclude)
        command = submission.command or self._command(submission.directory)
        agent.check(command=command, image=submission.image, environment=submission.environment)
        return Plan(
            submission=submission,
            command=command,
            estimates=estimates,
            budgets=tuple(budgets),
            accounts=accounts,
            charged_to=charged_to,
            files=manifest.files,
            size_bytes=manifest.size_bytes,
            secrets=tuple(manifest.secrets),
            offers_considered=considered,
            notes=tuple(notes),
        )

    # --- offers

    def _candidates(self, submission: Submission) -> tuple[list[Offer], list[str]]:
        request = submission.request
        if submission.price_list is not None:
            chosen = _listed(submission.price_list, submission.index, request)
            return [self._at_accepted_price(submission, chosen)], []
        offered, problems = self._offers(request)
        ranked = rank(offered, request)
        if not ranked:
            raise _no_match(offered, request, problems)
        return [self._at_accepted_price(submission, offer) for offer in ranked[:OFFERS_TRIED_MAX]], problems

    def _at_accepted_price(self, submission: Submission, offer: Offer) -> Offer:
        price = submission.accept_price
        if price is None:
            return offer
        if offer.on_demand_price is not None and price > offer.on_demand_price:
            raise PriceRefused(
                f"--accept-price ${price.shown(4)} is above the on-demand price of {offer},"
                f" ${offer.on_demand_price.shown(4)}"
            )
        return replace(
            offer, hourly_price=price, priced_at=self._clock.now(), price_source="stated with --accept-price"
        )

    def _bound(self, submission: Submission, offers: Sequence[Offer]) -> tuple[Estimate, ...]:
        """Every offer that passes the gate; when none does, the best one's refusal."""
        passed: list[Estimate] = []
        first: Refusal | None = None
        for offer in offers:
            try:
                passed.append(self._estimate(submission, offer))
            except Refusal as refusal:
                first = first or refusal
        if first is not None and not passed:
            raise first
        return tuple(passed)

    def _estimate(self, submission: Submission, offer: Offer) -> Estimate:
        hours = submission.estimated_runtime_hours
        if hours is None:
            hours = self._defaults.estimated_runtime_hours
            if submission.run_seconds_max is not None:
                hours = min(hours, Decimal(submission.run_seconds_max) / 3600)
        return estimate(
            offer,
            self._terms_of(offer.provider),
            hours=hours,
            budget=submission.budget if submission.budget is not None else self._defaults.budget,
            policy=self._policy,
            now=self._clock.now(),
            run_seconds_max=submission.run_seconds_max,
            disk_gib=submission.request.disk_gib,
            egress_gib=submission.egress_gib,
            price_accepted=submission.accept_price is not None,
        )

    # --- budgets and command

    def _budgets(self, submission: Submission) -> tuple[Sequence[Budget], str | None]:
        charge_to = submission.charge_to or self._defaults.charge_to
        if charge_to is None:
            return (), None
        budgets = self._applying(charge_to)
        if not budgets:
            raise UnknownBudget(f"There is no budget for {charge_to!r}")
        return budgets, charge_to

    def _command(self, directory: Path) -> str:
        if directory.is_dir() and not (directory / "run.sh").is_file():
            raise UsageError(
                f"{directory} has no run.sh and no --command was given",
                cure="Say what to run: --command 'python3 main.py'",
            )
        return DEFAULT_COMMAND


def _listed(path: Path, index: int | None, request: ResourceRequest) -> Offer:
    """The entry of a saved list that was chosen by number, or else its first that is what was asked for."""
    offers = spot_list.read(path)
    if index is None:
        fitting = [offer for offer in offers if matches(offer, request)]
        if offers and not fitting:
            raise _no_match(offers, request, [])
        return spot_list.pick(fitting, 0, path)
    chosen = spot_list.pick(offers, index, path)
    if not matches(chosen, request):
        raise NoMatchingOffer(
            f"Entry {index} of {path.name}, {chosen} with {chosen.vcpus} vCPU and {chosen.memory_gib} GiB at"
            f" ${chosen.hourly_price:.4f}/hour, is not what was asked for",
            cure="Choose another entry with --index, or change what is asked for",
        )
    return chosen


def _check_room(budget: Budget, account: Account, best: Estimate) -> None:
    """Say early what the conditional write would say: for plans. The launch does not rely on this read."""
    if not budget.hard or best.worst_case <= account.available:
        return
    raise BudgetExceeded(
        f"Budget {budget.name} has ${account.available.shown(4)} available of"
        f" ${account.limit:.2f} (${account.held.shown(4)} held, ${account.spent.shown(4)} spent);"
        f" this launch would hold ${best.worst_case.shown(4)}"
    )


def _no_match(offered: Sequence[Offer], request: ResourceRequest, problems: Sequence[str]) -> NoMatchingOffer:
    """Say which bound shut out how many, so that the right one is relaxed."""
    if not offered:
        detail = f" ({'; '.join(problems)})" if problems else ""
        return NoMatchingOffer(f"No provider offers anything that was asked for{detail}")
    relaxed = {
        "--min-vcpu": replace(request, vcpus_min=1),
        "--max-vcpu": replace(request, vcpus_max=None),
        "--min-ram": replace(request, memory_gib_min=Decimal(0)),
        "--max-ram": replace(request, memory_gib_max=None),
        "--instance": replace(request, instance_type=None),
        "--region": replace(request, region=None),
        "--provider": replace(request, provider=None),
    }
    helps = [flag for flag, other in relaxed.items() if other != request and rank(offered, other)]
    cure = f"Relax {' or '.join(helps)}" if helps else NoMatchingOffer.default_cure
    first = rank(offered, ResourceRequest())[0]
    return NoMatchingOffer(
        f"None of {len(offered)} offers fits what was asked for; there is, for one, {first} with {first.vcpus} vCPU and"
        f" {first.memory_gib:f} GiB at ${first.hourly_price:.4f}/hour",
        cure=cure,
    )
