"""What a machine is told to do, and what it reports.

    job, attempt --> document --> agent.sh on the machine --> log.txt, output.tar.gz, result.json, ...
                                                          '-> report <-- result.json

The script, ``budget.sh`` and ``agent.sh``, is one constant text. All that differs between jobs is in the document: flat
JSON, one key a line, numbers and plain words as they are, everything a person wrote in base64. The script takes it
apart with nothing but the shell's own words, so that nothing a person wrote is ever read by a shell as anything but the
job's command.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import Unavailable, UsageError
from ..money import Money
from .job import Attempt, Job

LOG = "log.txt"
OUTPUT = "output.tar.gz"
CHECKPOINT = "checkpoint.tar.gz"
HEARTBEAT = "heartbeat.json"
RESULT = "result.json"
"""What a machine writes into its attempt's place, ``jobs/<job>/<attempt>/``; the result comes last."""

COMMAND_BYTES_MAX = 64 * 1024
VALUE_BYTES_MAX = 64 * 1024
ENVIRONMENT_BYTES_MAX = 256 * 1024
"""What one program can be started with on Linux: 128 KiB a value, and room for all of them together."""

RESTORES_MAX = 10
"""How many earlier attempts are asked for a checkpoint, newest first."""

HOURLY_PRICE_MAX = Money.of(1_000_000)
"""A machine's shell counts nano-units in 64 bits: with prices up to this one, an hour's 3600-fold still fits."""

