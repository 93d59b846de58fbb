"""``tallygate config``: which settings are in force, and where each came from."""

from .. import config as configuration
from .options import ConfigFile, Json
from .output import show_columns, show_json
from .program import Entry, Menu

MENU = Menu("Settings in force.", {"show": Entry(f"{__name__}:show_settings", "Every setting and where it came from.")})


def show_settings(config: ConfigFile = None, json: Json = False) -> None:
    """Every setting in force and where it came from, with secrets masked.

    \b
    Examples:
      tallygate config show
      tallygate config show --config config_profiles/large.json --json
    """
    rows = list(configuration.load(config).rows())
    if json:
        show_json({name: {"value": value, "source": source} for name, value, source in rows})
        return
    show_columns(
        [(name, _shown(value), source) for name, value, source in rows],
        ("SETTING", "VALUE", "FROM"),
    )


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else value
