"""``tallygate prices import``: a published price list from a file or an address becomes part of the catalogue."""

from collections.abc import Sequence
from dataclasses import replace as changed
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as configuration
from ..errors import PriceRefused
from ..times import instant, shown
from . import flags, prices
from .options import ConfigFile, Json
from .output import note, show_columns, show_json, warn

if TYPE_CHECKING:
    from ..pricing.source import Sheet


def take_in(
    place: Annotated[str, typer.Argument(metavar="FILE-OR-URL", help="A published list: a file, or an https address.")],
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="NAME", help="Whose prices they are, where the list does not say."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="DATE", help="The day the prices are of, where the list does not say."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also in the place of prices that were read from the cloud itself.")
    ] = False,
    accept_smaller: Annotated[
        bool, typer.Option("--accept-smaller", help="Also in the place of a list more than twice as long.")
    ] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Take in a published list: prices as a SkyPilot catalogue (CSV), or interruption rates as spotinfo has them (JSON).

    Every row is judged like those of a cloud, and what is left out is counted by its reason. Imported prices are reference
    prices: to compare and plan with, and nothing is launched on one. A market that was read from its cloud is left as it is.

    \b
    Examples:
      tallygate prices import vms.csv --provider aws --as-of 2026-11-01
      tallygate prices import https://example.org/catalogs/aws/vms.csv --as-of 2026-11-01
    """
    found = prices.tools(configuration.load(config))
    if found.catalog is None:
        raise PriceRefused("There is no catalogue to import into in this installation")
    day = None if as_of is None else _day(as_of)
    name = flags.text("FILE-OR-URL", place, at_most=2_000) or ""
    from ..pricing import published

    content = published.read(
        name,
        fetch=found.fetch,
        now=found.clock.now(),
        provider=None if provider is None else provider.lower(),
        as_of=day,
    )
    for reason, count in sorted(content.refused.items()):
        note(f"{content.place}: refused {count:,} x {reason}")
    if content.advisor is not None:
        known = found.catalog.sheets("aws")
        rated = [new for old in known if (new := published.with_bands(old, content.advisor)) != old]
        if not rated:
            note(f"{content.place}: tells nothing new about the spot machines of AWS in the catalogue")
        return _show(found, rated, failed=0, as_json=json)
    fit, failed = _judged(found, content.sheets, replace=replace, accept_smaller=accept_smaller)
    return _show(found, fit, failed=failed, as_json=json)


def _judged(
    found: prices.Tools, sheets: "Sequence[Sheet]", *, replace: bool, accept_smaller: bool
) -> "tuple[list[Sheet], int]":
    """What is fit to take in, as reference prices, and how many markets are not."""
    from ..pricing import guard

    assert found.catalog is not None  # asked before
    parts = {(part.provider, part.region): part for part in found.catalog.parts()}
    references = found.catalog.reference_offers()
    fit: list[Sheet] = []
    failed = 0
    for sheet in sheets:
        market = (sheet.provider, sheet.region)
        part = parts.get(market)
        if part is not None and part.offers > references.get(market, 0) and not replace:
            note(f"{sheet.provider} {sheet.region}: left as it is, read from the cloud at {shown(part.read_at)}")
            continue
        dated = changed(sheet, offers=tuple(changed(offer, is_reference=True) for offer in sheet.offers))
        try:
            former = 0 if part is None else part.offers
            fit.append(guard.inspect(dated, now=found.clock.now(), former=former, accept_smaller=accept_smaller))
        except PriceRefused as error:
            failed += 1
            warn(f"{error.message}. {error.cure}")
    return fit, failed


def _show(found: prices.Tools, fit: "Sequence[Sheet]", *, failed: int, as_json: bool) -> int:
    assert found.catalog is not None  # asked before
    version = found.catalog.publish(fit) if fit else found.catalog.version()
    if as_json:
        show_json(
            {
                "version": None if version is None else version.id,
                "markets": [
                    {
                        "provider": each.provider,
                        "region": each.region,
                        "offers": len(each.offers),
                        "refused": each.refused,
                        "notes": each.notes,
                    }
                    for each in fit
                ],
            }
        )
    elif fit:
        show_columns(
            [
                (
                    each.provider,
                    each.region,
                    len(each.offers),
                    sum(each.refused.values()) or None,
                    sum(offer.interruptions is not None for offer in each.offers),
                )
                for each in fit
            ],
            ("PROVIDER", "REGION", "OFFERS", "REFUSED", "RATED"),
        )
        for each in fit:
            for reason, count in sorted(each.refused.items()):
                note(f"{each.provider} {each.region}: refused {count:,} x {reason}")
    else:
        note("Nothing was imported")
    return 1 if failed else 0


def _day(text: str) -> datetime:
    """A day, or a moment of one."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return instant(text)
