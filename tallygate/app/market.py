"""The wiring of prices: what could be rented, what it has cost, and who is asked. Needs no operational store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config
from ..times import Clock, Period, SystemClock

if TYPE_CHECKING:
    from ..pricing.catalog import Catalog
    from ..pricing.market import Market
    from ..pricing.offers import Offer
    from ..pricing.paths import PricePath
    from ..pricing.source import PriceSource
    from ..pricing.terms import Terms
    from ..providers.base import Provider
    from ..store.catalog_folder import CatalogFolder

PAST = timedelta(days=30)
"""How far back a quote looks at what a price did."""

_SDKS = {
    "aws": ("boto3",),
    "gcp": ("google.cloud.billing_v1", "google.auth"),
    "azure": ("azure.mgmt.compute", "azure.identity"),
}
"""The modules that reading a cloud's prices takes; they come with the extra of its name."""


def prices_folder(config: Config) -> Path:
    """Where the catalogue and the price history lie: as configured, else ``prices`` in the state directory."""
    return Path(config.prices.folder) if config.prices.folder is not None else Path(config.state_path) / "prices"


def history_file(config: Config) -> Path:
    return prices_folder(config) / "history.db"


# --- searching


def open_catalog(config: Config) -> Catalog:
    """The catalogue that was refreshed last, else the reference prices of the package."""
    from ..store.catalog import open_catalog

    return open_catalog(prices_folder(config))


def open_market(config: Config, clock: Clock) -> Market:
    """Everything that could be rented, this machine among it."""
    from ..pricing.market import Market

    own = this_machine(config, clock) if config.local.enabled else None
    return Market(open_catalog(config), own.offers if own is not None else lambda request: ())


def terms(config: Config, provider: str) -> Terms:
    """What a provider charges beside the machine."""
    from ..pricing.terms import PUBLISHED

    return PUBLISHED[provider] if provider in PUBLISHED else this_machine(config, SystemClock()).terms


def this_machine(config: Config, clock: Clock, install_id: Callable[[], str] = lambda: "") -> Provider:
    """The provider ``local``."""
    from ..providers.local import LocalProvider

    return LocalProvider(
        Path(config.state_path).absolute() / "machines",
        install_id=install_id,
        hourly_price=config.local.price_per_hour,
        machines_max=config.local.machines_max,
        clock=clock,
    )


def past_prices(config: Config, clock: Clock) -> Callable[[Offer], PricePath | None]:
    """Tells what the price of an offer's pool did lately; None where nothing is on record."""

    def past(offer: Offer) -> PricePath | None:
        file = history_file(config)
        if not file.is_file():
            return None
        from ..pricing.paths import ObservedPrices
        from ..store.price_history import PriceHistory

        now = clock.now()
        anywhere = config.store.allow_network_files
        with closing(PriceHistory.open(str(file), create=False, allow_network_files=anywhere)) as history:
            paths = history.paths(
                offer.instance_type,
                Period(now - PAST, now),
                provider=offer.provider,
                region=offer.region,
                zone=offer.zone or "",
                purchase_option=offer.purchase_option,
            )
        return ObservedPrices.along(paths[0]) if paths else None

    return past


# --- reading


def price_sources(config: Config, clock: Clock) -> list[PriceSource]:
    """Every cloud whose prices can be read here: those whose SDK is installed. New ones for every refresh."""
    from ..ids import SystemEntropy

    entropy = SystemEntropy()
    sources: list[PriceSource] = []
    if not sdk_is_missing("aws"):
        from ..providers.aws_prices import AwsPrices

        sources.append(AwsPrices(clock=clock, fetch=web_fetcher(clock)))
    if not sdk_is_missing("gcp"):
        from ..providers.gcp_prices import GcpPrices

        sources.append(GcpPrices(clock=clock, entropy=entropy, project=config.gcp.project_id))
    if not sdk_is_missing("azure"):
        from ..providers.azure_prices import AzurePrices

        sources.append(AzurePrices(clock=clock, entropy=entropy, subscription=config.azure.subscription_id))
    return sources


def price_catalog(config: Config, clock: Clock) -> CatalogFolder:
    """Where refreshed and imported prices are published."""
    from ..store.catalog_folder import CatalogFolder

    return CatalogFolder(prices_folder(config), clock)


def web_fetcher(clock: Clock) -> Callable[[str], bytes]:
    """Reads public documents by their address."""
    from ..providers.fetch import WebFetcher

    return WebFetcher(clock)


def sdk_is_missing(provider: str) -> bool:
    """Whether a cloud is known here, and what asks it for prices is not installed."""
    from importlib.util import find_spec

    try:
        return any(find_spec(module) is None for module in _SDKS.get(provider, ()))
    except ModuleNotFoundError:  # a package above it
        return True
