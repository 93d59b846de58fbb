"""Plans as files: what is bound, what is refused and in which words, and that a plan launches one job."""

from __future__ import annotations

import copy
import json
import os
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate import config
from tallygate.app import App
from tallygate.errors import (
    BudgetExceeded,
    CredentialsMissing,
    EstimateExceedsBudget,
    PlanRefused,
    PriceRefused,
    UsageError,
)
from tallygate.jobs import plan_file
from tallygate.jobs.milestones import Milestone
from tallygate.jobs.submission import Submission
from tallygate.money import Money
from tallygate.pricing.offers import Offer, ResourceRequest
from tallygate.store.migrate import open_store
from tallygate.times import Clock, SystemClock, shown

SECRET = "a-value-nobody-may-see"


class Skewed:
    """The real time, moved: the machines of this test are real ones."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._clock = SystemClock()

    def now(self) -> Any:
        return self._clock.now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "run.sh").write_text("true\n")
    return tmp_path


@pytest.fixture
def clock() -> Skewed:  # type: ignore[override]
    return Skewed()


Opened = Callable[..., App]


def whole_machine() -> Offer:
    """All of this machine, which costs the configured price."""
    with App.open(config.load(environ={}), readonly=True) as app:
        return max(app.provider("local").offers(ResourceRequest()), key=lambda offer: offer.vcpus)


@pytest.fixture
def opened(place: Path, clock: Clock) -> Iterator[Opened]:
    """``opened(price="0.40")``: the installation of this directory, with that price for this machine."""
    apps: list[App] = []

    def opening(price: str = "0.36", database: str = "cloud_jobs.db", **more: Any) -> App:
        settings = config.load(environ={}, flags={"local.price_per_hour": price, "database": str(place / database)})
        store = open_store(settings.database, clock=clock)
        app = App(settings, store, clock=clock, **more)
        apps.append(app)
        return app

    yield opening
    for app in apps:
        for row in app.jobs.rows():
            app.terminate(str(row["job_id"]), reason="the test is over")
        app.watch(interval=0.05, until_idle=True)
        app.database.close()


def asked(place: Path, **more: Any) -> Submission:
    given: dict[str, Any] = {
        "directory": place / "job",
        "name": "job",
        "request": ResourceRequest(provider="local", instance_type=whole_machine().instance_type),
        "estimated_runtime_hours": Decimal(1),
        "budget": Money.of(5),
        "environment": {"TOKEN": SECRET},
    }
    return Submission(**{**given, **more})


def written(app: App, place: Path, *, hours: str = "1", **more: Any) -> Path:
    path = place / "job.plan"
    app.write_plan(asked(place, **more), path, hours=Decimal(hours))
    return path


def launch(app: App, path: Path, environment: dict[str, str] | None = None) -> Any:
    return app.launch_plan(path, {"TOKEN": SECRET} if environment is None else environment)


def refusal(kind: type[Exception], act: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        act()
    return caught.value.message  # type: ignore[attr-defined, no-any-return]


# --- launching


def test_a_plan_is_launched_as_it_stands_and_only_once(opened: Opened, place: Path) -> None:
    app = opened()
    path = written(app, place, tags={"team": "search"}, metadata={"basis_set": "x"})
    assert app.jobs.rows() == []
    job = launch(app, path)
    content = json.loads(path.read_text())["content"]
    assert (job.name, job.hold, job.run_seconds_max) == ("job", Money.of("0.5405"), 5400)
    assert job.hold.shown() in content["estimate"]["worst_case"]
    assert (job.spec.command, job.spec.inputs_digest) == ("./run.sh", content["inputs"]["digest"])
    assert job.spec.environment == {"TOKEN": SECRET}
    assert (job.tags, job.metadata["basis_set"]) == ({"team": "search"}, "x")
    assert job.metadata["plan"] == json.loads(path.read_text())["digest"]
    assert json.loads(job.metadata["quote"])["expected"] == "0.36 USD"
    assert launch(app, path).id == job.id
    assert len(app.jobs.rows()) == 1


def test_a_replay_is_answered_with_the_job_even_when_the_plan_has_expired(
    opened: Opened, place: Path, clock: Skewed
) -> None:
    app = opened()
    path = written(app, place)
    job = launch(app, path)
    app.terminate(job.id, reason="enough")
    clock.ahead = timedelta(hours=3)
    said: list[str] = []
    assert app.launch_plan(path, {}, say=said.append).id == job.id
    assert said == [f"This plan has already launched job {job.id}"]


def test_two_who_launch_the_same_plan_at_once_get_the_same_job(opened: Opened, place: Path) -> None:
    other = opened()
    path = written(other, place)
    first: list[str] = []

    def meanwhile(milestone: Milestone) -> None:
        if milestone is Milestone.STAGED and not first:
            first.append(launch(other, path).id)

    app = opened(passing=meanwhile)
    assert launch(app, path).id == first[0]
    assert len(app.jobs.rows()) == 1
    assert app.book.verify().problem is None


# --- what is in the file


def test_the_file_is_for_its_owner_alone_and_holds_no_value_of_the_environment(opened: Opened, place: Path) -> None:
    before = os.umask(0)
    try:
        path = written(opened(), place)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert SECRET not in text
    assert "TOKEN" in text


def test_equal_values_of_two_variables_do_not_look_equal(opened: Opened, place: Path) -> None:
    path = written(opened(), place, environment={"ONE": SECRET, "TWO": SECRET})
    sealed = json.loads(path.read_text())["content"]["environment"]
    assert sealed["ONE"] != sealed["TWO"]


def test_a_file_that_is_there_is_not_written_over(opened: Opened, place: Path) -> None:
    app = opened()
    path = written(app, place)
    before = path.read_bytes()
    assert refusal(UsageError, lambda: written(app, place)) == f"{path} is already there"
    assert path.read_bytes() == before


def test_what_is_read_is_what_was_written(opened: Opened, place: Path) -> None:
    path = written(
        opened(),
        place,
        exclude=("*.tmp",),
        checkpoint_seconds=600,
        request=ResourceRequest(provider="local", memory_gib_min=Decimal("0.5")),
    )
    read = plan_file.read(path)
    assert plan_file.plainly(read.content) == json.loads(path.read_text())["content"]
    assert read.content.submission.exclude == ("*.tmp",)
    assert read.content.submission.request.memory_gib_min == Decimal("0.5")
    assert read.content.estimate.offer.provider == "local"


# --- refused: changed


def leaves(plain: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a document."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    found = False
    for key, each in inner:
        found = True
        yield from leaves(each, (*at, key))
    if not found:
        yield at


def test_no_value_of_a_plan_can_be_changed(opened: Opened, place: Path) -> None:
    """Every single value, one after the other; and so can nothing be added or left out."""
    app = opened()
    path = written(app, place, tags={"team": "search"})
    document = json.loads(path.read_text())
    ways = list(leaves(document))
    assert len(ways) > 60
    for way in ways:
        changed = copy.deepcopy(document)
        place_of = changed
        for key in way[:-1]:
            place_of = place_of[key]
        value = place_of[way[-1]]
        if isinstance(value, str):
            place_of[way[-1]] = ("0" if value[:1] != "0" else "1") + value[1:]
        else:
            place_of[way[-1]] = value + 1 if isinstance(value, int) and not isinstance(value, bool) else "x"
        path.write_text(json.dumps(changed))
        with pytest.raises(PlanRefused):
            launch(app, path)
    for part in ("content", "digest", "seal"):
        path.write_text(json.dumps({key: each for key, each in document.items() if key != part}))
        with pytest.raises(PlanRefused):
            launch(app, path)
    path.write_text(json.dumps({**document, "note": ""}))
    with pytest.raises(PlanRefused):
        launch(app, path)
    assert app.jobs.rows() == []


def test_a_changed_hold_is_refused_with_both_digests(opened: Opened, place: Path) -> None:
    app = opened()
    path = written(app, place)
    document = json.loads(path.read_text())
    document["content"]["estimate"]["worst_case"] = "50.00 USD"
    path.write_text(json.dumps(document))
    came_to = plan_file.digest_of(document["content"])
    assert refusal(PlanRefused, lambda: launch(app, path)) == (
        f"{path} was changed: its digest is {document['digest'][:12]!r} and its content comes to {came_to[:12]!r}"
    )


def test_a_plan_with_its_digest_made_anew_still_lacks_the_seal(opened: Opened, place: Path) -> None:
    app = opened()
    path = written(app, place)
    document = json.loads(path.read_text())
    document["content"]["command"] = "curl evil"
    document["digest"] = plan_file.digest_of(document["content"])
    path.write_text(json.dumps(document))
    assert refusal(PlanRefused, lambda: launch(app, path)) == (
        f"{path} does not carry the seal of this installation: somebody else made or changed it"
    )


def test_the_plan_of_another_installation_is_refused(opened: Opened, place: Path) -> None:
    app, other = opened(), opened(database="other.db")
    path = written(other, place)
    assert refusal(PlanRefused, lambda: launch(app, path)) == (
        f"{path} was made by the installation {other.install_id!r}, and this is {app.install_id!r}"
    )


NO_PLANS = {
    "empty": b"",
    "cut off": b"{",
    "a list": b"[]",
    "nothing": b"null",
    "not text": b"\xff\xfe",
    "another format": b'{"content": {"format": 2}, "digest": "x", "seal": "x"}',
    "no format": b'{"content": {}, "digest": "x", "seal": "x"}',
    "a digest that is a number": b'{"content": {"format": 1}, "digest": 5, "seal": "x"}',
    "a key twice": b'{"content": {}, "content": {}, "digest": "x", "seal": "x"}',
    "a number with a point": b'{"content": {"format": 1.0}, "digest": "x", "seal": "x"}',
    "no number": b'{"content": {"format": NaN}, "digest": "x", "seal": "x"}',
    "a deep hole": b"[" * 100_000,
    "far too large": b" " * (plan_file.BYTES_MAX + 1),
}


@pytest.mark.parametrize("data", NO_PLANS.values(), ids=NO_PLANS)
def test_what_is_no_plan_is_refused(data: bytes, opened: Opened, place: Path) -> None:
    path = place / "no.plan"
    path.write_bytes(data)
    with pytest.raises(PlanRefused) as caught:
        launch(opened(), path)
    assert str(path) in caught.value.message


def test_a_sealed_plan_whose_content_does_not_hold_together_is_refused(opened: Opened, place: Path) -> None:
    """As another version might have written it: the digest fits, the parts do not."""
    path = written(opened(), place)
    document = json.loads(path.read_text())
    for change in ({"made_at": "yesterday"}, {"environment": []}, {"estimate": None}, {"novelty": 1}):
        content = {**document["content"], **change}
        path.write_text(json.dumps({**document, "content": content, "digest": plan_file.digest_of(content)}))
        message = refusal(PlanRefused, lambda: plan_file.read(path))
        assert message.startswith(f"{path} is not a plan: its content does not hold together (")


def test_a_file_that_is_not_there_is_a_mistake(opened: Opened, place: Path) -> None:
    assert "cannot be read" in refusal(UsageError, lambda: launch(opened(), place / "none.plan"))


# --- refused: no longer so


def test_a_plan_whose_time_is_over_is_refused(opened: Opened, place: Path, clock: Skewed) -> None:
    app = opened()
    path = written(app, place)
    expires_at = plan_file.read(path).content.expires_at
    clock.ahead = timedelta(hours=1, minutes=9, seconds=59)
    assert refusal(PlanRefused, lambda: launch(app, path)) == f"The plan expired at {shown(expires_at)}, 9 min ago"
    clock.ahead = -timedelta(hours=1)
    assert refusal(PlanRefused, lambda: launch(app, path)).startswith("The plan was made at ")
    assert app.jobs.rows() == []


def test_a_plan_is_good_for_as_long_as_was_said(opened: Opened, place: Path, clock: Skewed) -> None:
    app = opened()
    path = written(app, place, hours="3")
    clock.ahead = timedelta(hours=2, minutes=59)
    assert launch(app, path).name == "job"


def test_inputs_that_changed_are_refused_with_what_was_and_what_is(opened: Opened, place: Path) -> None:
    app = opened()
    path = written(app, place)
    was = plan_file.read(path).content.inputs.digest
    (place / "job" / "run.sh").write_text("true \n")
    message = refusal(PlanRefused, lambda: launch(app, path))
    assert message.startswith(
        f"The files of {place / 'job'} changed: planned were 1 files, 5 bytes, {was[:12]}; there are 1 files, 6 bytes, "
    )
    assert was[:12] not in message.partition(";")[2]
    assert not list((place / ".tallygate").rglob("*.tar.gz")), "what is refused is not uploaded"


def test_a_price_above_the_plans_ceiling_is_refused(opened: Opened, place: Path) -> None:
    path = written(opened(), place)
    assert refusal(PriceRefused, lambda: launch(opened(price="0.37"), path)) == (
        f"The price of {whole_machine()} is $0.3700 an hour today, above the plan's ceiling of $0.3600"
    )


def test_a_price_that_fell_is_taken_and_the_hold_stays(opened: Opened, place: Path) -> None:
    path = written(opened(), place)
    job = launch(opened(price="0.30"), path)
    assert (job.offer.hourly_price, job.estimated_cost, job.hold) == (
        Money.of("0.30"),
        Money.of("0.30"),
        Money.of("0.5405"),
    )


def test_a_price_that_no_longer_fits_the_budget_is_the_documented_refusal(opened: Opened, place: Path) -> None:
    path = written(opened(), place, budget=Money.of("0.55"))
    assert refusal(EstimateExceedsBudget, lambda: launch(opened(price="0.56"), path)) == (
        "Estimated cost $0.5600 exceeds budget $0.55\n"
        f"Instance: {whole_machine().instance_type} @ $0.5600/hour for 1.0 hours\n"
        "Use --estimated-runtime to adjust runtime estimate or increase --budget"
    )


def test_terms_that_make_the_worst_case_dearer_are_refused(
    opened: Opened, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened()
    path = written(app, place)
    terms = app.terms("local")
    from dataclasses import replace

    monkeypatch.setattr(App, "terms", lambda self, provider: replace(terms, kill_seconds=terms.kill_seconds + 10))
    assert refusal(PriceRefused, lambda: launch(opened(), path)) == (
        f"{whole_machine()} can cost $0.5415 by today's terms, more than the $0.5405 that the plan holds"
    )


def test_a_budget_that_is_gone_is_refused_with_what_is_left(opened: Opened, place: Path) -> None:
    app = opened()
    app.book.add_budget(name="team", limit=Money.of(1))
    path = written(app, place, charge_to="team")
    app.submit(asked(place, charge_to="team", name="other"))
    assert refusal(BudgetExceeded, lambda: launch(app, path)) == (
        "Budget team has $0.4595 available of $1.00 ($0.5405 held, $0.0000 spent); this launch would hold $0.5405"
    )
    assert len(app.jobs.rows()) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "The plan has the environment variable TOKEN, which was not given"),
        ({"TOKEN": SECRET, "MORE": "1"}, "The plan has no environment variable MORE"),
        ({"TOKEN": "another"}, "The environment variable TOKEN has another value than in the plan"),
    ],
)
def test_another_environment_is_refused_by_name_and_never_by_value(
    given: dict[str, str], says: str, opened: Opened, place: Path
) -> None:
    app = opened()
    path = written(app, place)
    assert refusal(PlanRefused, lambda: launch(app, path, given)) == says


def test_a_cloud_that_cannot_be_launched_on_is_planned_and_refused_at_the_launch(opened: Opened, place: Path) -> None:
    listed = {
        "provider": "AWS",
        "instance": "m5.large",
        "region": "us-east-1",
        "price_hr": 0.04,
        "vcpu": 2,
        "ram_gb": 8,
    }
    (place / "spot_prices.json").write_text(json.dumps([{**listed, "on_demand_hr": 0.096}]))
    app = opened()
    path = written(app, place, request=ResourceRequest(provider="aws"))
    message = refusal(CredentialsMissing, lambda: launch(app, path))
    assert message.startswith("This version cannot launch on AWS")
    (place / "spot_prices.json").unlink()
    assert "spot_prices.json" in refusal(
        UsageError,
        lambda: app._planner.offer_today(
            plan_file.read(path).content.submission, plan_file.read(path).content.estimate.offer
        ),
    )
