"""Planning: from a submission to the offers that pass the gate. Reads only; nothing is written anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

from ..errors import BudgetExceeded, NoMatchingOffer, PriceRefused, Refusal, UnknownBudget, UsageError
from ..ledger.holds import Account, Budget
from ..money import Money
from ..pricing import spot_list
from ..pricing.catalog import Catalog, Cost
from ..pricing.estimate import (
    RUN_SECONDS_MAX,
    Estimate,
    Policy,
    check_price,
    estimate,
    held_to,
    runtime_seconds,
    unfit_to_launch,
)
from ..pricing.finish import expected_total, usual
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest, matches, rank
from ..pricing.paths import PricePath
from ..pricing.quote import Circumstances, Quote, quote
from ..pricing.runtimes import History, Runtimes, from_history
from ..pricing.terms import Terms
from ..times import Clock
from . import agent
from .plan_file import plainly
from .staging import Manifest
from .submission import DEFAULT_COMMAND, Plan, Submission

OFFERS_TRIED_MAX = 5
"""How many offers a launch may fall back on, one after the other."""

ZONES_MAX = 16
"""More zones no region has; so many offers of one machine may lie in one region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a submission leaves open."""

    budget: Money | None
    estimated_runtime_hours: Decimal
    charge_to: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    """The offers to try, and where they were found. ``others``: an offer's like in another region, and its cost's ratio."""

    offers: Sequence[Offer]
    notes: Sequence[str] = ()
    catalogue: str | None = None
    others: Mapping[Offer, tuple[Offer, Decimal]] = field(default_factory=dict)

    def elsewhere(self, offer: Offer, expected: Money) -> tuple[Offer, Money] | None:
        other = self.others.get(offer)
        return None if other is None else (other[0], expected.times(other[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """How long the job takes: a number, or the finished runs of its name. ``longest`` caps what the gate compares."""

    stated: Runtimes | None
    stated_hours: Decimal
    history: History | None
    longest: Decimal
    checkpoint_seconds: int | None

    @classmethod
    def of(cls, submission: Submission, defaults: Defaults, history: Callable[[str], History]) -> _Work:
        bound = None if submission.run_seconds_max is None else Decimal(submission.run_seconds_max) / 3600
        longest = Decimal(RUN_SECONDS_MAX) / 3600 if bound is None else bound
        past = history(submission.name) if submission.runtime_from_history else None
        hours, says = submission.estimated_runtime_hours, "as stated"
        if hours is None:
            hours, says = defaults.estimated_runtime_hours, "the configured default"
            if bound is not None and bound < hours:
                hours, says = bound, "the longest it may run"
        stated = None if past is not None else Runtimes.stated(runtime_seconds(hours), f"{_shown(hours)} h, {says}")
        return cls(
            stated=stated,
            stated_hours=hours,
            history=past,
            longest=longest,
            checkpoint_seconds=submission.checkpoint_seconds,
        )

    def runtimes(self, offer: Offer | None) -> Runtimes:
        """What is known of the run time, on machines like ``offer``'s if that is known. Raises ``RuntimeUnknown``."""
        if self.stated is not None or self.history is None:
            assert self.stated is not None  # one or the other
            return self.stated
        overhead = 0 if offer is None else usual(offer.provider).seconds
        return from_history(self.history, offer, overhead_seconds=overhead, checkpoint_seconds=self.checkpoint_seconds)

    def hours(self, offer: Offer | None) -> Decimal:
        """What the gate compares: the stated hours, or what nine of ten runs stay within, boot and teardown included."""
        if self.history is None:
            return self.stated_hours
        overhead = 0 if offer is None else usual(offer.provider).seconds
        seconds = self.runtimes(offer).quantile(Decimal("0.9")) + overhead
        hours = (Decimal(seconds) / 3600).quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
        return min(hours, self.longest)


