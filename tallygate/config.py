"""Settings: every one declared once, read from a file, the environment and flags, and never guessed.

    default  <  config.json or config.yaml  <  environment  <  flags

A typo in a limit must never mean "no limit": an unknown key is an error, and so are a repeated key, a number that is no
number and an amount that makes no sense. Numbers of a file stay the digits that were written; no float is made of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from . import config_file
from .errors import ConfigError, UsageError
from .money import Money
from .settings import (
    BOOLEAN,
    CURRENCY,
    PERCENTS,
    TEXT,
    Section,
    Setting,
    count,
    members,
    money,
    number,
    optional,
    setting,
    several,
    shown,
)

PREFIX = "TALLYGATE_"

_DEFAULT_FILES = ("config.json", "config.yaml", "config.yml")
_EXTENDS_MAX = 4
_SECRET_WORDS = ("password", "token", "key", "secret", "cookie")
_MASK = "********"


# --- the settings


class Hardware(Section):
    """What a job's machine must have. The flags --min-vcpu, --max-vcpu, --min-ram and --max-ram win."""

    __slots__ = ()
    min_vcpu: int = setting(count(1, 10_000), 1, "fewest virtual CPUs")
    max_vcpu: int | None = setting(optional(count(1, 10_000)), None, "most virtual CPUs; null for no bound")
    min_ram_gb: Decimal = setting(number("0", "100000"), 0, "least memory, GiB")
    max_ram_gb: Decimal | None = setting(optional(number("0", "100000")), None, "most memory, GiB; null for no bound")


class Aws(Section):
    """Amazon Web Services. Credentials come from the SDK's own chain and are never settings."""

    __slots__ = ()
    region: str | None = setting(optional(TEXT), None, "region to launch in and to ask for prices; null for any")
    key_name: str | None = setting(optional(TEXT), None, "name of the EC2 key pair for logging in")
    security_group: str | None = setting(optional(TEXT), None, "security group of the machines; it is never changed")
    iam_role: str | None = setting(optional(TEXT), None, "instance profile of the machines")
    max_price: Money | None = setting(
        optional(money("2000", currency="USD")), None, "no machine dearer than this, per hour"
    )
    disk_size_gb: int = setting(count(0, 65_536), 0, "disk of the machine, GiB; 0 for the provider's usual size")
    s3_bucket: str | None = setting(optional(TEXT), None, "bucket for inputs and results when --s3-bucket is not given")


class Gcp(Section):
    """Google Cloud."""

    __slots__ = ()
    project_id: str | None = setting(optional(TEXT), None, "project that the machines and their bill belong to")
    region: str | None = setting(optional(TEXT), None, "region to launch in and to ask for prices; null for any")
    service_account_email: str | None = setting(optional(TEXT), None, "service account of the machines")
    disk_size_gb: int = setting(count(0, 65_536), 0, "disk of the machine, GiB; 0 for the provider's usual size")


class Azure(Section):
    """Microsoft Azure."""

    __slots__ = ()
    subscription_id: str | None = setting(
        optional(TEXT), None, "subscription that the machines and their bill belong to"
    )
    resource_group: str | None = setting(optional(TEXT), None, "resource group of the machines")
    region: str | None = setting(optional(TEXT), None, "region to launch in and to ask for prices; null for any")
    admin_password: str | None = setting(
        optional(TEXT), None, "password for logging in; without one nobody can log in with a password"
    )
    key_vault_name: str | None = setting(optional(TEXT), None, "key vault that holds the secrets of the jobs")
    disk_size_gb: int = setting(count(0, 65_536), 0, "disk of the machine, GiB; 0 for the provider's usual size")


class Docker(Section):
    """Running the job's command inside a container."""

    __slots__ = ()
    enabled: bool = setting(BOOLEAN, False, "run every job in a container, as if --docker were given")
    image: str | None = setting(optional(TEXT), None, "image to use when --docker-image is not given")
    registry_username: str | None = setting(optional(TEXT), None, "who pulls the image")
    registry_password: str | None = setting(optional(TEXT), None, "with which password; write it as ${VARIABLE}")


