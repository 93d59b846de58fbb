"""``cloud_run.py`` and ``tallygate run``: put a job directory under a budget and launch it."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import config as configuration
from .. import times
from ..errors import UsageError
from ..jobs.submission import Submission
from ..reports.render import provider_name
from . import flags, machine
from .documented import of_row
from .machine import option
from .options import ConfigFile, Json
from .output import progress, show, show_json, warn
from .shell import Interrupted

if TYPE_CHECKING:
    from ..app import App
    from ..jobs.job import Job

_BUDGET, _JOB, _HOW = "Budget options", "Job options", "How to launch"

EXPIRES_HOURS = 1
"""How long a plan is good unless --plan-expires says otherwise: prices move."""


def run(
    job_dir: Annotated[
        str | None, typer.Argument(metavar="JOB_DIR", help="Directory with the job's files.", show_default=False)
    ] = None,
    budget: Annotated[
        str | None,
        option("--budget", panel=_BUDGET, metavar="USD", help="The most this job may cost (default: 20.00)."),
    ] = None,
    estimated_runtime: Annotated[
        str | None,
        option(
            "--estimated-runtime",
            panel=_BUDGET,
            metavar="HOURS",
            help="How long it should run (default: 2.0); auto: as its finished runs say.",
        ),
    ] = None,
    max_runtime: Annotated[
        str | None,
        option(
            "--max-runtime",
            panel=_BUDGET,
            metavar="HOURS",
            help="The machine ends itself after this time at the latest.",
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        str | None,
        option(
            "--checkpoint-minutes",
            panel=_BUDGET,
            metavar="N",
            help="How often the job saves its work; without it an interrupted job is taken to begin again.",
        ),
    ] = None,
    charge_to: Annotated[
        str | None,
        option("--charge-to", panel=_BUDGET, metavar="BUDGET", help="Budget or scope that also pays for it."),
    ] = None,
    accept_price: Annotated[
        str | None,
        option(
            "--accept-price", panel=_BUDGET, metavar="USD", help="Decide on this price per hour; it is put on record."
        ),
    ] = None,
    provider: Annotated[
        str | None, option("--provider", panel=machine.PANEL, metavar="NAME", help="local, AWS, GCP or Azure.")
    ] = None,
    instance: Annotated[
        str | None,
        option("--instance", panel=machine.PANEL, metavar="TYPE", help="Instance type; alone it narrows the search."),
    ] = None,
    region: Annotated[
        str | None,
        option("--region", panel=machine.PANEL, metavar="REGION", help="Region; alone it narrows the search."),
    ] = None,
    from_spot_prices: Annotated[
        bool, option("--from-spot-prices", panel=machine.PANEL, help="Choose from the saved list spot_prices.json.")
    ] = False,
    index: Annotated[
        str | None, option("--index", panel=machine.PANEL, metavar="N", help="Entry of that list, from 0 (default: 0).")
    ] = None,
    min_vcpu: machine.MinVcpu = None,
    max_vcpu: machine.MaxVcpu = None,
    min_ram: machine.MinRam = None,
    max_ram: machine.MaxRam = None,
    command: Annotated[
        str | None, option("--command", panel=_JOB, metavar="TEXT", help="What to run there (default: ./run.sh).")
    ] = None,
    name: Annotated[
        str | None,
        option("--name", panel=_JOB, metavar="NAME", help="Name of the job (default: after the directory)."),
    ] = None,
    env: Annotated[
        list[str] | None,
        option("--env", panel=_JOB, metavar="K=V", help="Environment variable of the job; repeatable."),
    ] = None,
    tag: Annotated[
        list[str] | None, option("--tag", panel=_JOB, metavar="K=V", help="Tag of job, machine and bill; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        option("--exclude", panel=_JOB, metavar="PATTERN", help="Leave these files out as well; repeatable."),
    ] = None,
    s3_bucket: Annotated[
        str | None, option("--s3-bucket", panel=_JOB, metavar="BUCKET", help="S3 bucket for inputs and results.")
    ] = None,
    bucket: Annotated[
        str | None,
        option("--bucket", panel=_JOB, metavar="URL", help="The same as a URL: s3://, gs://, az://, file://."),
    ] = None,
    docker: Annotated[bool, option("--docker", panel=_JOB, help="Run the command in a container.")] = False,
    docker_image: Annotated[
        str | None, option("--docker-image", panel=_JOB, metavar="IMAGE", help="Which image; implies --docker.")
    ] = None,
    egress_gib: Annotated[
        str | None, option("--egress-gib", panel=_JOB, metavar="N", help="GiB the job sends out of the cloud.")
    ] = None,
    basis: Annotated[
        str | None, option("--basis", panel=_JOB, metavar="NAME", help="Job parameter, kept with the job.")
    ] = None,
    compute_executable: Annotated[
        str | None,
        option("--compute-executable", panel=_JOB, metavar="PATH", help="Job parameter, kept with the job."),
    ] = None,
    gdrive_path: Annotated[
        str | None, option("--gdrive-path", panel=_JOB, metavar="PATH", help="Job parameter, kept with the job.")
    ] = None,
    dry_run: Annotated[
        bool, option("--dry-run", panel=_HOW, help="Say what would happen and the most it can cost; touch nothing.")
    ] = False,
    plan: Annotated[
        str | None,
        option(
            "--plan", panel=_HOW, metavar="FILE", help="Launch nothing; write a plan that can be launched as it is."
        ),
    ] = None,
    plan_expires: Annotated[
        str | None,
        option("--plan-expires", panel=_HOW, metavar="HOURS", help="How long that plan is good (default: 1)."),
    ] = None,
    from_plan: Annotated[
        str | None,
        option(
            "--from-plan",
            panel=_HOW,
            metavar="FILE",
            help="Launch what a plan says, once; with the same --env and no other flags.",
        ),
    ] = None,
    wait: Annotated[bool, option("--wait", panel=_HOW, help="Show what the job prints until it is over.")] = False,
    key: Annotated[
        str | None, option("--key", panel=_HOW, metavar="TEXT", help="A repeat with the same key is the same job.")
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Launch a job directory under a budget.

    The most it can cost is held before a machine is asked for, and the machine ends itself in time. An estimate above
    the budget is refused with exit code 1, and nothing is launched.

    \b
    Examples:
      python cloud_run.py my_job --s3-bucket my-bucket --budget 10.00 --estimated-runtime 3.0
      python cloud_run.py my_job --dry-run
      python cloud_run.py my_job --command "python3 main.py" --charge-to team --wait
      python cloud_run.py my_job --estimated-runtime auto --plan my_job.plan
      python cloud_run.py --from-plan my_job.plan --wait
    """
    given = dict(locals())
    if from_plan is not None:
        return _run_plan(Path(from_plan), given)
    wanted = _Wanted(given)  # every flag is read before anything else happens
    settings = configuration.load(config)
    submission = wanted.submission(settings)
    from ..app import App

    with App.open(settings, readonly=dry_run) as app:
        if dry_run or plan is not None:
            from .plan_shown import show_plan

            if plan is None:
                show_plan(app.plan(submission, tentative=True), as_json=json)
            else:
                path = Path(plan)
                show_plan(app.write_plan(submission, path, hours=wanted.plan_hours), as_json=json, written=path)
            return 0
        job = _submitted(app, submission)
        if submission.bucket is not None and not job.spec.inputs.startswith(submission.bucket):
            warn(f"{submission.bucket} is only kept on record: the files of this job are under {job.spec.outputs}")
        return _answer(app, job, wait=wait, as_json=json)