class Planner:
    """Answers submissions with plans.

    ``offers`` asks every provider at once and also says which of them failed. ``terms_of`` gives a provider's terms.
    ``applying`` finds the budgets that a charge draws on, and ``account`` their jars now. ``history`` knows the
    finished runs of a job name. ``catalog`` opens the catalogue, if there is one; ``launchable`` are the providers that
    are set up and can launch; ``prices`` is the past of an offer's price, where it is known.
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
        history: Callable[[str], History] = lambda name: History(name=name, runs=()),
        catalog: Callable[[], Catalog | None] = lambda: None,
        launchable: Callable[[], Collection[str]] = lambda: ("local",),
        prices: Callable[[Offer], PricePath | None] = lambda offer: None,
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._defaults = defaults
        self._offers = offers
        self._terms_of = terms_of
        self._applying = applying
        self._account = account
        self._inspect = inspect
        self._history = history
        self._catalog = catalog
        self._launchable = launchable
        self._prices = prices

    def plan(self, submission: Submission, *, tentative: bool = False) -> Plan:
        """The plan for a submission, or the refusal that launching it would meet.

        The gate comes first: an estimate that does not fit is refused before the job directory is walked.
        ``tentative``: prices that are too old, or only a reference, serve as well, and the plan says that a launch
        would be refused.
        """
        work = _Work.of(submission, self._defaults, self._history)
        found = self._candidates(submission, work)
        estimates = self._bound(submission, found.offers, work, tentative=tentative)
        best = estimates[0]
        budgets, charged_to = self._budgets(submission)
        accounts = tuple(self._account(budget) for budget in budgets)
        for budget, account in zip(budgets, accounts, strict=True):
            _check_room(budget, account, best)
        manifest = self._inspect(submission.directory, submission.exclude)
        command = submission.command or self._command(submission.directory)
        agent.check(command=command, image=submission.image, environment=submission.environment)
        refusal = None if submission.accept_price is not None else self._unfit(best.offer)
        quoted = self._quote(submission, best, work)
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
            offers_considered=len(found.offers),
            notes=tuple(found.notes),
            quote=quoted,
            elsewhere=found.elsewhere(best.offer, quoted.expected),
            catalogue=found.catalogue,
            refused=None if refusal is None else refusal.message,
        )

    def _quote(self, submission: Submission, best: Estimate, work: _Work) -> Quote:
        known = Circumstances(
            runtimes=work.runtimes(best.offer),
            prices=self._prices(best.offer) if best.offer.purchase_option is PurchaseOption.SPOT else None,
            checkpoint_seconds=submission.checkpoint_seconds,
            disk_gib=submission.request.disk_gib,
            egress_gib=submission.egress_gib,
        )
        return quote(best, self._terms_of(best.offer.provider), known)

    def _unfit(self, offer: Offer) -> PriceRefused | None:
        return unfit_to_launch(offer, policy=self._policy, now=self._clock.now())

    # --- offers

    def _candidates(self, submission: Submission, work: _Work) -> _Found:
        request = submission.request
        if submission.price_list is not None:
            chosen = _listed(submission.price_list, submission.index, request)
            return _Found([self._at_accepted_price(submission, chosen)])
        asked = {request.provider} if request.provider else set(self._launchable())
        catalog = None if asked == {"local"} else self._catalog()
        if catalog is None:
            offered, problems = self._offers(request)
            ranked = rank(offered, request)
            if not ranked:
                raise _no_match(len(offered), _among(offered), request, problems)
            return _Found([self._at_accepted_price(submission, offer) for offer in ranked[:OFFERS_TRIED_MAX]], problems)
        try:
            return self._in_catalogue(catalog, submission, work)
        finally:
            catalog.close()

    def _in_catalogue(self, catalog: Catalog, submission: Submission, work: _Work) -> _Found:
        """The offers that finishing costs least on, with the same machines in other regions.

        Where no provider is named, only those are asked that can be launched on, if there is one: what is planned without
        a word is what would be launched.
        """
        request, hours = submission.request, work.hours(None)

        def cost(offer: Offer) -> Money:
            return expected_total(
                offer,
                self._terms_of(offer.provider),
                hours=hours,
                disk_gib=request.disk_gib,
                egress_gib=submission.egress_gib,
                checkpoint_seconds=submission.checkpoint_seconds,
            )

        here = sorted(self._launchable())
        asked: list[str | None] = [request.provider] if request.provider or not here else [*here]
        offers: list[Offer] = []
        problems: list[str] = []
        for provider in asked:
            if provider == "local":
                local, problems = self._offers(replace(request, provider=provider))
                offers += rank(local, request)
            else:
                narrowed = replace(request, provider=provider)
                offers += catalog.cheapest_to_finish(narrowed, cost, hours=hours, limit=OFFERS_TRIED_MAX)
        if not offers:
            raise _no_match(catalog.version.offers, lambda other: catalog.cheapest(other, limit=1), request, problems)
        offers.sort(key=lambda offer: cost(offer).nanos)  # stable: equals stay in the order of rank
        chosen = [self._at_accepted_price(submission, offer) for offer in offers[:OFFERS_TRIED_MAX]]
        return _Found(
            chosen,
            problems,
            catalogue=catalog.version.id,
            others={
                offer: other for offer in chosen[:1] if (other := _elsewhere(catalog, request, offer, cost, hours))
            },
        )

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

    def _bound(
        self, submission: Submission, offers: Sequence[Offer], work: _Work, *, tentative: bool
    ) -> tuple[Estimate, ...]:
        """Every offer that passes the gate; when none does, the best one's refusal.

        A ``tentative`` plan takes what a launch would take, and only without that an offer whose price serves to plan.
        """
        first: Refusal | None = None
        for lenient in (False, True) if tentative else (False,):
            passed: list[Estimate] = []
            first = None
            for offer in offers:
                try:
                    passed.append(self._estimate(submission, offer, work, lenient=lenient))
                except Refusal as refusal:
                    first = first or refusal
            if passed:
                return tuple(passed)
        assert first is not None  # there is at least one offer, and it was refused
        raise first

    def _estimate(self, submission: Submission, offer: Offer, work: _Work, *, lenient: bool) -> Estimate:
        return estimate(
            offer,
            self._terms_of(offer.provider),
            hours=work.hours(offer),
            budget=submission.budget if submission.budget is not None else self._defaults.budget,
            policy=self._policy,
            now=self._clock.now(),
            run_seconds_max=submission.run_seconds_max,
            disk_gib=submission.request.disk_gib,
            egress_gib=submission.egress_gib,
            price_accepted=lenient or submission.accept_price is not None,
        )

    def offer_today(self, submission: Submission, planned: Offer) -> Offer | None:
        """What was planned with, as it is offered today: the same machine, bought the same way in the same zone."""
        if submission.accept_price is not None:
            return planned  # a person answers for the price, for as long as the plan is good
        request = ResourceRequest(
            provider=planned.provider,
            region=planned.region,
            instance_type=planned.instance_type,
            purchase_options=frozenset({planned.purchase_option}),
        )
        if submission.price_list is not None:
            offers: Sequence[Offer] = spot_list.read(submission.price_list)
        elif planned.provider != "local" and (catalog := self._catalog()) is not None:
            try:
                offers = catalog.cheapest(request, limit=ZONES_MAX)
            finally:
                catalog.close()
        else:
            offers = self._offers(request)[0]
        return next((each for each in rank(offers, request) if each.zone == planned.zone), None)

    def again(self, submission: Submission, planned: Estimate, offer: Offer) -> Estimate:
        """What was planned, with today's offer. Raises ``PriceRefused`` or ``BudgetExceeded`` when it no longer fits."""
        check_price(offer, policy=self._policy, now=self._clock.now(), accepted=submission.accept_price is not None)
        return held_to(
            planned,
            offer,
            self._terms_of(offer.provider),
            disk_gib=submission.request.disk_gib,
            egress_gib=submission.egress_gib,
        )

    # --- budgets and command

    def room(self, submission: Submission, best: Estimate) -> tuple[Sequence[Budget], str | None]:
        """The budgets that a submission is charged to. Raises ``BudgetExceeded`` when one has too little left for it."""
        budgets, charged_to = self._budgets(submission)
        for budget in budgets:
            _check_room(budget, self._account(budget), best)
        return budgets, charged_to

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


