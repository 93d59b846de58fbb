"""``tallygate prices``: read them, look at what there is, what they have been, and take in published lists."""

import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from .. import config as configuration
from ..errors import PriceRefused, UnknownProvider, UsageError
from ..times import Clock, SystemClock, duration, shown
from . import flags
from .options import ConfigFile, Json
from .output import note, progress, show, show_columns, show_json, warn
from .program import Entry, Menu
from .shell import Interrupted

if TYPE_CHECKING:
    from ..config import Config
    from ..pricing.catalog import Part, Version
    from ..pricing.refresh import Report, Wanted
    from ..pricing.source import PriceSource, Sheet

ENTRIES: Mapping[str, Entry] = {
    "refresh": Entry(f"{__name__}:refresh", "Read the clouds' prices into the catalogue and the history."),
    "show": Entry(f"{__name__}:show_catalog", "What the catalogue holds, how old it is, what was refused."),
    "history": Entry("tallygate.cli.price_history:history", "What a machine type has cost, drawn and in figures."),
    "import": Entry("tallygate.cli.price_import:take_in", "Take in a published price list from a file or an address."),
}
MENU = Menu("Prices: read them from the clouds, and see what they are and were.", ENTRIES)

GO_ON = "Go on with: tallygate prices refresh"


class CatalogFile(Protocol):
    """The catalogue as these commands need it: ``pricing.refresh.CatalogWriter``, and what it holds."""

    def parts(self) -> "Sequence[Part]": ...

    def publish(self, sheets: "Sequence[Sheet]") -> "Version": ...

    def version(self) -> "Version | None":
        """The version in place; None when there is none."""
        ...

    def sheets(self, provider: str) -> "Sequence[Sheet]":
        """What is published of a provider, as it was given."""
        ...

    def reference_offers(self) -> Mapping[tuple[str, str], int]:
        """How many offers of a market are reference prices."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What these commands work with.

    ``sources`` makes those who are asked for prices; only a refresh does, because their SDKs are slow to load. ``catalog`` None:
    there is none yet, and none can be made. ``fetch`` reads an address.
    """

    sources: "Callable[[], Sequence[PriceSource]]"
    catalog: CatalogFile | None
    fetch: Callable[[str], bytes]
    clock: Clock


def tools(settings: "Config") -> Tools:
    """The tools of an installation."""
    from ..app.market import price_catalog, price_sources, web_fetcher

    clock = SystemClock()
    return Tools(
        sources=lambda: price_sources(settings, clock),
        catalog=price_catalog(settings, clock),
        fetch=web_fetcher(clock),
        clock=clock,
    )


# --- refresh