class Defaults(Section):
    """What holds for a launch that does not say otherwise, and the gate's own rules."""

    __slots__ = ()
    budget_limit: Money | None = setting(
        optional(money("100000000", zero=True)), Decimal("20.00"), "budget of a job without --budget; null for none"
    )
    estimated_runtime: Decimal = setting(
        number("0.0003", "720"), Decimal("2.0"), "hours a job is expected to run without --estimated-runtime"
    )
    charge_to: str | None = setting(optional(TEXT), None, "budget that a job is charged to without --charge-to")
    runtime_margin: Decimal = setting(
        number("1", "100"), Decimal("1.5"), "a machine may run at most this many times the estimated runtime"
    )
    runtime_cover_min: Decimal = setting(
        number("0.01", "1"), Decimal("0.9"), "share of the estimated runtime that the budget must cover"
    )
    kill_allowance_seconds: int | None = setting(
        optional(count(0, 86_400)), None, "how long past its deadline a machine is paid for; null: as the provider says"
    )


class Store(Section):
    """How the database is opened."""

    __slots__ = ()
    busy_seconds: Decimal = setting(number("0", "3600"), 30, "how long to wait for another writer")
    allow_network_files: bool = setting(
        BOOLEAN, False, "accept SQLite on a network file system, whose locks may not hold"
    )


class Local(Section):
    """The provider ``local``, which runs jobs on this machine at an assumed price."""

    __slots__ = ()
    enabled: bool = setting(BOOLEAN, True, "offer this machine")
    price_per_hour: Money = setting(money("2000"), "0.36", "assumed price of one hour, so that budgets mean something")
    currency: str = setting(CURRENCY, "USD", "currency of that price")
    bill_delay_hours: Decimal = setting(number("0", "1000"), 0, "how long after its end a job is billed")
    machines_max: int = setting(count(1, 1_000), 8, "most jobs that run on this machine at the same time")


class Prices(Section):
    """Which prices may be decided on."""

    __slots__ = ()
    max_age_hours: Decimal = setting(number("0.01", "8760"), 24, "older prices are refused")
    file: str = setting(TEXT, "spot_prices.json", "saved price list that --from-spot-prices and --index read")
    folder: str | None = setting(
        optional(TEXT), None, "directory of the catalogue and the price history; null for prices in the state directory"
    )


class Staging(Section):
    """What is copied from the job directory to the machine."""

    __slots__ = ()
    files_max: int = setting(count(1, 10_000_000), 20_000, "most files in a job directory")
    megabytes_max: int = setting(count(1, 1_000_000), 2_000, "most megabytes in a job directory")
    exclude: tuple[str, ...] = setting(
        several(TEXT, at_most=1_000), [], "patterns left out of every job, beside those that are always left out"
    )


class Watch(Section):
    """What the watcher does while jobs run."""

    __slots__ = ()
    interval_seconds: int = setting(count(1, 86_400), 30, "pause between two looks at the machines")
    thresholds: tuple[int, ...] = setting(PERCENTS, [50, 80, 90, 100], "percent of a job's hold at which to act")


class Config(Section):
    """Every setting, and where each value came from.

    ``sources`` names the origin of every setting by its full name, such as ``defaults.budget_limit``: ``default``, a
    file, an environment variable or ``flag``.
    """

    __slots__ = ("_hidden", "sources")
    sources: Mapping[str, str]
    _hidden: frozenset[str]

    database: str = setting(TEXT, "cloud_jobs.db", "SQLite file, or postgresql://user@host/name to share it")
    state_dir: str | None = setting(
        optional(TEXT), None, "directory for staged inputs, results and bills; null for .tallygate beside the database"
    )
    currency: str = setting(CURRENCY, "USD", "currency of budgets and amounts given without one")

    hardware: Hardware
    aws: Aws
    gcp: Gcp
    azure: Azure
    docker: Docker
    defaults: Defaults
    store: Store
    local: Local
    prices: Prices
    staging: Staging
    watch: Watch

    def __init__(
        self, values: Mapping[str, object], sources: Mapping[str, str], hidden: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(values)
        object.__setattr__(self, "sources", sources)
        object.__setattr__(self, "_hidden", hidden)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"There is no setting {name}") from None

    @property
    def state_path(self) -> str:
        """The state directory: as set, else ``.tallygate`` beside a SQLite database, else in the working directory."""
        if self.state_dir is not None:
            return self.state_dir
        scheme, separator, rest = self.database.partition("://")
        if separator and scheme != "sqlite":
            return ".tallygate"
        path = rest.removeprefix("/") if separator else self.database
        return os.path.join(os.path.dirname(path), ".tallygate")

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """Every setting as full name, value and source, with secrets masked: for ``config show``."""
        for name, _ in settings():
            section, _, key = name.rpartition(".")
            value = self._values[section]._values[key] if section else self._values[key]  # type: ignore[attr-defined]
            yield name, _masked(name, value, hide=name in self._hidden), self.sources[name]