_WITH_A_PLAN = frozenset({"from_plan", "wait", "json", "config", "env"})


def _run_plan(path: Path, given: dict[str, Any]) -> int:
    """Launch what a plan file says. Everything else that decides a launch stands in the plan, so no flag may say it again."""
    others = [name for name, value in given.items() if value and name not in _WITH_A_PLAN]
    if others:
        flag = "A job directory" if others[0] == "job_dir" else f"--{others[0].replace('_', '-')}"
        raise UsageError(
            f"{flag} cannot be given with --from-plan: the plan says everything",
            cure="Drop it, or make another plan with --plan",
        )
    environment = flags.variables("--env", given["env"])
    settings = configuration.load(given["config"])
    from ..app import App

    with App.open(settings) as app:
        job = _launched(lambda: app.launch_plan(path, environment, say=progress()))
        return _answer(app, job, wait=given["wait"], as_json=given["json"])


def _answer(app: "App", job: "Job", *, wait: bool, as_json: bool) -> int:
    if wait:
        job = _awaited(app, job, as_json=as_json)
    if as_json:
        show_json(of_row(app.jobs.documented_row(job.id) or {}))
    else:
        _show_job(job)
    return 1 if wait and job.state != "completed" else 0


class _Wanted:
    """The flags of one launch, read and checked, before configuration fills what they leave open."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        flags.money("--budget", given["budget"])
        flags.money("--accept-price", given["accept_price"])
        self.from_history = (given["estimated_runtime"] or "").lower() == "auto"
        self.hours = None if self.from_history else flags.hours("--estimated-runtime", given["estimated_runtime"])
        minutes = flags.number("--checkpoint-minutes", given["checkpoint_minutes"], low=0, high=43_200)
        self.checkpoint_seconds = None if minutes is None else max(1, int(minutes * 60))
        self.plan_hours = flags.hours("--plan-expires", given["plan_expires"]) or Decimal(EXPIRES_HOURS)
        self._check_plan()
        self.run_seconds_max = flags.seconds("--max-runtime", given["max_runtime"])
        self.machine = machine.Machine(given)
        self.instance = flags.text("--instance", given["instance"], at_most=100)
        self.index = flags.maybe_whole("--index", given["index"], low=0, high=9_999)
        self.egress_gib = flags.maybe_whole("--egress-gib", given["egress_gib"], low=0, high=1_000_000)
        if given["job_dir"] is None:
            raise UsageError("Missing argument 'JOB_DIR'.", cure="See: cloud_run.py --help")
        self.directory = Path(flags.text("JOB_DIR", given["job_dir"], at_most=4_000) or ".")
        self.name = flags.job_name("--name", given["name"]) or flags.named_after(self.directory.resolve().name)
        self.command = flags.command("--command", given["command"])
        self.charge_to = flags.text("--charge-to", given["charge_to"], at_most=200)
        self.image = flags.text("--docker-image", given["docker_image"], at_most=500)
        self.key = flags.text("--key", given["key"], at_most=200)
        self.environment = flags.variables("--env", given["env"])
        self.tags = flags.tags("--tag", given["tag"])
        self.exclude = tuple(str(flags.text("--exclude", one)) for one in given["exclude"] or ())
        self.bucket = self._bucket()
        self.metadata = self._metadata()

    def _check_plan(self) -> None:
        """A plan is launched later, under its own key; what only a launch can do goes with that."""
        given = self.given
        if given["plan"] is None:
            if given["plan_expires"] is not None:
                raise UsageError(
                    "--plan-expires says how long a plan is good", cure="Give it together with --plan FILE"
                )
            return
        flags.text("--plan", given["plan"], at_most=4_000)
        for name in ("wait", "key", "dry_run"):
            if given[name]:
                raise UsageError(
                    f"--{name.replace('_', '-')} does not go with --plan, which launches nothing",
                    cure="Drop it; --wait can be given with --from-plan, and a plan is its own key",
                )

    def _bucket(self) -> str | None:
        name = flags.text("--s3-bucket", self.given["s3_bucket"], at_most=255)
        url = flags.text("--bucket", self.given["bucket"], at_most=1_000)
        if name is not None and url is not None:
            raise UsageError("--s3-bucket and --bucket both say where files go", cure="Give one of them")
        if url is not None and "://" not in url:
            raise UsageError(f"--bucket {url!r} is not a URL", cure=f"Write it like s3://{url}")
        return url if name is None else f"s3://{name.removeprefix('s3://')}"

    def _metadata(self) -> dict[str, str]:
        documented = {
            "s3_bucket": self.given["s3_bucket"],
            "gdrive_path": flags.text("--gdrive-path", self.given["gdrive_path"]),
            "basis_set": flags.text("--basis", self.given["basis"]),
            "compute_executable": flags.text("--compute-executable", self.given["compute_executable"]),
        }
        return {name: value for name, value in documented.items() if value is not None}

    def submission(self, config: configuration.Config) -> Submission:
        """What is submitted, with what the flags leave open taken from the configuration."""
        given = self.given
        request = self.machine.request(config, instance_type=self.instance)
        listed = given["from_spot_prices"] or self.index is not None
        return Submission(
            directory=self.directory,
            name=self.name,
            command=self.command,
            image=self._image(config),
            environment=self.environment,
            exclude=self.exclude,
            bucket=self.bucket,
            request=request,
            estimated_runtime_hours=self.hours,
            run_seconds_max=self.run_seconds_max,
            egress_gib=self.egress_gib or 0,
            budget=flags.money("--budget", given["budget"], config.currency),
            charge_to=self.charge_to,
            accept_price=flags.money("--accept-price", given["accept_price"], config.currency),
            price_list=Path(config.prices.file) if listed else None,
            index=self.index,
            tags=self.tags,
            metadata=self.metadata,
            key=self.key,
            runtime_from_history=self.from_history,
            checkpoint_seconds=self.checkpoint_seconds,
        )

    def _image(self, config: configuration.Config) -> str | None:
        if not (self.given["docker"] or self.image or config.docker.enabled):
            return None
        image = self.image or config.docker.image
        if image is None:
            raise UsageError(
                "--docker needs an image", cure="Give --docker-image IMAGE, or set docker.image in the configuration"
            )
        return image


# --- launching


def _submitted(app: "App", submission: Submission) -> "Job":
    return _launched(lambda: app.submit(submission, say=progress()))


def _launched(launch: Callable[[], "Job"]) -> "Job":
    try:
        return launch()
    except KeyboardInterrupt:
        raise Interrupted(
            "The launch may be half done. Its money stays held until the next reconcile finishes it or ends it.",
            "Run it with: python job_manager.py reconcile",
        ) from None


def _awaited(app: "App", job: "Job", *, as_json: bool) -> "Job":
    """Hand on what the job prints until it is over."""
    import sys

    def log(piece: bytes) -> None:
        # With --json standard output is for the answer alone.
        stream = sys.stderr if as_json else sys.stdout
        stream.flush()
        stream.buffer.write(piece)
        stream.buffer.flush()

    try:
        return app.wait(job.id, on_log=log)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Job {job.id} goes on, and its machine ends itself in time.",
            f"Look with: python job_manager.py show {job.id}",
        ) from None


# --- showing


def _show_job(job: "Job") -> None:
    from ..reports.render import amount, clean

    offer = job.offer
    lines = [
        f"Job {job.id} ({clean(job.name)}) is {job.state}"
        f" on {provider_name(offer.provider)} {clean(offer.instance_type)} in {clean(offer.zone or offer.region)}",
        f"  Estimated cost    {amount(job.estimated_cost)} for {times.duration(job.estimated_runtime_seconds)}"
        f" at {amount(offer.hourly_price)}/hour{_share_of_budget(job)}",
        f"  Cannot cost more  ${job.hold.shown(4)}, which {'was' if job.state.is_over else 'is'} held for it",
    ]
    if not job.state.is_over:
        lines.append(f"  Ends at latest    after {times.duration(job.run_seconds_max)}")
    if job.metered_cost is not None:
        lines.append(f"  Metered so far    {amount(job.metered_cost)}")
    if job.reason:
        lines.append(f"  Reason            {clean(job.reason)}")
    lines.append(
        f"  Results           python job_manager.py fetch {job.id}"
        if job.state.is_over
        else f"  Follow it         python job_manager.py logs {job.id} --follow"
    )
    if job.run_seconds_max < job.estimated_runtime_seconds:
        warn(
            f"the budget covers {times.duration(job.run_seconds_max)}"
            f" of the estimated {times.duration(job.estimated_runtime_seconds)}"
        )
    show("\n".join(lines))


def _share_of_budget(job: "Job") -> str:
    if job.budget_limit is None:
        return ""
    share = job.estimated_cost.percent_of(job.budget_limit)
    return f", {'all' if share is None else f'{share}%'} of budget ${job.budget_limit:.2f}"