def refresh(
    provider: Annotated[
        list[str] | None, typer.Option("--provider", metavar="NAME", help="Only this provider; repeatable.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="Only this region.")] = None,
    max_age: Annotated[
        str, typer.Option("--max-age", metavar="HOURS", help="What was read since is fresh and not read again.")
    ] = "1",
    force: Annotated[bool, typer.Option("--force", help="Read everything again, however fresh.")] = False,
    backfill: Annotated[
        bool | None,
        typer.Option(
            "--backfill/--no-backfill",
            help="Also read past prices, up to 90 days; by default when a region is read for the first time.",
        ),
    ] = None,
    accept_smaller: Annotated[
        bool,
        typer.Option("--accept-smaller", help="Take a market that has lost more than half of its offers for true."),
    ] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Read the clouds' prices into the catalogue and the history.

    Regions are read side by side and each is published whole. What fails is named, keeps its earlier prices with their age, and
    makes the exit code 3. Ended early, a refresh publishes what is whole; the next one goes on there.

    A cloud is asked as whoever is signed in with its own tools: aws, gcloud or az. Azure also needs the setting
    azure.subscription_id. A cloud where nobody is signed in is passed over, unless --provider names it.

    \b
    Examples:
      tallygate prices refresh
      tallygate prices refresh --provider aws --region us-east-1 --force
    """
    from ..pricing.refresh import Outcome, Wanted

    hours = flags.hours("--max-age", max_age)
    assert hours is not None  # it has a default
    wanted = Wanted(
        providers=None if not provider else frozenset(name.lower() for name in provider),
        region=flags.text("--region", region, at_most=120),
        max_age=None if force else timedelta(seconds=int(hours * 3600)),
        back_fill=backfill,
        accept_smaller=accept_smaller,
    )
    settings = configuration.load(config)
    report = _carry_out(wanted, tools(settings), settings)
    if json:
        show_json(_report_for_programs(report))
    else:
        _show_report(report)
    if report.interrupted:
        missing = report.of(Outcome.NOT_REACHED)
        named = ", ".join(map(str, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        published = len(report.of(Outcome.READ))
        raise Interrupted(
            f"{published} of {published + len(missing)} markets are published."
            f" Missing, with their earlier prices if any: {named}",
            GO_ON,
        )
    return report.exit_code


def _carry_out(wanted: "Wanted", found: Tools, settings: "Config") -> "Report":
    from ..app.market import history_file
    from ..pricing.refresh import refresh as carry_out
    from ..store.price_history import PriceHistory

    if found.catalog is None:
        raise PriceRefused("No price source is set up", cure="Name a price list with: tallygate prices import")
    _check_installed(wanted)
    if not sys.warnoptions:
        # SDKs warn their builders, and silence each other's warnings in a way that fails when threads load them side by side.
        warnings.simplefilter("ignore")
    sources = found.sources()
    file, anywhere = str(history_file(settings)), settings.store.allow_network_files
    with closing(PriceHistory.open(file, allow_network_files=anywhere)) as history, _stopping() as stop:
        return carry_out(sources, found.catalog, history, wanted=wanted, clock=found.clock, say=progress(), stop=stop)


def _check_installed(wanted: "Wanted") -> None:
    from ..app.market import sdk_is_missing

    missing = sorted(name for name in wanted.providers or () if sdk_is_missing(name))
    if missing:
        raise UsageError(
            f"What reads the prices of {' and '.join(missing)} is not installed",
            cure=f"Install it: pip install 'tallygate[{','.join(missing)}]'",
        )


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Control-C asks to stop; a second one stops at once."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        note("Ending: publishing what is whole")

    former = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, former)


def _show_report(report: "Report") -> None:
    from ..pricing.refresh import Outcome

    read = report.of(Outcome.READ)
    if read:
        show_columns(
            [
                (
                    each.provider,
                    each.region,
                    each.offers,
                    sum(each.refused.values()) or None,
                    None if each.moves is None else each.moves.up,
                    None if each.moves is None else each.moves.down,
                    None if each.moves is None else each.moves.past or None,
                    each.seconds,
                )
                for each in read
            ],
            ("PROVIDER", "REGION", "OFFERS", "REFUSED", "UP", "DOWN", "PAST", "SECONDS"),
            expendable=("SECONDS", "PAST", "DOWN", "UP"),
        )
    refused = Counter[str]()
    for each in read:
        refused.update(each.refused)
    for reason, count in refused.most_common():
        note(f"Refused: {count:,} x {reason}")
    for each in read:
        for words in each.notes:
            warn(f"{each}: {words}")
    fresh = report.of(Outcome.FRESH)
    if fresh:
        note(f"{len(fresh)} markets are fresh and were not read again")
    passed_over = report.of(Outcome.NOT_SET_UP)
    for each in passed_over:
        note(f"{each.provider} is not set up: {each.reason}. {each.cure}".rstrip())
    for each in report.of(Outcome.FAILED):
        stays = "no earlier prices"
        if each.old_read_at is not None:
            day = shown(each.old_read_at)
            stays = f"prices of {day} stay" if each.region else f"its earlier prices stay, the newest of {day}"
        warn(f"{each}: {each.reason} ({stays}). {each.cure}".rstrip())
    if report.version is not None:
        note(f"Catalogue {report.version.id}: {report.version.offers:,} offers")
    if len(passed_over) == len(report.markets):
        warn("No cloud is set up, so no prices were read. What was known before stays: tallygate prices show")


def _report_for_programs(report: "Report") -> dict[str, object]:
    return {
        "version": None if report.version is None else report.version.id,
        "offers": None if report.version is None else report.version.offers,
        "interrupted": report.interrupted,
        "markets": [
            {
                "provider": each.provider,
                "region": each.region or None,
                "outcome": each.outcome,
                "offers": each.offers,
                "refused": each.refused,
                "notes": each.notes,
                "seconds": each.seconds,
                "up": None if each.moves is None else each.moves.up,
                "down": None if each.moves is None else each.moves.down,
                "appeared": None if each.moves is None else each.moves.appeared,
                "gone": None if each.moves is None else each.moves.gone,
                "past": None if each.moves is None else each.moves.past,
                "reason": each.reason or None,
                "cure": each.cure or None,
                "earlier_read_at": each.old_read_at,
            }
            for each in report.markets
        ],
    }


# --- show


def show_catalog(
    provider: Annotated[str | None, typer.Option("--provider", metavar="NAME", help="Only this provider.")] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """What the catalogue holds: its version, every market with its age and source, what was refused, what is reference.

    A reference price is a dated figure to compare and plan with; nothing is launched on one.

    \b
    Example:
      tallygate prices show --provider aws
    """
    found = tools(configuration.load(config))
    version = None if found.catalog is None else found.catalog.version()
    if found.catalog is None or version is None:
        raise PriceRefused("No prices have been read yet", cure="Read them with: tallygate prices refresh")
    every = found.catalog.parts()
    only = None if provider is None else provider.lower()
    parts = [part for part in every if only in (None, part.provider)]
    if not parts:
        raise UnknownProvider(
            f"The catalogue has no prices of {provider}",
            cure=f"It has those of: {', '.join(sorted({part.provider for part in every}))}",
        )
    references = found.catalog.reference_offers()
    if json:
        show_json(
            {
                "version": version.id,
                "made_at": version.made_at,
                "offers": version.offers,
                "reference_offers": sum(references.values()),
                "markets": [
                    {
                        "provider": part.provider,
                        "region": part.region,
                        "read_at": part.read_at,
                        "source": part.source,
                        "offers": part.offers,
                        "reference_offers": references.get((part.provider, part.region), 0),
                        "refused": part.refused,
                    }
                    for part in parts
                ],
            }
        )
        return
    now = found.clock.now()
    show_columns(
        [
            (
                part.provider,
                part.region,
                part.offers,
                references.get((part.provider, part.region)),
                part.refused or None,
                _age(now - part.read_at),
                part.source,
            )
            for part in parts
        ],
        ("PROVIDER", "REGION", "OFFERS", "REFERENCE", "REFUSED", "AGE", "SOURCE"),
        expendable=("SOURCE", "REFUSED", "REFERENCE"),
    )
    total = sum(references.values())
    if total == version.offers:
        note("These are reference prices, to compare and plan with. Read today's with: tallygate prices refresh")
    share = f", {total:,} of them reference prices" if total else ""
    show(f"Version {version.id} of {shown(version.made_at)}: {version.offers:,} offers{share}")


def _age(span: timedelta) -> str:
    return duration(max(0, span // timedelta(seconds=1)))