SECTIONS: Mapping[str, type[Section]] = {
    "hardware": Hardware,
    "aws": Aws,
    "gcp": Gcp,
    "azure": Azure,
    "docker": Docker,
    "defaults": Defaults,
    "store": Store,
    "local": Local,
    "prices": Prices,
    "staging": Staging,
    "watch": Watch,
}


def settings() -> Iterator[tuple[str, Setting]]:
    """Every setting with its full name, in the order of the documents."""
    yield from members(Config).items()
    for section, kind in SECTIONS.items():
        for key, one in members(kind).items():
            yield f"{section}.{key}", one


def table() -> str:
    """Every setting with its kind, default and meaning, as the Markdown table of ``docs/configuration.md``."""
    lines = ["| Setting | Kind | Default | Meaning |", "|---|---|---|---|"]
    for name, one in settings():
        default = one.default if isinstance(one.default, Decimal) else json.dumps(one.default)
        lines.append(f"| `{name}` | {one.kind.says} | `{default}` | {one.meaning} |")
    return "\n".join(lines) + "\n"


# --- loading


class _Layers:
    """Values as they were written, each layer over the ones before, with their origin."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.values: dict[str, object] = {}
        self.sources: dict[str, str] = {}
        self.hidden: set[str] = set()

    def put(self, name: str, value: object, source: str, *, hide: bool = False) -> None:
        self.values[name], self.sources[name] = value, source
        (self.hidden.add if hide else self.hidden.discard)(name)

    def read(self, name: str, one: Setting, currency: str) -> object:
        """The setting's value, checked. Raises ``ConfigError`` naming origin and key, never a secret."""
        if name not in self.values:
            return one.kind.read(one.default, currency)
        value = self.values[name]
        try:
            if value is None and not one.kind.nullable:
                raise UsageError("null says nothing", cure="Leave the key out for the default")
            if value == "":
                raise UsageError("is empty", cure="Leave it out for the default")
            return one.kind.read(value, currency)
        except UsageError as error:
            secret = name in self.hidden or _is_secret(name)
            raise ConfigError(
                f"{self.sources[name]}: {name}: {'cannot be used' if secret else error.message}",
                cure=error.cure or f"It takes {one.kind.says}",
            ) from None


