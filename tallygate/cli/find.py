"""``find_cheapest_instance.py`` and ``tallygate find``: search every provider's offers and save the best as a price list."""

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .. import config as configuration
from ..errors import NoMatchingOffer, UsageError
from ..pricing.market import budget_ceiling
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest
from . import flags, machine
from .machine import option
from .options import ConfigFile, Json
from .output import is_terminal, note, show_json
from .shell import Interrupted

if TYPE_CHECKING:
    from ..money import Money
    from ..pricing.market import Market

_BUDGET, _ANSWER = "Budget options", "Answer options"

SORTS = ("total", "price", "core", "memory")
LIMIT_MAX = 1_000


def find(
    budget: Annotated[
        str | None, option("--budget", panel=_BUDGET, metavar="USD", help="Only what this pays for the runtime.")
    ] = None,
    estimated_runtime: Annotated[
        str | None,
        option("--estimated-runtime", panel=_BUDGET, metavar="HOURS", help="How long it should run (default: 2.0)."),
    ] = None,
    max_price_per_hour: Annotated[
        str | None, option("--max-price-per-hour", panel=_BUDGET, metavar="USD", help="No machine dearer than this.")
    ] = None,
    min_vcpu: machine.MinVcpu = None,
    max_vcpu: machine.MaxVcpu = None,
    min_ram: machine.MinRam = None,
    max_ram: machine.MaxRam = None,
    gpu: Annotated[
        str | None,
        option("--gpu", panel=machine.PANEL, metavar="MODEL[:N]", help="GPU model, such as A100, and how many."),
    ] = None,
    arch: Annotated[
        str | None, option("--arch", panel=machine.PANEL, metavar="NAME", help="Processor: x86_64 or arm64.")
    ] = None,
    provider: Annotated[
        str | None, option("--provider", panel=machine.PANEL, metavar="NAME", help="Only local, AWS, GCP or Azure.")
    ] = None,
    region: Annotated[
        str | None, option("--region", panel=machine.PANEL, metavar="REGION", help="Only this region.")
    ] = None,
    spot: Annotated[
        bool, option("--spot", panel=machine.PANEL, help="Only spot machines, which may be taken back.")
    ] = False,
    on_demand: Annotated[bool, option("--on-demand", panel=machine.PANEL, help="Only machines that stay.")] = False,
    sort: Annotated[
        str,
        option(
            "--sort",
            panel=_ANSWER,
            metavar="BY",
            help="total: expected cost of finishing; price: per hour; core: per vCPU; memory: per GiB.",
        ),
    ] = "total",
    limit: Annotated[str, option("--limit", panel=_ANSWER, metavar="N", help="At most so many.")] = "20",
    output: Annotated[
        str | None,
        option("--output", panel=_ANSWER, metavar="FILE", help="Save the list there, not in spot_prices.json."),
    ] = None,
    no_interactive: Annotated[
        bool, option("--no-interactive", panel=_ANSWER, help="Ask nothing, also on a terminal.")
    ] = False,
    csv: Annotated[bool, option("--csv", panel=_ANSWER, help="Print CSV that no spreadsheet runs.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Find the cheapest machine that fits, over all providers, regions and zones.

    The best are listed and saved in spot_prices.json, where cloud_run.py finds them. On a terminal you may choose which
    one comes first. When nothing fits, the exit code is 1 and the answer says what to relax.

    \b
    Examples:
      python find_cheapest_instance.py --no-interactive
      python find_cheapest_instance.py --budget 5.00 --estimated-runtime 3.0 --min-vcpu 16 --min-ram 64
      python find_cheapest_instance.py --gpu A100:8 --spot --json
    """
    wanted = _Wanted(locals())  # every flag is read before anything else happens
    settings = configuration.load(config)
    search = _Search(wanted, settings)
    offers = search.best()
    path = Path(output or settings.prices.file)
    if not (json or csv):
        _show(search, offers)
        if not no_interactive and is_terminal(sys.stdin) and is_terminal(sys.stdout):
            offers = _with_choice_first(search, offers, path)
    from ..pricing import spot_list

    spot_list.write(path, offers)
    if json:
        show_json(search.as_dict(offers))
    elif csv:
        _show_csv(search, offers)
    note(f"Saved {len(offers)} offer{'' if len(offers) == 1 else 's'} in {path}, best first.")
    return 0


class _Wanted:
    """The flags of one search, read and checked, before configuration fills what they leave open."""

    def __init__(self, given: dict[str, Any]) -> None:
        if given["json"] and given["csv"]:
            raise UsageError("--json and --csv are two answers", cure="Give one of them")
        flags.money("--budget", given["budget"])
        flags.money("--max-price-per-hour", given["max_price_per_hour"])
        self.given = given
        self.hours = flags.hours("--estimated-runtime", given["estimated_runtime"])
        self.machine = machine.Machine(given)
        self.gpu_model, self.gpus = _gpu(given["gpu"])
        self.architecture = flags.choice("--arch", given["arch"], ("x86_64", "arm64"))
        self.sort = flags.choice("--sort", given["sort"], SORTS) or "total"
        self.limit = flags.whole("--limit", given["limit"], low=1, high=LIMIT_MAX)
        flags.text("--output", given["output"], at_most=4_000)
        self.options = frozenset(PurchaseOption)
        if given["spot"] != given["on_demand"]:
            self.options = frozenset({PurchaseOption.SPOT if given["spot"] else PurchaseOption.ON_DEMAND})


class _Search:
    """One search: what is looked for, where, and what finishing is expected to cost there."""

    def __init__(self, wanted: _Wanted, config: configuration.Config) -> None:
        from ..app.market import open_market
        from ..times import SystemClock

        self.config = config
        self.sort, self.limit = wanted.sort, wanted.limit
        self.hours: Decimal = wanted.hours or config.defaults.estimated_runtime
        self.budget = flags.money("--budget", wanted.given["budget"], config.currency)
        self.price_max = flags.money("--max-price-per-hour", wanted.given["max_price_per_hour"], config.currency)
        self.request = self._request(wanted)
        clock = SystemClock()
        self.now = clock.now()
        self.market: Market = open_market(config, clock)
        self._terms: dict[str, Any] = {}

    def _request(self, wanted: _Wanted) -> ResourceRequest:
        request = wanted.machine.request(
            self.config,
            gpus_min=wanted.gpus,
            gpu_model=wanted.gpu_model,
            architecture=wanted.architecture,
            purchase_options=wanted.options,
        )
        ceilings = [self.price_max, request.hourly_price_max]
        if self.budget is not None:
            ceilings.append(budget_ceiling(self.budget, self.hours))
        return replace(request, hourly_price_max=min((one for one in ceilings if one is not None), default=None))

    def best(self) -> list[Offer]:
        """What was looked for, best first. Raises ``NoMatchingOffer`` saying what to relax."""
        from ..pricing.catalog import Per

        if self.sort == "total":
            found = self.market.cheapest_to_finish(self.request, self.total, hours=self.hours, limit=self.limit)
        else:
            per = {"price": Per.HOUR, "core": Per.VCPU, "memory": Per.GIB}[self.sort]
            found = self.market.cheapest(self.request, limit=self.limit, per=per)
        if not found:
            raise self._nothing_fits()
        return found

    def total(self, offer: Offer) -> "Money":
        """The expected cost of finishing on an offer."""
        from ..pricing.finish import expected_total

        provider = offer.provider
        known = self._terms.get(provider)
        if known is None:
            from ..app import market

            own = machine.cloud(self.config, provider)
            disk = own.disk_size_gb if own is not None else 0
            known = self._terms[provider] = (market.terms(self.config, provider), disk)
        terms, disk = known
        return expected_total(offer, terms, hours=self.hours, disk_gib=disk, egress_gib=0)

    def as_dict(self, offers: list[Offer]) -> dict[str, object]:
        """The answer for programs: the list's rows with what finishing costs, and which prices they come from."""
        version = self.market.catalog.version
        return {
            "estimated_runtime": self.hours,
            "sorted_by": self.sort,
            "catalogue": {"version": version.id, "made_at": version.made_at, "offers": version.offers},
            "offers": [self.row(offer) for offer in offers],
        }

    def row(self, offer: Offer) -> dict[str, object]:
        from ..pricing import spot_list

        return {**spot_list.row(offer), "expected_total": self.total(offer)}

    def _nothing_fits(self) -> NoMatchingOffer:
        from .find_shown import nothing_fits

        return nothing_fits(self.market, self.request, budget=self.budget, hours=self.hours, price_max=self.price_max)


def _gpu(text: str | None) -> tuple[str | None, int]:
    if text is None:
        return None, 0
    model, colon, count = text.partition(":")
    if not model.strip() or not model.isprintable() or len(model) > 60 or (colon and not count):
        raise UsageError(f"--gpu {text[:60]!r} is not MODEL or MODEL:N", cure="Write it like A100 or A100:8")
    return model.strip(), flags.whole("--gpu MODEL:N", count, low=1, high=1_000) if colon else 1


# --- showing


def _show(search: _Search, offers: list[Offer]) -> None:
    from .find_shown import show_offers

    show_offers(offers, search.total, now=search.now)


def _show_csv(search: _Search, offers: list[Offer]) -> None:
    from ..reports.render import csv_lines
    from .find_shown import CSV_COLUMNS

    rows = [search.row(offer) for offer in offers]
    sys.stdout.writelines(csv_lines([[row.get(column) for column in CSV_COLUMNS] for row in rows], CSV_COLUMNS))


def _with_choice_first(search: _Search, offers: list[Offer], path: Path) -> list[Offer]:
    from .find_shown import ask

    try:
        chosen = ask(search.market, search.request, search.total)
    except KeyboardInterrupt:
        raise Interrupted(f"Nothing was chosen, and {path} is as it was.", "") from None
    if chosen is None:
        return offers
    return [chosen, *(offer for offer in offers if offer != chosen)]
