"""Which machine: the flags that searching and launching share, and the request that they make with the configuration."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from .. import config as configuration
from ..errors import UsageError
from ..pricing.offers import ResourceRequest
from . import flags

PANEL = "Machine options"

Cloud = configuration.Aws | configuration.Gcp | configuration.Azure


def option(*names: str, panel: str, metavar: str | None = None, help: str) -> Any:
    """An option that the help lists under ``panel``."""
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=panel)


MinVcpu = Annotated[str | None, option("--min-vcpu", panel=PANEL, metavar="N", help="Fewest virtual CPUs.")]
MaxVcpu = Annotated[str | None, option("--max-vcpu", panel=PANEL, metavar="N", help="Most virtual CPUs.")]
MinRam = Annotated[str | None, option("--min-ram", panel=PANEL, metavar="GB", help="Least memory.")]
MaxRam = Annotated[str | None, option("--max-ram", panel=PANEL, metavar="GB", help="Most memory.")]


class Machine:
    """Those flags, read and checked before anything else happens."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.provider = flags.provider("--provider", given["provider"])
        self.region = flags.text("--region", given["region"], at_most=100)
        self.min_vcpu = flags.maybe_whole("--min-vcpu", given["min_vcpu"], low=1, high=10_000)
        self.max_vcpu = flags.maybe_whole("--max-vcpu", given["max_vcpu"], low=1, high=10_000)
        self.min_ram = flags.number("--min-ram", given["min_ram"], low=0, high=100_000)
        self.max_ram = flags.number("--max-ram", given["max_ram"], low=0, high=100_000)

    def request(self, config: configuration.Config, **more: Any) -> ResourceRequest:
        """What is asked for, with what the flags leave open taken from the configuration."""
        hardware, own = config.hardware, cloud(config, self.provider)
        request = ResourceRequest(
            vcpus_min=self.min_vcpu or hardware.min_vcpu,
            vcpus_max=self.max_vcpu or hardware.max_vcpu,
            memory_gib_min=hardware.min_ram_gb if self.min_ram is None else self.min_ram,
            memory_gib_max=hardware.max_ram_gb if self.max_ram is None else self.max_ram,
            disk_gib=own.disk_size_gb if own is not None else 0,
            provider=self.provider,
            region=self.region or (own.region if own is not None else None),
            hourly_price_max=config.aws.max_price if self.provider == "aws" else None,
            **more,
        )
        _refuse_crossed(request.vcpus_min, request.vcpus_max, "vcpu")
        _refuse_crossed(request.memory_gib_min, request.memory_gib_max, "ram")
        return request


def cloud(config: configuration.Config, provider: str | None) -> Cloud | None:
    """A cloud's own settings; None for a provider that has none, or for no provider."""
    clouds: dict[str, Cloud] = {"aws": config.aws, "gcp": config.gcp, "azure": config.azure}
    return clouds.get(provider or "")


def _refuse_crossed(low: Any, high: Any, what: str) -> None:
    if high is not None and high < low:
        raise UsageError(f"--max-{what} {high} is below --min-{what} {low}", cure="Swap or drop one of them")
