"""``tallygate prices import``: a published price list from a file or an address becomes part of the catalogue."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as configuration
from ..errors import PriceRefused, Unavailable, UsageError
from ..times import instant, shown
from . import flags, prices
from .options import ConfigFile, Json
from .output import note, show_columns, show_json, warn

if TYPE_CHECKING:
    from ..pricing.source import Sheet

BYTES_MAX = 200_000_000
"""No published list of prices is larger."""

SECONDS_MAX = 60
"""How long a server may keep silent."""


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
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Take in a published price list, such as a SkyPilot catalogue (CSV) or spotinfo's data (JSON).

    Every row is judged like those of a cloud, and what is left out is counted by its reason. A market whose prices were read from
    the cloud itself is left as it is.

    \b
    Examples:
      tallygate prices import vms.csv --provider aws --as-of 2026-11-01
      tallygate prices import https://example.org/catalog/aws/vms.csv --provider aws
    """
    found = prices.tools(configuration.load(config))
    if found.catalog is None:
        raise PriceRefused("There is no catalogue to import into in this installation")
    day = None if as_of is None else _day(as_of)
    name = flags.text("FILE-OR-URL", place, at_most=2_000) or ""
    content = _fetch(name) if "://" in name else _read(Path(name))
    # Imported here and by name: reading published lists is a room of its own, needed by no other command.
    published = import_module("tallygate.pricing.published")
    sheets = published.read(content, name=name, provider=None if provider is None else provider.lower(), as_of=day)
    return _publish(found, sheets, replace=replace, as_json=json)


def _publish(found: prices.Tools, sheets: "Sequence[Sheet]", *, replace: bool, as_json: bool) -> int:
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
        try:
            fit.append(guard.inspect(sheet, now=found.clock.now(), accept_smaller=True))
        except PriceRefused as error:
            failed += 1
            warn(error.message)
    version = found.catalog.publish(fit) if fit else found.catalog.version()
    rows = [(each.provider, each.region, len(each.offers), sum(each.refused.values()) or None) for each in fit]
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
    elif rows:
        show_columns(rows, ("PROVIDER", "REGION", "OFFERS", "REFUSED"))
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


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", cure="Name a file that is there") from None
    return _bounded(content, str(path))


def _fetch(address: str) -> bytes:
    """What an https address answers. Raises ``Unavailable`` when it does not, and ``UsageError`` for other addresses."""
    from http.client import HTTPException
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class _Secure(HTTPRedirectHandler):
        """Follows only to https."""

        def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
            _check_secure(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    _check_secure(address)
    try:
        request = Request(address, headers={"User-Agent": "tallygate"})  # noqa: S310 - only https gets here
        with build_opener(_Secure).open(request, timeout=SECONDS_MAX) as answer:
            content: bytes = answer.read(BYTES_MAX + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise Unavailable(f"{address} cannot be read: {error}", cure="Fetch it by hand and import the file") from error
    return _bounded(content, address)


def _check_secure(address: str) -> None:
    if not address.lower().startswith("https://"):
        raise UsageError(f"{address[:80]} is no https address", cure="Prices from elsewhere could be anybody's")


def _bounded(content: bytes, name: str) -> bytes:
    if len(content) > BYTES_MAX:
        raise UsageError(f"{name} is larger than {BYTES_MAX // 1_000_000} MB, which no price list is")
    return content
