"""What a person asks for, and the plan that answers it. A plan touches nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ..ledger.holds import Account, Budget
from ..money import Money
from ..pricing.estimate import Estimate
from ..pricing.offers import Offer, ResourceRequest

if TYPE_CHECKING:
    from ..pricing.quote import Quote

DEFAULT_COMMAND = "./run.sh"
"""What runs when no command is given: the job directory's own ``run.sh``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job directory and how it shall run. ``None`` everywhere means: as configured.

    ``estimated_runtime_hours`` and ``budget`` are what the gate compares. ``bucket`` is an object store's URL.
    ``accept_price`` replaces the offer's hourly price by one a person answers for. ``price_list`` is a saved list to
    choose entry ``index`` from, or the first one that fits. ``key`` makes a repeated submission find the first one's job.
    ``runtime_from_history``: the finished runs of this name say how long it takes. ``checkpoint_seconds``: how often the job
    saves its work; None when it does not, or nobody said so.
    """

    directory: Path
    name: str
    command: str | None = None
    image: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    bucket: str | None = None
    request: ResourceRequest
    estimated_runtime_hours: Decimal | None = None
    run_seconds_max: int | None = None
    egress_gib: int = 0
    budget: Money | None = None
    charge_to: str | None = None
    accept_price: Money | None = None
    price_list: Path | None = None
    index: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    runtime_from_history: bool = False
    checkpoint_seconds: int | None = None


_LATER = ("runtime_from_history", "checkpoint_seconds")
"""What submissions of earlier versions did not have; left out of the digest as long as it says nothing."""


def digest(submission: Submission) -> str:
    """The SHA-256 of everything that was asked for, so that a repeated key can be told from a key used for two jobs."""
    asked = {name: getattr(submission, name) for name in Submission.__slots__ if name != "key"}
    asked = {name: value for name, value in asked.items() if name not in _LATER or value}
    asked["directory"] = submission.directory.absolute()
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=_plainly).encode()).hexdigest()


def _plainly(value: object) -> object:
    if isinstance(value, ResourceRequest):
        return {name: getattr(value, name) for name in ResourceRequest.__slots__}
    if isinstance(value, frozenset):
        return sorted(str(each) for each in value)
    if isinstance(value, Mapping):
        return dict(value)
    return repr(value) if isinstance(value, Money) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be launched, what it should cost, and the most it can.

    ``estimates`` are the acceptable offers, best first. ``accounts`` are the jars of every budget it would be charged
    to, as they stand now. ``files`` and ``size_bytes`` are what would be staged; ``secrets`` what is left out because
    it looks like one. ``notes`` are things worth saying that are no reason to refuse. ``quote`` is what finishing on
    the best offer costs. ``elsewhere`` is the cheapest offer of the same machine in another region, with what finishing
    costs there. ``catalogue`` is the version of the catalogue that the offers come from. ``refused``: why a launch
    would be refused today, when only the prices' age or standing is against it.
    """

    submission: Submission
    command: str
    estimates: tuple[Estimate, ...]
    budgets: tuple[Budget, ...]
    accounts: tuple[Account, ...]
    charged_to: str | None
    files: int
    size_bytes: int
    secrets: tuple[str, ...]
    offers_considered: int
    notes: tuple[str, ...]
    quote: Quote
    elsewhere: tuple[Offer, Money] | None = None
    catalogue: str | None = None
    refused: str | None = None

    @property
    def best(self) -> Estimate:
        return self.estimates[0]
