"""The catalogue of a folder as a refresh and an import need it: what is in place, and the next version put there.

Until something is published there, the reference prices of the package are what is in place; the first version takes over those
of every market that it does not replace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from ..pricing.catalog import Part, Version
from ..pricing.offers import Offer
from ..pricing.source import Sheet
from ..times import Clock
from .catalog import SqliteCatalog, open_catalog
from .catalog_writer import write


class CatalogFolder:
    """It implements ``pricing.refresh.CatalogWriter``. Opens the file anew for every question; holds nothing open."""

    def __init__(self, folder: str | os.PathLike[str], clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def version(self) -> Version | None:
        with closing(open_catalog(self._folder)) as catalog:
            return catalog.version

    def parts(self) -> Sequence[Part]:
        with closing(open_catalog(self._folder)) as catalog:
            return catalog.parts()

    def reference_offers(self) -> Mapping[tuple[str, str], int]:
        """How many offers of a market are reference prices."""
        with closing(open_catalog(self._folder)) as catalog:
            return catalog.reference_offers()

    def sheets(self, provider: str) -> list[Sheet]:
        """What is published of a provider, as it was given."""
        with closing(open_catalog(self._folder)) as catalog:
            return [sheet for sheet in _sheets(catalog) if sheet.provider == provider]

    def publish(self, sheets: Sequence[Sheet]) -> Version:
        """The next version: these sheets instead of their markets' parts, every other part as it was."""
        # Handed over unread: the writer takes them once it is its turn. Looked up before that, shipped prices could replace
        # what another first writer has published meanwhile.
        return write(self._folder, self._with_shipped(sheets), made_at=self._clock.now())

    def _with_shipped(self, sheets: Sequence[Sheet]) -> Iterator[Sheet]:
        """The sheets, and when nothing was ever published here the shipped ones of every other market."""
        yield from sheets
        new = {(sheet.provider, sheet.region) for sheet in sheets}
        with closing(open_catalog(self._folder)) as catalog:
            shipped = _sheets(catalog) if catalog.is_shipped else []
        yield from (sheet for sheet in shipped if (sheet.provider, sheet.region) not in new)


def _sheets(catalog: SqliteCatalog) -> list[Sheet]:
    offers: dict[tuple[str, str], list[Offer]] = {}
    for offer in catalog.offers():
        offers.setdefault((offer.provider, offer.region), []).append(offer)
    return [
        Sheet(
            provider=part.provider,
            region=part.region,
            read_at=part.read_at,
            source=part.source,
            offers=tuple(offers.get((part.provider, part.region), ())),
            refused=part.reasons,
            notes=part.notes,
        )
        for part in catalog.parts()
    ]