REPORT_BYTES_MAX = 64 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_IMAGE = re.compile(
    r"(?=.{1,512}\Z)[a-z0-9][a-zA-Z0-9._-]*(:[0-9]{1,5})?(/[a-zA-Z0-9_][a-zA-Z0-9._-]*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_PLACE = re.compile(r"[A-Za-z0-9._~:/?@!$&'()*+,;=%-]{1,4096}")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,128}")

_OURS = ("TALLYGATE_", "tg_", "DOCKER_")
_THE_SHELLS = re.compile(
    "BASH|BASHOPTS|BASH_ENV|BASH_VERSINFO|ENV|EUID|IFS|LINENO|OLDPWD|OPTARG|OPTIND|PPID|PS[124]|PWD|SHELLOPTS|UID|_"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How machines go about their jobs.

    ``thresholds``: percents of the hold that a job can ask about. ``grace_seconds``: between asking a job to stop and
    killing it. ``upload_seconds``: the most one upload may take. Both together are what a job loses of its time at the
    end, but never more than a quarter of it. ``log_seconds``, ``checkpoint_seconds``: how often log and checkpoint are
    uploaded while the job runs.
    """

    thresholds: tuple[int, ...] = (50, 80, 90, 100)
    grace_seconds: int = 30
    upload_seconds: int = 60
    log_seconds: int = 2
    checkpoint_seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a machine reported of its attempt when it ended.

    ``reason``: ``finished`` (the command ran to its end, whatever its exit status), ``deadline``, ``stopped`` (it was
    told to), ``interrupted`` (the machine was taken away), ``expired`` (it began too late to run anything), ``inputs``
    (they could not be fetched, or were not what was staged), ``setup`` (the machine could not run the command).
    ``outputs`` and ``checkpoint``: ``saved``, ``none`` or ``lost``. ``image`` is the digest of the image used.
    """

    job_id: str
    attempt: int
    reason: str
    detail: str
    exit_status: int | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: int
    outputs: str
    checkpoint: str
    image: str | None


def script() -> str:
    """The agent, the same for every job and provider: one text for a POSIX shell.

    ``sh agent.sh DOCUMENT FOLDER exit`` runs the document's job in the folder and leaves; with ``poweroff`` in place of
    ``exit`` it also ends the machine.
    """
    here = Path(__file__)
    parts = (here.with_name(name).read_text(encoding="utf-8") for name in ("budget.sh", "agent.sh"))
    return "\n".join(parts)


def place(job: Job, attempt: int, name: str) -> str:
    """The URL of what an attempt of ``job`` writes under ``name``."""
    return f"{job.spec.outputs.rstrip('/')}/{attempt}/{name}"


def key(job_id: str, attempt: int, name: str) -> str:
    """The same as a key in the object store that holds the job's outputs as ``jobs/<job>``."""
    return f"jobs/{job_id}/{attempt}/{name}"


def check(*, command: str, image: str | None, environment: Mapping[str, str]) -> None:
    """Whether a machine can be given this. Raises ``UsageError``; call it before any money is held."""
    if not command.strip() and image is None:
        raise UsageError("There is nothing to run", cure="Give a --command, or put a run.sh into the job directory")
    _check_text("The command", command, COMMAND_BYTES_MAX)
    if image is not None and not _IMAGE.fullmatch(image):
        raise UsageError(
            f"{image[:120]!r} is not the name of a container image",
            cure="Write it like ghcr.io/you/work@sha256:... (a digest), or with a tag: python:3.12-slim",
        )
    size = 0
    for name, value in environment.items():
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} cannot be the name of an environment variable",
                cure="Use letters, digits and underscores, not starting with a digit",
            )
        if name.startswith(_OURS) or _THE_SHELLS.fullmatch(name):
            raise UsageError(f"The environment variable {name} is not a job's to set", cure="Use another name for it")
        _check_text(f"The environment variable {name}", value, VALUE_BYTES_MAX)
        size += len(name) + len(value.encode()) + 2
    if size > ENVIRONMENT_BYTES_MAX:
        raise UsageError(
            f"The environment has {size:,} bytes; {ENVIRONMENT_BYTES_MAX:,} is the most", cure="Put it into a file"
        )


def is_pinned(image: str) -> bool:
    """Whether an image is named by its digest, so that it cannot change between two runs."""
    return "@sha256:" in image


def document(job: Job, attempt: Attempt, settings: Settings, *, signed: Mapping[str, str] | None = None) -> str:
    """The document for one attempt.

    ``signed`` replaces plain URLs by ones that need no credentials: ``inputs``, the names above, ``restore_1`` and
    following. Raises ``UsageError`` for what no machine can be given.
    """
    spec, offer = job.spec, attempt.offer
    check(command=spec.command, image=spec.image, environment=spec.environment)
    _check_price(attempt)
    urls = _places(job, attempt) | dict(signed or {})
    here = offer.provider == "local"
    reserve = reserve_seconds(attempt.run_seconds_max, settings)
    said: dict[str, str | int] = {
        "version": 1,
        "job_id": _word(job.id),
        "job_name": _base64(job.name),
        "attempt": attempt.number,
        "token": _word(attempt.token),
        "provider": _word(offer.provider),
        "made_epoch": _epoch(attempt.created_at),
        "run_seconds_max": attempt.run_seconds_max,
        "not_after_epoch": _epoch(attempt.not_after),
        # A machine of a cloud bills from its boot; this one was running long before.
        "counts_from": "start" if here else "boot",
        "grace_seconds": min(settings.grace_seconds, max(1, reserve)),
        "reserve_seconds": reserve,
        "upload_seconds": settings.upload_seconds,
        "log_seconds": settings.log_seconds,
        "checkpoint_seconds": settings.checkpoint_seconds,
        "inputs_sha256": _word(spec.inputs_digest),
        "command": _base64(spec.command),
        "vcpus": offer.vcpus,
        "memory_mib": int(offer.memory_gib * 1024),
        "gpus": offer.gpus,
        "currency": attempt.price_max.currency,
        "price_nanos": offer.hourly_price.nanos,
        "price_max_nanos": attempt.price_max.nanos,
        "held_nanos": job.hold.nanos,
        "spent_before_nanos": 0 if job.metered_cost is None else max(0, job.metered_cost.nanos),
        "thresholds": " ".join(str(percent) for percent in sorted(set(settings.thresholds))),
        "environment_count": len(spec.environment),
        **{name: _place(url) for name, url in urls.items()},
    }
    if job.budget_limit is not None:
        said["budget_nanos"] = job.budget_limit.nanos
    if spec.image is not None:
        said["image"] = spec.image
    for number, (name, value) in enumerate(spec.environment.items(), start=1):
        said[f"environment_{number}_name"] = name
        said[f"environment_{number}_value"] = _base64(value)
    return json.dumps(said, indent=2, ensure_ascii=True) + "\n"


def reserve_seconds(run_seconds_max: int, settings: Settings) -> int:
    """How long before its deadline a machine asks the job to stop: for the grace and for the last uploads."""
    wanted = settings.grace_seconds + settings.upload_seconds
    return min(wanted, run_seconds_max // 4 or (1 if run_seconds_max > 1 else 0))


def read_report(content: bytes) -> Report:
    """The machine's own report. Raises ``Unavailable`` for anything that is not one."""
    try:
        found = json.loads(content[: REPORT_BYTES_MAX + 1], parse_float=_refuse, parse_constant=_refuse)
        return Report(
            job_id=_text(found, "job_id"),
            attempt=_count(found, "attempt"),
            reason=_text(found, "reason"),
            detail=_text(found, "detail"),
            exit_status=None if found["exit_status"] is None else _count(found, "exit_status"),
            started_at=_moment(found, "started_epoch"),
            ended_at=_moment(found, "ended_epoch"),
            seconds=_count(found, "uptime_seconds"),
            outputs=_text(found, "outputs"),
            checkpoint=_text(found, "checkpoint"),
            image=_text(found, "image") or None,
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Unavailable(f"A machine's report cannot be read: {error}") from None


# --- inside


def _places(job: Job, attempt: Attempt) -> dict[str, str]:
    names = {"log": LOG, "output": OUTPUT, "checkpoint": CHECKPOINT, "heartbeat": HEARTBEAT, "result": RESULT}
    places = {key: place(job, attempt.number, name) for key, name in names.items()}
    earlier = range(attempt.number - 1, max(0, attempt.number - 1 - RESTORES_MAX), -1)
    restores = {f"restore_{nth}": place(job, number, CHECKPOINT) for nth, number in enumerate(earlier, start=1)}
    return {"inputs": job.spec.inputs, **places, **restores}


def _check_text(what: str, text: str, bytes_max: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError(f"{what} is not text that can be written as UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{what} contains a zero byte", cure="Put binary data into a file of the job directory")
    if size > bytes_max:
        raise UsageError(f"{what} has {size:,} bytes; {bytes_max:,} is the most", cure="Put it into a file")


def _check_price(attempt: Attempt) -> None:
    if attempt.price_max.nanos > HOURLY_PRICE_MAX.nanos:
        raise UsageError(f"${attempt.price_max:.2f} an hour is more than a machine can count with")


def _place(url: str) -> str:
    parts = urlsplit(url)
    trusted = parts.scheme in ("file", "https") or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    )
    if not trusted or not _PLACE.fullmatch(url):
        raise UsageError(
            f"A machine cannot use the place {url[:120]!r}", cure="Use a file:// folder or an https:// object store"
        )
    return url


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is not a plain word")
    return text


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")


def _epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def _refuse(literal: str) -> object:
    raise ValueError(f"{literal[:40]} is not a whole number")


def _text(found: Mapping[str, object], name: str) -> str:
    value = found[name]
    if not isinstance(value, str) or len(value) > 1000:
        raise ValueError(f"{name} is not a short text")
    return value


def _count(found: Mapping[str, object], name: str) -> int:
    value = found[name]
    if type(value) is not int or not 0 <= value < 2**40:
        raise ValueError(f"{name} is not a count")
    return value


def _moment(found: Mapping[str, object], name: str) -> datetime | None:
    seconds = _count(found, name)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
