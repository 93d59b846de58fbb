"""A small world to try things in: one call makes an order, another launches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption, ResourceRequest
from tallygate.providers.base import LaunchOrder
from tallygate.simcloud.machines import Machine
from tallygate.simcloud.market import CALM, Climate
from tallygate.simcloud.provider import SimProvider, sim_provider
from tallygate.simcloud.work import Work
from tallygate.simcloud.world import World
from tallygate.times import text

INSTALL = "test0000"


class Scene:
    """One world, its three clouds, and orders without ceremony."""

    def __init__(self, seed: int = 1, *, climate: Climate | None = CALM, **options: object) -> None:
        self.world = World(seed, climate=climate, keep_log=True)
        self.options = options
        self.providers: dict[str, SimProvider] = {}
        self.orders = 0

    def provider(self, dialect: str) -> SimProvider:
        found = self.providers.get(dialect)
        if found is None:
            made = sim_provider(self.world, dialect, install_id=INSTALL, **self.options)  # type: ignore[arg-type]
            found = self.providers[dialect] = made
        return found

    def offer(self, dialect: str, *, option: PurchaseOption = PurchaseOption.SPOT) -> Offer:
        """The first offer of its kind, whatever faults there are."""
        offers = self.world.market.offers(dialect, name=self.provider(dialect).name)
        return next(offer for offer in offers if offer.purchase_option is option)

    def order(
        self,
        dialect: str,
        *,
        seconds: int = 3600,
        job: str | None = None,
        attempt: int = 1,
        offer: Offer | None = None,
        price_max: Money | None = None,
        work: Work | None = None,
        tags: Mapping[str, str] | None = None,
        disk_gib: int = 0,
    ) -> LaunchOrder:
        self.orders += 1
        job = job or f"job{self.orders}"
        offer = offer or self.offer(dialect)
        ceiling = max(price for price in (offer.hourly_price, offer.on_demand_price) if price is not None)
        not_after = self.world.instant() + timedelta(seconds=seconds)
        token = f"tg-{INSTALL}-{job}-{attempt}"
        if work is not None:
            self.world.expect(job, work)
        return LaunchOrder(
            token=token,
            offer=offer,
            price_max=ceiling if price_max is None else price_max,
            tags={
                "tallygate-install": INSTALL,
                "tallygate-job": job,
                "tallygate-attempt": str(attempt),
                "tallygate-token": token,
                "tallygate-not-after": text(not_after),
                **(tags or {}),
            },
            agent_script="#!/bin/sh",
            agent_document="{}",
            run_seconds_max=seconds,
            not_after=not_after,
            disk_gib=disk_gib,
        )

    def launch(self, dialect: str, **order: object) -> Machine:
        launch = self.provider(dialect).launch(self.order(dialect, **order))  # type: ignore[arg-type]
        return self.world.machines[launch.id]

    def request(self) -> ResourceRequest:
        return ResourceRequest()


@pytest.fixture
def scene() -> Scene:
    """A calm world: prices stand still, nothing goes wrong unless switched on."""
    return Scene()


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """Worlds of other seeds and climates: ``make_scene(seed, climate=...)``."""
    return Scene


@pytest.fixture(params=["aws", "gcp", "azure"])
def dialect(request: pytest.FixtureRequest) -> str:
    """A test that asks for it runs once in each cloud's manner."""
    return str(request.param)