def kept_of(plan: Plan) -> dict[str, str]:
    """What a launch keeps of its plan with the job: the quote as JSON with amounts as text, and the catalogue's version.

    The price, its age and its source have columns of their own.
    """
    kept = {"quote": json.dumps(plan.quote.facts(), sort_keys=True, default=plainly)}
    return kept if plan.catalogue is None else {**kept, "catalogue_version": plan.catalogue}


def _shown(hours: Decimal) -> str:
    text = f"{hours:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _listed(path: Path, index: int | None, request: ResourceRequest) -> Offer:
    """The entry of a saved list that was chosen by number, or else its first that is what was asked for."""
    offers = spot_list.read(path)
    if index is None:
        fitting = [offer for offer in offers if matches(offer, request)]
        if offers and not fitting:
            raise _no_match(len(offers), _among(offers), request, [], listed=path)
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


Among = Callable[[ResourceRequest], Sequence[Offer]]


def _among(offers: Sequence[Offer]) -> Among:
    return lambda request: rank(offers, request)


def _no_match(
    count: int, among: Among, request: ResourceRequest, problems: Sequence[str], *, listed: Path | None = None
) -> NoMatchingOffer:
    """Say which bound shut out how many, so that the right one is relaxed."""
    if not count:
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
    helps = [flag for flag, other in relaxed.items() if other != request and among(other)]
    cure = f"Relax {' or '.join(helps)}" if helps else NoMatchingOffer.default_cure
    if listed is not None:
        cure += f"; or make a new list with find_cheapest_instance.py, or remove {listed} to choose from all offers"
    first = among(ResourceRequest())[0]
    where = f" in {listed}" if listed is not None else ""
    return NoMatchingOffer(
        f"None of {count:,} offers{where} fits what was asked for; there is, for one, {first} with {first.vcpus} vCPU and"
        f" {first.memory_gib:f} GiB at ${first.hourly_price:.4f}/hour",
        cure=cure,
    )


def _elsewhere(
    catalog: Catalog, request: ResourceRequest, offer: Offer, cost: Cost, hours: Decimal
) -> tuple[Offer, Decimal] | None:
    """The same machine, bought in the same way, where finishing costs least outside the offer's region."""
    same = replace(
        request,
        provider=offer.provider,
        region=None,
        instance_type=offer.instance_type,
        purchase_options=frozenset({offer.purchase_option}),
    )
    found = catalog.cheapest_to_finish(same, cost, hours=hours, limit=ZONES_MAX + 1)
    other = next((each for each in found if each.region != offer.region), None)
    return None if other is None else (other, Decimal(cost(other).nanos) / cost(offer).nanos)