def load(
    path: str | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """The settings in force.

    ``path`` is a configuration file that must exist; without one, ``TALLYGATE_CONFIG`` or a ``config.json`` or
    ``config.yaml`` in the working directory is used, if there is one. ``flags`` win over everything and are given by
    full name. Raises ``ConfigError`` naming the origin and the key.
    """
    layers = _Layers(os.environ if environ is None else environ)
    named = path or layers.environ.get(f"{PREFIX}CONFIG") or _default_file()
    if named:
        _add_file(layers, named)
    _add_environment(layers)
    for name, value in (flags or {}).items():
        layers.put(name, value, "flag")
    return _built(layers)


def environment() -> Mapping[str, str]:
    """The process's environment, for the few switches that are not settings, such as NO_COLOR."""
    return os.environ


def _default_file() -> str | None:
    found = [name for name in _DEFAULT_FILES if os.path.exists(name)]
    if len(found) > 1:
        raise ConfigError(
            f"Both {found[0]} and {found[1]} are here, and only one can hold", cure="Keep one, or name it with --config"
        )
    return found[0] if found else None


def _built(layers: _Layers) -> Config:
    top = members(Config)
    currency = str(layers.read("currency", top["currency"], "USD"))
    values = {key: layers.read(key, one, currency) for key, one in top.items()}
    for section, kind in SECTIONS.items():
        inside = members(kind)
        own = (
            str(layers.read(f"{section}.currency", inside["currency"], currency)) if "currency" in inside else currency
        )
        values[section] = kind({key: layers.read(f"{section}.{key}", one, own) for key, one in inside.items()})
    config = Config(
        values, {name: layers.sources.get(name, "default") for name, _ in settings()}, frozenset(layers.hidden)
    )
    _refuse_crossed_bounds(config)
    return config


def _refuse_crossed_bounds(config: Config) -> None:
    hardware = config.hardware
    for key, low, high in (
        ("vcpu", hardware.min_vcpu, hardware.max_vcpu),
        ("ram_gb", hardware.min_ram_gb, hardware.max_ram_gb),
    ):
        if high is not None and high < low:
            name = f"hardware.max_{key}"
            raise ConfigError(f"{config.sources[name]}: {name}: {high} is below hardware.min_{key}, {low}")


# --- the file


def _add_file(layers: _Layers, path: str, depth: int = 0) -> None:
    content = config_file.parsed(path)
    base = content.pop("extends", None)
    if base is not None:
        if not isinstance(base, str) or not base:
            raise ConfigError(f"{path}: extends: {shown(base)} is not the path of a file")
        if depth == _EXTENDS_MAX:
            raise ConfigError(f"{path}: extends: files extend each other more than {_EXTENDS_MAX} deep")
        _add_file(layers, os.path.join(os.path.dirname(path), base), depth + 1)
    for name, value in _flattened(path, content):
        used: list[str] = []
        filled = config_file.filled(value, layers.environ, f"{path}: {name}", used)
        layers.put(name, filled, path, hide=any(_is_secret(variable.lower()) for variable in used))


def _flattened(path: str, content: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    top = members(Config)
    for key, value in content.items():
        section = SECTIONS.get(key)
        if section is None:
            if key not in top:
                raise _unknown(f"{path}: {shown(key)}", key, [*top, *SECTIONS])
            yield key, value
            continue
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {key}: {shown(value)} is not a group of settings")
        inside = members(section)
        for inner, one in value.items():
            if inner not in inside:
                raise _unknown(f"{path}: {key}.{inner}"[:120], inner, list(inside), prefix=f"{key}.")
            yield f"{key}.{inner}", one


def _unknown(where: str, key: str, known: Sequence[str], prefix: str = "") -> ConfigError:
    from difflib import get_close_matches

    close = get_close_matches(key[:60], known, n=1)
    cure = f"Did you mean {prefix}{close[0]}?" if close else "List the settings with: tallygate config show"
    return ConfigError(f"{where} is not a setting", cure=cure)


# --- the environment


FOREIGN: Mapping[str, str] = {
    "DATABASE_URL": "database",
    "CLOUD_SCHEDULER_DB": "database",
    "AWS_DEFAULT_REGION": "aws.region",
    "AWS_REGION": "aws.region",
    "GCP_PROJECT_ID": "gcp.project_id",
    "GOOGLE_CLOUD_PROJECT": "gcp.project_id",
    "AZURE_SUBSCRIPTION_ID": "azure.subscription_id",
}
"""Documented variables of other names; of two for one setting the later wins, and TALLYGATE_... wins over both."""


def _add_environment(layers: _Layers) -> None:
    environ = layers.environ
    url = _database_url(environ)
    if url:
        layers.put("database", url, "environment DB_HOST")
    for variable, name in FOREIGN.items():
        if environ.get(variable):
            layers.put(name, environ[variable], f"environment {variable}")
    known: dict[str, str] | None = None
    for variable in environ:
        if not variable.startswith(PREFIX):
            continue
        if known is None:
            known = {variable_of(name): name for name, _ in settings()}
        found = known.get(variable)
        if found is not None:
            layers.put(found, environ[variable], f"environment {variable}")
        elif "__" in variable:
            raise _unknown(f"environment: {variable[:80]}", variable, list(known))


def variable_of(name: str) -> str:
    """The environment variable of a setting: ``TALLYGATE_DEFAULTS__BUDGET_LIMIT``."""
    return PREFIX + name.upper().replace(".", "__")


def _database_url(environ: Mapping[str, str]) -> str | None:
    """The PostgreSQL address that the documented DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD describe."""
    host = environ.get("DB_HOST")
    if not host:
        return None
    from urllib.parse import quote

    user, password = environ.get("DB_USER", ""), environ.get("DB_PASSWORD", "")
    who = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    port = environ.get("DB_PORT") or "5432"
    if not (port.isascii() and port.isdigit()):
        raise ConfigError(f"environment: DB_PORT: {shown(port)} is not a port")
    place = f"[{host}]" if ":" in host else quote(host, safe=".-_")
    name = quote(environ.get("DB_NAME") or "cloud_costs", safe="")
    return f"postgresql://{f'{who}@' if who else ''}{place}:{port}/{name}"


# --- showing


def _is_secret(name: str) -> bool:
    return any(word in name for word in _SECRET_WORDS)


def _masked(name: str, value: object, *, hide: bool) -> object:
    if value is None:
        return None
    if hide or _is_secret(name):
        return _MASK
    if isinstance(value, str) and "://" in value:
        return masked_url(value)
    return value


def masked_url(url: str) -> str:
    """``url`` without who logs in and without its query, where passwords travel too."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    rest, question, _ = rest.partition("?")
    place, slash, path = rest.rpartition("@")[2].partition("/") if "@" in rest else rest.partition("/")
    who = f"{_MASK}@" if "@" in rest else ""
    return f"{scheme}://{who}{place}{slash}{path}{f'?{_MASK}' if question else ''}"
