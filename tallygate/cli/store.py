"""``tallygate migrate``: make the database, or bring it to the schema of this version."""

from .. import config as configuration
from ..config import masked_url
from .options import ConfigFile
from .output import show


def migrate(config: ConfigFile = None) -> None:
    """Make the database, or bring it to the schema of this version. Nothing in it is ever dropped.

    Every command that writes does this by itself. Repeating it changes nothing.

    \b
    Example:
      tallygate migrate
    """
    from ..app import App

    settings = configuration.load(config)
    with App.open(settings):
        show(f"{masked_url(settings.database)} is up to date")
