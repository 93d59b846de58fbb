"""Plan files: a plan written down so that it can be launched later, exactly, or not at all.

    {"content": {...}, "digest": "<SHA-256 of the content>", "seal": "<HMAC of the digest>"}

The content is everything that decides what a launch does and costs: the submission, the digest of the staged inputs,
the offer with its zone and price, the ceiling, the machine's end, the hold, the catalogue's version, and until when the
plan is good. Its digest is taken over canonical JSON: keys in order, no blanks, ASCII, whole numbers and text only.

The seal is made with a secret of the installation, kept in its database. It shows that the plan was made by this
installation and that nothing was changed since, to whoever does not know the secret. Who can read the database can make
plans, and can launch without one.

The values of environment variables do not stand in the file, because they are often secrets: only their names, and
digests under the same secret, so that they cannot be guessed from the file. A launch gives the values again and they
are compared. The command, the tags and the paths do stand in it as they were given. The file is readable by its owner
alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from .. import times
from ..errors import PlanRefused, TallygateError, UsageError
from ..money import Money
from ..pricing.estimate import Estimate
from .submission import Submission

FORMAT = 1
"""Which content this version writes. A plan lives for hours, so only this one is read."""

BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The job directory as it was planned with: the digest of its archive, and what is in it."""

    digest: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a plan binds. ``submission`` has no environment; ``environment`` has names and digests of values."""

    format: int
    install_id: str
    made_at: datetime
    expires_at: datetime
    submission: Submission
    environment: Mapping[str, str]
    command: str
    inputs: Inputs
    estimate: Estimate
    charged_to: str | None
    kept: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan as it was read: its content, the digest that names it, and its seal."""

    content: Content
    digest: str
    seal: str


def write(path: Path, content: Content, key: bytes) -> str:
    """Write a plan to a new file that only its owner can read; its digest. Raises ``UsageError`` when the file is there."""
    plain = plainly(content)
    digest = digest_of(plain)
    document = {"content": plain, "digest": digest, "seal": _seal(key, digest)}
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is already there", cure="Name another file, or remove it first") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", cure="Name a place you can write to") from None
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    return digest


def read(path: Path) -> PlanFile:
    """A plan file whose content is what its digest says. The seal is not looked at: see ``check_seal``.

    Raises ``UsageError`` for a file that is no plan, and ``PlanRefused`` for one that was changed.
    """
    document = _document(path)
    plain, digest, seal = document["content"], document["digest"], document["seal"]
    if not isinstance(plain, dict) or not isinstance(digest, str) or not isinstance(seal, str):
        raise _no_plan(path, "its parts are not what they should be")
    if plain.get("format") != FORMAT:
        raise PlanRefused(f"{path} has the format {plain.get('format')!r}; this version launches format {FORMAT}")
    found = digest_of(plain)
    if not hmac.compare_digest(found.encode(), digest.encode("utf-8", "replace")):
        raise PlanRefused(f"{path} was changed: its digest is {digest[:12]!r} and its content comes to {found[:12]!r}")
    try:
        content = from_plain(Content, plain)
    except (TallygateError, ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise _no_plan(path, f"its content does not hold together ({error})") from None
    return PlanFile(content, digest, seal)


def check_seal(plan: PlanFile, path: Path, *, key: bytes | None, install_id: str) -> None:
    """Refuse a plan that this installation did not make."""
    if plan.content.install_id != install_id:
        raise PlanRefused(
            f"{path} was made by the installation {plan.content.install_id!r}, and this is {install_id!r}",
            cure="Launch it with the configuration it was made with",
        )
    if key is None or not hmac.compare_digest(_seal(key, plan.digest).encode(), plan.seal.encode("utf-8", "replace")):
        raise PlanRefused(f"{path} does not carry the seal of this installation: somebody else made or changed it")


def sealed_values(environment: Mapping[str, str], key: bytes) -> dict[str, str]:
    """The digests of variables' values under the secret; a value cannot be guessed from its digest without it."""
    return {name: _keyed(key, "environment", name, value) for name, value in environment.items()}


def digest_of(plain: object) -> str:
    """The SHA-256 of something plain as canonical JSON."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _seal(key: bytes, digest: str) -> str:
    return _keyed(key, "plan", digest)


def _keyed(key: bytes, *words: str) -> str:
    return hmac.new(key, json.dumps(words).encode(), hashlib.sha256).hexdigest()


# --- nouns to JSON and back


def plainly(value: object) -> Any:
    """A noun as JSON has it: amounts as ``0.36 USD``, numbers with a point as text, instants as 27 characters."""
    if value is None or (isinstance(value, (str, int)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Money):
        return f"{value.shown()} {value.currency}"
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return times.text(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value):
        return {field.name: plainly(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plainly(each) for name, each in value.items()}
    if isinstance(value, frozenset):
        return sorted(plainly(each) for each in value)
    if isinstance(value, (tuple, list)):
        return [plainly(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no plain form")


def from_plain(kind: Any, plain: Any) -> Any:
    """The noun of that type, the other way round. Raises ``ValueError`` for anything that ``plainly`` would not have written."""
    if get_origin(kind) in (Union, UnionType):
        if plain is None and NoneType in get_args(kind):
            return None
        (kind,) = [each for each in get_args(kind) if each is not NoneType]
    if is_dataclass(kind) and kind is not Money:
        return _noun(kind, plain)
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if issubclass(origin, Mapping):
        return {_text(name): from_plain(inner[1], each) for name, each in _is(dict, plain).items()}
    if origin in (tuple, frozenset):
        return origin(from_plain(inner[0], each) for each in _is(list, plain))
    if kind is Money:
        amount, _, currency = _text(plain).partition(" ")
        return Money.of(amount, currency)
    if kind is datetime:
        return times.instant(_text(plain))
    if kind in (Decimal, Path) or issubclass(kind, Enum):
        return kind(_text(plain))
    return _is(kind, plain)


def _noun(kind: Any, plain: Any) -> Any:
    hints = get_type_hints(kind)
    given = _is(dict, plain)
    if set(given) != {field.name for field in fields(kind)}:
        raise ValueError(f"{kind.__name__} has other parts")
    return kind(**{name: from_plain(hints[name], each) for name, each in given.items()})


def _text(plain: Any) -> str:
    return str(_is(str, plain))


def _is(kind: type, plain: Any) -> Any:
    if type(plain) is not kind:
        raise ValueError(f"{plain!r:.40} is not {kind.__name__}")
    return plain


# --- the file


def _document(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", cure="Name a file written with --plan") from None
    if len(data) > BYTES_MAX:
        raise _no_plan(path, f"it is larger than {BYTES_MAX:,} bytes")
    try:
        document = json.loads(data, object_pairs_hook=_once, parse_float=_never, parse_constant=_never)
    except (ValueError, RecursionError):
        raise _no_plan(path, "it is not the JSON that a plan is") from None
    if not isinstance(document, dict) or set(document) != {"content", "digest", "seal"}:
        raise _no_plan(path, "it has other parts than content, digest and seal")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _never(text: str) -> Any:
    raise ValueError(f"{text} is not in a plan")


def _no_plan(path: Path, why: str) -> PlanRefused:
    return PlanRefused(f"{path} is not a plan: {why}")
