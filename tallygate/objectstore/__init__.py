"""Object stores: where inputs, results and logs lie, by URL.

A store's module is imported when a URL of its scheme is opened, so that nobody waits for the SDK of a cloud not in use.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from ..errors import UsageError
from .base import ObjectStore

SCHEMES = {"file": ("folder", "FolderStore")}
"""The schemes of URLs that can be opened, with the module and class that do it."""

CLOUDS = {"s3": ("Amazon S3", "aws"), "gs": ("Google Cloud Storage", "gcp"), "az": ("Azure Blob Storage", "azure")}
"""Schemes that belong to a cloud: its name, and the extra it comes with."""


def open_store(url: str) -> ObjectStore:
    """The object store at ``url``. Opening reads and writes nothing. Raises ``UsageError`` for another scheme."""
    scheme, colon, _ = url.partition("://")
    scheme = scheme.lower() if colon else ""
    if scheme in SCHEMES:
        module, name = SCHEMES[scheme]
        return cast(ObjectStore, getattr(import_module(f"{__name__}.{module}"), name).from_url(url))
    known = ", ".join(f"{known}://" for known in SCHEMES)
    if scheme in CLOUDS:
        cloud, extra = CLOUDS[scheme]
        raise UsageError(
            f"{scheme}:// is {cloud}; it comes with the provider {extra}, which this version cannot use yet",
            cure=f"Use {known} now; once it is there: pip install 'tallygate[{extra}]'",
        )
    raise UsageError(
        f"{url[:80]!r} is not the URL of an object store",
        cure=f"Write it with one of {known}, such as file:///srv/tallygate/objects",
    )
