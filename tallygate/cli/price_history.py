"""``tallygate prices history``: what a machine type has cost, as figures, as a drawing, and as rows for other programs."""

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as configuration
from ..errors import PriceRefused, StoreMissing, UsageError
from ..times import Period
from . import flags, prices
from .options import ConfigFile, Json
from .output import is_terminal, note, show, show_columns, show_json

if TYPE_CHECKING:
    from ..money import Money
    from ..pricing.history import Path, Statistics
    from ..store.price_history import PriceHistory

DAYS_MAX = 3_650
_WIDTH = 80
"""Where nobody can say how wide it may be."""


def history(
    instance_type: Annotated[str, typer.Argument(metavar="TYPE", help="Instance type, such as r5.4xlarge.")],
    provider: Annotated[str | None, typer.Option("--provider", metavar="NAME", help="Only this provider.")] = None,
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="Only this region.")] = None,
    zone: Annotated[str | None, typer.Option("--zone", metavar="NAME", help="Only this zone.")] = None,
    days: Annotated[str, typer.Option("--days", metavar="N", help="How many days back.")] = "30",
    below: Annotated[
        str | None, typer.Option("--below", metavar="USD", help="Also the share of time below this hourly price.")
    ] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Spot prices (the default).")] = False,
    on_demand: Annotated[bool, typer.Option("--on-demand", help="On-demand prices.")] = False,
    draw: Annotated[bool, typer.Option("--plot", help="Draw even when this is not a terminal.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the prices as CSV, one span of time a line.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """What a machine type has cost where: quantiles by time, how much it moved, how much of the time is known.

    VOLATILITY is the mean over neighbouring days of the change, in percent of the larger of the two days' last prices. KNOWN is
    the share of the time for which a reading vouches; prices that nobody looked at for more than a day are unknown.

    \b
    Examples:
      tallygate prices history r5.4xlarge
      tallygate prices history r5.4xlarge --region us-east-1 --days 90 --below 0.35
      tallygate prices history Standard_D4as_v5 --on-demand --csv
    """
    from ..pricing.history import statistics
    from ..pricing.offers import PurchaseOption

    if csv and json:
        raise UsageError("--csv and --json exclude each other", cure="Keep one of them")
    back = flags.whole("--days", days, low=1, high=DAYS_MAX)
    threshold = flags.money("--below", below)
    name = flags.text("TYPE", instance_type, at_most=120) or ""
    options = [PurchaseOption.SPOT] * (spot or not on_demand) + [PurchaseOption.ON_DEMAND] * on_demand
    now = prices.tools(configuration.load(config)).clock.now()
    with closing(_open(config)) as known:
        name = _known_type(known, name, provider, region)
        window = Period(now - timedelta(days=back), now)
        found = [
            path
            for option in options
            for path in known.paths(name, window, provider=provider, region=region, zone=zone, purchase_option=option)
        ]
        if not found:
            _refuse(known, name, window, [option.value for option in options])
    said = [(path, statistics(path, below=threshold)) for path in found]
    if json:
        show_json([_for_programs(path, figures, threshold) for path, figures in said])
    elif csv:
        _show_csv(found)
    else:
        _show(name, back, said, threshold, draw=draw)


def _open(config: str | None) -> "PriceHistory":
    from ..app.market import history_file
    from ..store.price_history import PriceHistory

    settings = configuration.load(config)
    try:
        return PriceHistory.open(
            str(history_file(settings)), create=False, allow_network_files=settings.store.allow_network_files
        )
    except StoreMissing:
        raise PriceRefused("No prices have been read yet", cure="Read them with: tallygate prices refresh") from None


def _known_type(known: "PriceHistory", name: str, provider: str | None, region: str | None) -> str:
    """The type as it is written in the history, whatever its capitals; the refusal that names near ones otherwise."""
    types = known.types(provider=provider, region=region)
    if name in types:
        return name
    same = [each for each in types if each.casefold() == name.casefold()]
    if same:
        return same[0]
    where = " ".join(filter(None, (provider, region)))
    if not types:
        raise PriceRefused(
            f"Nothing is known of {where or 'any market'} yet", cure="Read prices with: tallygate prices refresh"
        )
    near = get_close_matches(name, types, n=4, cutoff=0.5)
    raise PriceRefused(
        f"Nothing is known about {name}" + (f" at {where}" if where else ""),
        cure=f"Did you mean {', '.join(near)}?" if near else f"{len(types):,} types are known, such as {types[0]}",
    )


def _refuse(known: "PriceHistory", name: str, window: Period, options: Sequence[str]) -> None:
    places = sorted({f"{path.pool} ({path.pool.region})" for path in known.paths(name, window)})
    raise PriceRefused(
        f"{name} has no {' or '.join(options)} price on record there",
        cure=f"On record: {', '.join(places[:8])}" if places else "Look further back with --days",
    )


# --- showing


def _show(
    name: str, days: int, said: "Sequence[tuple[Path, Statistics]]", threshold: "Money | None", *, draw: bool
) -> None:
    from ..pricing.history import percent
    from ..reports.price_plot import PATHS_MAX, braille_fits, plot
    from ..reports.render import amount

    on_screen = is_terminal(sys.stdout)
    # The cheapest first: it is what people look for, and what is drawn when there are too many to draw.
    ordered = sorted(said, key=_cheapest_first)
    show(f"{name}, the last {days} days, US dollars an hour")
    if on_screen or draw:
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if on_screen else _WIDTH
        lines = plot([path for path, _ in ordered], width=width, braille=braille_fits(sys.stdout.encoding))
        show("\n".join(["", *lines, ""]) if lines else "Nothing is known of this time")
        if len(ordered) > PATHS_MAX:
            note(f"The cheapest {PATHS_MAX} of {len(ordered)} are drawn")
    headers = ["POOL", "NOW", "P50", "P95", "MIN", "MAX", "VOLATILITY", "CHANGES", "KNOWN", "LAST READ"]
    rows: list[list[object]] = [
        [
            path.pool,
            path.spans[-1].price,
            figures.p50,
            figures.p95,
            figures.low,
            figures.high,
            _shown(percent(figures.volatility)),
            figures.changes,
            _shown(percent(figures.coverage)),
            path.confirmed_at,
        ]
        for path, figures in ordered
    ]
    if threshold is not None:
        headers.insert(6, f"BELOW {amount(threshold)}")
        for row, (_, figures) in zip(rows, ordered, strict=True):
            row.insert(6, _shown(percent(figures.below)))
    show_columns(rows, headers, expendable=("LAST READ", "CHANGES", "MIN", "MAX", "VOLATILITY", "KNOWN", "NOW", "P95"))


def _cheapest_first(pair: "tuple[Path, Statistics]") -> tuple[bool, int]:
    median = pair[1].p50
    return median is None, 0 if median is None else median.nanos


def _shown(share: object) -> str | None:
    return None if share is None else f"{share}%"


def _show_csv(paths: "Sequence[Path]") -> None:
    from ..reports.render import csv_lines

    rows = (
        (
            path.pool.provider,
            path.pool.region,
            path.pool.zone or None,
            path.pool.instance_type,
            path.pool.purchase_option,
            span.start,
            span.end,
            span.price,
            None if span.price is None else span.price.currency,
        )
        for path in paths
        for span in path.spans
    )
    headers = (
        "provider",
        "region",
        "zone",
        "instance_type",
        "purchase_option",
        "start",
        "end",
        "hourly_price",
        "currency",
    )
    for line in csv_lines(rows, headers):
        sys.stdout.write(line)


def _for_programs(path: "Path", figures: "Statistics", threshold: "Money | None") -> dict[str, object]:
    from ..pricing.history import percent

    pool = path.pool
    return {
        "provider": pool.provider,
        "region": pool.region,
        "zone": pool.zone or None,
        "instance_type": pool.instance_type,
        "purchase_option": pool.purchase_option,
        "start": path.window.start,
        "end": path.window.end,
        "last_read_at": path.confirmed_at,
        "p50": figures.p50,
        "p95": figures.p95,
        "min": figures.low,
        "max": figures.high,
        "below": threshold,
        "below_percent": percent(figures.below, 4),
        "volatility_percent": percent(figures.volatility, 4),
        "changes": figures.changes,
        "coverage_percent": percent(figures.coverage, 4),
        "currency": next((span.price.currency for span in path.spans if span.price is not None), None),
        "spans": [{"start": span.start, "end": span.end, "hourly_price": span.price} for span in path.spans],
    }
