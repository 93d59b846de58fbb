"""Configuration: one order of precedence, nothing guessed, every refusal one sentence that names its origin."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallygate import config
from tallygate.errors import ConfigError
from tallygate.money import Money

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str | bytes, name: str = "config.json") -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def refused(text: str | bytes, name: str = "config.json", environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.load(written(text, name), environ or {})
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    return caught.value


# --- what is shipped


def test_the_shipped_file_holds_every_setting_with_its_default() -> None:
    shipped = config.load(str(ROOT / "config.json"), {})
    built_in = config.load(None, {})
    assert list(built_in.rows()) == [(name, value, "default") for name, value, _ in shipped.rows()]
    assert {source for _, _, source in shipped.rows()} == {str(ROOT / "config.json")}


def test_the_documents_list_every_setting_as_it_is() -> None:
    assert config.table() in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("profile", "vcpus", "memory", "price", "disk"),
    [
        ("small", (4, 16), (16, 64), "2", 50),
        ("memory-intensive", (16, 64), (128, 512), "15", 200),
        ("large", (32, 128), (256, 1024), "20", 500),
    ],
)
def test_a_profile_lies_over_the_shipped_file(
    profile: str, vcpus: tuple[int, int], memory: tuple[int, int], price: str, disk: int
) -> None:
    found = config.load(str(ROOT / "config_profiles" / f"{profile}.json"), {})
    assert vcpus == (found.hardware.min_vcpu, found.hardware.max_vcpu)
    assert memory == (found.hardware.min_ram_gb, found.hardware.max_ram_gb)
    assert Money.of(price) == found.aws.max_price
    assert {disk} == {found.aws.disk_size_gb, found.gcp.disk_size_gb, found.azure.disk_size_gb}
    assert Money.of("20.00") == found.defaults.budget_limit


def test_the_documented_sections_load_unchanged() -> None:
    documented = """{
      "aws": {"region": "us-east-1"},
      "gcp": {"project_id": "your-project-id"},
      "azure": {"subscription_id": "your-subscription-id"},
      "defaults": {"budget_limit": 20.00, "estimated_runtime": 2.0}
    }"""
    found = config.load(written(documented), {})
    assert (found.aws.region, found.gcp.project_id) == ("us-east-1", "your-project-id")
    assert found.azure.subscription_id == "your-subscription-id"
    assert Money.of("20.00") == found.defaults.budget_limit
    assert Decimal("2.0") == found.defaults.estimated_runtime


# --- order


def test_flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_defaults() -> None:
    written('{"database": "file.db", "currency": "EUR", "watch": {"interval_seconds": 5}}')
    environ = {"TALLYGATE_DATABASE": "environment.db", "TALLYGATE_WATCH__INTERVAL_SECONDS": "6"}
    found = config.load(None, environ, {"database": "flag.db"})
    assert (found.database, found.sources["database"]) == ("flag.db", "flag")
    assert found.watch.interval_seconds == 6
    assert found.sources["watch.interval_seconds"] == "environment TALLYGATE_WATCH__INTERVAL_SECONDS"
    assert (found.currency, found.sources["currency"]) == ("EUR", "config.json")
    assert (found.store.busy_seconds, found.sources["store.busy_seconds"]) == (30, "default")


def test_a_named_file_must_exist_and_a_missing_default_file_is_fine() -> None:
    assert config.load(None, {}).database == "cloud_jobs.db"
    with pytest.raises(ConfigError, match=r"no configuration file elsewhere\.json"):
        config.load("elsewhere.json", {})
    with pytest.raises(ConfigError, match=r"no configuration file elsewhere\.json"):
        config.load(None, {"TALLYGATE_CONFIG": "elsewhere.json"})


def test_two_default_files_are_a_question_and_not_a_choice() -> None:
    written("{}", "config.json")
    written("{}", "config.yaml")
    with pytest.raises(ConfigError, match="only one can hold"):
        config.load(None, {})


def test_a_file_lies_over_the_one_it_extends_and_circles_end() -> None:
    written('{"database": "base.db", "currency": "EUR"}', "base.json")
    written('{"extends": "base.json", "database": "own.db"}', "own.json")
    found = config.load("own.json", {})
    assert (found.database, found.currency) == ("own.db", "EUR")
    assert "deep" in refused('{"extends": "config.json"}').message
    assert "extends" in refused('{"extends": 7}').message


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CLOUD_SCHEDULER_DB": "jobs.db"}, "jobs.db"),
        ({"DATABASE_URL": "postgresql://h/d"}, "postgresql://h/d"),
        ({"DATABASE_URL": "postgresql://h/d", "CLOUD_SCHEDULER_DB": "jobs.db"}, "jobs.db"),
        ({"CLOUD_SCHEDULER_DB": "jobs.db", "TALLYGATE_DATABASE": "ours.db"}, "ours.db"),
        ({"DB_HOST": "db.example", "DB_NAME": "costs", "DB_USER": "ann"}, "postgresql://ann@db.example:5432/costs"),
        (
            {"DB_HOST": "::1", "DB_PORT": "5433", "DB_USER": "a@b", "DB_PASSWORD": "p@ss/w:rd?"},
            "postgresql://a%40b:p%40ss%2Fw%3Ard%3F@[::1]:5433/cloud_costs",
        ),
        ({"DB_NAME": "costs", "DB_USER": "ann", "DB_PASSWORD": "x"}, "cloud_jobs.db"),
        ({"CLOUD_SCHEDULER_DB": ""}, "cloud_jobs.db"),
    ],
)
def test_documented_variables_name_the_database(environ: dict[str, str], expected: str) -> None:
    assert expected == config.load(None, environ).database


def test_documented_variables_name_regions_and_accounts() -> None:
    environ = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1", "GCP_PROJECT_ID": "p"}
    found = config.load(None, environ | {"AZURE_SUBSCRIPTION_ID": "s"})
    assert (found.aws.region, found.gcp.project_id, found.azure.subscription_id) == ("eu-west-1", "p", "s")


def test_every_setting_can_come_from_the_environment() -> None:
    for name, _ in config.settings():
        with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
            config.load(None, {config.variable_of(name): ""})


def test_lists_and_switches_are_text_in_the_environment() -> None:
    environ = {
        "TALLYGATE_STAGING__EXCLUDE": "*.tmp, cache/",
        "TALLYGATE_WATCH__THRESHOLDS": "60,100",
        "TALLYGATE_LOCAL__ENABLED": "no",
        "TALLYGATE_DEFAULTS__BUDGET_LIMIT": "none",
    }
    found = config.load(None, environ)
    assert found.staging.exclude == ("*.tmp", "cache/")
    assert found.watch.thresholds == (60, 100)
    assert found.local.enabled is False
    assert found.defaults.budget_limit is None


def test_variables_of_a_job_are_not_taken_for_settings_but_typos_are_refused() -> None:
    config.load(None, {"TALLYGATE_JOB_ID": "x", "TALLYGATE_DEBUG": "1"})
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"TALLYGATE_DEFAULTS__BUDGT_LIMIT": "5"})
    assert "TALLYGATE_DEFAULTS__BUDGET_LIMIT" in caught.value.cure


def test_variables_fill_values_of_the_file() -> None:
    text = (
        '{"docker": {"registry_password": "${PASS}"}, "aws": {"max_price": "${MAX}"}, "gcp": {"project_id": "$${x}"}}'
    )
    found = config.load(written(text), {"PASS": "s3cret", "MAX": "1.50"})
    assert found.docker.registry_password == "s3cret"
    assert Money.of("1.5") == found.aws.max_price
    assert found.gcp.project_id == "${x}"


@pytest.mark.parametrize(
    ("value", "says"),
    [("${MISSING}", "MISSING is not set"), ("${", "no variable name"), ("${a b}", "no variable name")],
)
def test_a_variable_that_is_not_there_is_named_with_its_key(value: str, says: str) -> None:
    error = refused(json.dumps({"aws": {"s3_bucket": value}}))
    assert "config.json: aws.s3_bucket: " in error.message
    assert says in error.message


# --- refusals


@pytest.mark.parametrize(
    ("text", "says", "cure"),
    [
        ('{"defaults": {"budgt_limit": 5}}', "defaults.budgt_limit is not a setting", "defaults.budget_limit"),
        ('{"default": {"budget_limit": 5}}', "'default' is not a setting", "defaults"),
        ('{"zzz": 1}', "'zzz' is not a setting", "tallygate config show"),
        ('{"defaults": {"budget_limit": 5, "budget_limit": 500}}', "'budget_limit' is given twice", ""),
        ('{"defaults": {"budget_limit": NaN}}', "NaN is not a number", ""),
        ('{"defaults": {"budget_limit": -Infinity}}', "-Infinity is not a number", ""),
        ('{"defaults": {"budget_limit": -1}}', "defaults.budget_limit: -1 is not an amount above zero", ""),
        ('{"defaults": {"budget_limit": 1e999}}', "defaults.budget_limit", ""),
        ('{"defaults": {"budget_limit": 1E+9}}', "defaults.budget_limit", ""),
        ('{"defaults": {"budget_limit": "１２"}}', "not a decimal number", ""),
        ('{"defaults": {"budget_limit": "nan"}}', "not a decimal number", ""),
        ('{"defaults": {"budget_limit": true}}', "True is not a number", ""),
        ('{"defaults": {"budget_limit": [1]}}', "a list is not a number", ""),
        ('{"defaults": {"estimated_runtime": 0}}', "0 is outside", ""),
        ('{"defaults": {"estimated_runtime": null}}', "null says nothing", ""),
        ('{"defaults": 5}', "5 is not a group of settings", ""),
        ('{"local": {"price_per_hour": 0}}', "local.price_per_hour: 0 is not an amount above zero", ""),
        ('{"local": {"price_per_hour": "36000"}}', "beyond the largest amount", ""),
        ('{"hardware": {"min_vcpu": 1.5}}', "1.5 is not a whole number", ""),
        ('{"hardware": {"min_vcpu": 8, "max_vcpu": 4}}', "4 is below hardware.min_vcpu, 8", ""),
        ('{"database": ""}', "database: is empty", ""),
        ('{"database": "' + "x" * 5_000 + '"}', "too long", ""),
        ('{"database": "a\\nb"}', "cannot be printed", ""),
        ('{"currency": "usd"}', "'usd' is not a currency code", ""),
        ('{"watch": {"thresholds": [80, 50]}}', "must rise", ""),
        ('{"staging": {"exclude": "x"}, "watch": []}', "watch: a list is not a group", ""),
        ("[]", "does not hold a group of settings", ""),
        ("", "line 1", ""),
        ('{"database": "x",}', "line 1", ""),
        ("{'database': 'x'}", "line 1", ""),
        ('{"hardware": {"min_vcpu": ' + "9" * 5000 + "}}", "config.json", ""),
        ("[" * 50_000, "nested too deeply", ""),
        ('{"database": "' + "x" * 10_000_000 + '"}', "more than the", ""),
        (b"\xff\xfe{\x00}\x00", "not UTF-8", ""),
        (b'{"database": "\x00"}', "line 1", ""),
    ],
)
def test_what_cannot_be_right_is_refused_with_one_sentence(text: str | bytes, says: str, cure: str) -> None:
    error = refused(text)
    assert says in error.message
    assert cure in error.cure


def test_a_byte_order_mark_and_tabs_are_only_spelling() -> None:
    assert config.load(written(b'\xef\xbb\xbf{\t"database":\t"x.db"\t}'), {}).database == "x.db"


def test_a_directory_is_not_a_configuration() -> None:
    Path("folder.json").mkdir()
    with pytest.raises(ConfigError, match="is not a file"):
        config.load("folder.json", {})


def test_fractions_stay_the_digits_that_were_written() -> None:
    found = config.load(
        written('{"defaults": {"budget_limit": 0.1, "estimated_runtime": 2.000000000000000000001}}'), {}
    )
    assert found.defaults.budget_limit is not None
    assert found.defaults.budget_limit.nanos == 100_000_000
    assert str(found.defaults.estimated_runtime) == "2.000000000000000000001"


# --- YAML


def test_yaml_means_the_same_as_json() -> None:
    text = "database: x.db\ndefaults:\n  budget_limit: 20.10\n  charge_to: null\nstaging:\n  exclude: ['*.tmp']\n"
    found = config.load(written(text, "config.yaml"), {})
    assert found.database == "x.db"
    assert Money.of("20.10") == found.defaults.budget_limit
    assert found.staging.exclude == ("*.tmp",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x]\nb: [*a, *a, *a]\n", "alias"),
        ("database: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("database: a\ndatabase: b\n", "given twice"),
        ("defaults:\n\tbudget_limit: 5\n", "line 2"),
        ("defaults: {budget_limit: .nan}\n", "not a decimal number"),
        ("defaults: {budget_limit: .inf}\n", "not a decimal number"),
        ("1: x\n", "the key 1 is not text"),
        ("database: 2026-01-01\n", "is not text"),
        ("database: [\n", "line 2"),
        ("- a\n", "does not hold a group"),
        ("[" * 20_000, "nested too deeply"),
        ("database: \x00", "config.yaml"),
        ("a: 1\n---\nb: 2\n", "single document"),
        ("defaults: {budgt: 1}\n", "not a setting"),
        ("database: " + "1:" * 10_000 + "1\n", "database: a number of very many digits is not text"),
        ("hardware: {min_vcpu: " + "1:" * 10_000 + "1}\n", "hardware.min_vcpu"),
        ("database: " + "x" * 40_000, "more than the 30,000"),
    ],
)
def test_yaml_that_surprises_is_refused(text: str, says: str) -> None:
    assert says in refused(text, "config.yaml").message


# --- secrets


def test_secrets_are_masked_wherever_they_are_shown() -> None:
    canary = "canary-7Q"
    text = json.dumps(
        {
            "azure": {"admin_password": canary},
            "docker": {"registry_password": canary, "registry_username": "${MY_TOKEN}"},
            "aws": {"key_name": canary},
            "database": f"postgresql://ann:{canary}@h:1/d?password={canary}",
        }
    )
    found = config.load(written(text), {"MY_TOKEN": canary})
    assert canary not in str(list(found.rows()))
    assert canary not in repr(found)
    shown = {name: value for name, value, _ in found.rows()}
    assert shown["database"] == "postgresql://********@h:1/d?********"


def test_a_refused_secret_is_not_repeated_in_the_refusal() -> None:
    error = refused('{"docker": {"registry_password": ["canary"]}}')
    assert "canary" not in f"{error.message} {error.cure}"
    assert "docker.registry_password" in error.message


# --- what it is


def test_a_configuration_cannot_be_changed() -> None:
    found = config.load(None, {})
    for section, name in ((found, "database"), (found.defaults, "budget_limit"), (found.defaults, "invented")):
        with pytest.raises(AttributeError):
            setattr(section, name, None)
    with pytest.raises(AttributeError):
        found.invented  # noqa: B018


def test_the_state_directory_lies_beside_the_database() -> None:
    def path(database: str, **more: str) -> str:
        return config.load(None, {}, {"database": database, **more}).state_path

    assert path("cloud_jobs.db") == ".tallygate"
    assert path("/data/jobs.db") == "/data/.tallygate"
    assert path("sqlite:////data/jobs.db") == "/data/.tallygate"
    assert path("postgresql://h/d") == ".tallygate"
    assert path("/data/jobs.db", state_dir="/s") == "/s"


def test_loading_imports_no_yaml_and_no_url_parser() -> None:
    import subprocess

    program = (
        "import sys; from tallygate import config; config.load(None, {});"
        "print([m for m in ('yaml', 'urllib.parse', 'difflib', 'logging') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout == "[]\n"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from([name for name, _ in config.settings()] + ["nonsense", "defaults.nonsense"])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, json_values, max_size=4))
def test_whatever_a_file_holds_it_loads_or_is_refused_as_configuration(values: dict[str, object]) -> None:
    """No input ends in anything but a configuration or a ``ConfigError``, and no amount that loads is out of bounds."""
    tree: dict[str, object] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        if section:
            group = tree.setdefault(section, {})
            assert isinstance(group, dict)
            group[key] = value
        else:
            tree[key] = value
    try:
        found = config.load(written(json.dumps(tree)), {})
    except ConfigError:
        return
    limit = found.defaults.budget_limit
    assert limit is None or 0 <= limit.nanos <= 10**17
    assert 0 < found.local.price_per_hour.nanos <= 2000 * 10**9


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["config.json", "config.yaml"]))
def test_whatever_bytes_a_file_holds_the_answer_is_a_configuration_or_a_refusal(content: bytes, name: str) -> None:
    for other in ("config.json", "config.yaml"):
        Path(other).unlink(missing_ok=True)
    with suppress(ConfigError):
        config.load(written(content, name), {})
