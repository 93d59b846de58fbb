"""Providers of machines: one module each, imported only when asked for.

Names are lower case inside and may come in any case from people.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import CredentialsMissing, UnknownProvider

if TYPE_CHECKING:
    from .base import Provider

PROVIDERS = {"local": ("local", "LocalProvider")}
"""Providers that can launch, with the module and class that do it."""

PLANNED = {"aws": "AWS", "gcp": "Google Cloud", "azure": "Azure"}
"""Clouds whose prices and terms are known here, but where this version cannot launch."""


def check(name: str) -> str:
    """The provider's name as it is kept. Raises ``UnknownProvider``, or ``CredentialsMissing`` for a cloud."""
    known = name.strip().lower()
    if known in PROVIDERS:
        return known
    if known in PLANNED:
        raise CredentialsMissing(
            f"This version cannot launch on {PLANNED[known]}: it plans there, and bounds what a launch would cost",
            cure="Plan with --dry-run, or launch on this machine with --provider local",
        )
    near = get_close_matches(known, [*PROVIDERS, *PLANNED], n=1)
    raise UnknownProvider(
        f"There is no provider {name[:40]!r}",
        cure=f"Did you mean {near[0]}?" if near else f"Known are {', '.join([*PROVIDERS, *PLANNED])}",
    )


def provider_type(name: str) -> type[Any]:
    """The class of a provider that can launch, its module imported only now."""
    module, found = PROVIDERS[check(name)]
    kind: type[Provider] = getattr(import_module(f"{__name__}.{module}"), found)
    return kind
