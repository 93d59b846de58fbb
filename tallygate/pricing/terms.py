"""What a provider charges besides the machine, and how surely it ends one.

Facts with a source and no policy. Where a price differs by region, the figure here is a bound that holds in every
region we know, because it is used for the worst case.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The conditions of one provider.

    ``kill_seconds``: how long after its deadline a machine may still bill. ``has_price_ceiling``: whether the
    provider itself ends a machine whose price rises above the ceiling sent with the launch. ``seconds_min`` and
    ``seconds_step``: the shortest billed time and the billing increment. ``token_lasts``: whether repeating a launch
    token is answered with the same machine however late the repeat comes. ``remembers_ended``: whether a listing still
    shows every machine that ever was, so that one which is not there never was. Prices are None when there is nothing
    of the kind to bill.
    """

    kill_seconds: int
    has_price_ceiling: bool
    seconds_min: int
    seconds_step: int
    token_lasts: bool
    disk_gib_month: Money | None
    disk_gib_default: int
    public_address_hour: Money | None
    egress_gib: Money | None
    source: str
    remembers_ended: bool = False

    def billed_seconds(self, seconds: int) -> int:
        """What a life of ``seconds`` is billed as."""
        stepped = -(-max(seconds, 0) // self.seconds_step) * self.seconds_step
        return max(stepped, self.seconds_min)


PUBLISHED = {
    "aws": Terms(
        kill_seconds=120,
        has_price_ceiling=True,
        seconds_min=60,
        seconds_step=1,
        token_lasts=False,
        disk_gib_month=Money.of("0.16"),
        disk_gib_default=30,
        public_address_hour=Money.of("0.005"),
        egress_gib=Money.of("0.15"),
        source="AWS price lists, 2026-11: gp3 storage and transfer out in the dearest region, public IPv4",
    ),
    "gcp": Terms(
        kill_seconds=120,
        has_price_ceiling=False,
        seconds_min=60,
        seconds_step=1,
        token_lasts=False,
        disk_gib_month=Money.of("0.16"),
        disk_gib_default=30,
        public_address_hour=Money.of("0.005"),
        egress_gib=Money.of("0.23"),
        source="Google Cloud price lists, 2026-11: balanced disk and premium egress in the dearest region, external IPv4",
    ),
    "azure": Terms(
        kill_seconds=120,
        has_price_ceiling=True,
        seconds_min=60,
        seconds_step=1,
        token_lasts=False,
        disk_gib_month=Money.of("0.16"),
        disk_gib_default=32,
        public_address_hour=Money.of("0.005"),
        egress_gib=Money.of("0.19"),
        source="Azure price lists, 2026-11: standard SSD and egress in the dearest region, standard public IPv4",
    ),
}
"""The three clouds' terms, so that a launch there can be planned and bounded before anything is installed for it."""
