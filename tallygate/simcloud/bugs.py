"""Planted bugs: each a known mistake, put into the product's own classes from outside, and the invariants that must catch it.

A check that has never caught anything is an opinion. Every bug here is a mistake that somebody made, in another tool or in
this one before a simulation found it; while it is planted, some seed must break one of the named invariants. Nothing in
production code knows of them: ``planted`` patches classes for as long as its block lasts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from .known_seeds import KNOWN
from .simulation import Settings, simulate

Plant = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One planted mistake.

    ``caught_by``: the invariants of which at least one must break. ``settings``: how the runs differ that look for it;
    ``was_ours``: the product had it until a simulation found it.
    """

    name: str
    says: str
    caught_by: tuple[str, ...]
    plant: Plant = field(repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)
    was_ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """How the search for a bug went. ``seed`` is the first that caught it, None when none did; ``invariants`` what broke."""

    bug: Bug
    seeds: int
    caught: int
    seed: int | None
    invariants: Counter[str]

    @property
    def is_caught(self) -> bool:
        return self.seed is not None


BUGS: dict[str, Bug] = {}
"""All of them by name."""


def planting(
    name: str, says: str, *caught_by: str, was_ours: bool = False, **settings: Any
) -> Callable[[Callable[[ExitStack], None]], Callable[[ExitStack], None]]:
    """Put a bug on the list. The function below it plants it on a stack that takes it out again."""

    def add(plant: Callable[[ExitStack], None]) -> Callable[[ExitStack], None]:
        @contextmanager
        def planted_here() -> Iterator[None]:
            with ExitStack() as stack:
                plant(stack)
                yield

        BUGS[name] = Bug(
            name=name, says=says, caught_by=caught_by, plant=planted_here, settings=settings, was_ours=was_ours
        )
        return plant

    return add


def patch(stack: ExitStack, owner: object, name: str, new: object) -> Any:
    """Replace an attribute until the stack is left; what was there before."""
    kept = vars(owner)[name]
    was = getattr(owner, name)
    setattr(owner, name, new)
    stack.callback(setattr, owner, name, kept)
    return was


def planted(name: str) -> AbstractContextManager[None]:
    """The named bug, for as long as the block lasts."""
    return all_bugs()[name].plant()


def all_bugs() -> Mapping[str, Bug]:
    """Every bug by name, in the order of the list."""
    from . import bugs_in_machines, bugs_in_money  # noqa: F401  importing them fills the list

    return BUGS


def settings_for(bug: Bug, seed: int, *, plain: Settings | None = None) -> Settings:
    """The settings of a run that looks for a bug."""
    return replace(plain or Settings(seed=seed), seed=seed, **bug.settings)


def hunt(bug: Bug, seeds: Iterable[int], *, catches_wanted: int = 1) -> Catch:
    """Look for a bug until enough seeds have caught it, first at the one that is known to. A run that breaks other
    promises does not count."""
    looked = caught = 0
    first: int | None = None
    broken: Counter[str] = Counter()
    known = KNOWN.get(bug.name)
    for seed in seeds if known is None else chain((known[0],), (each for each in seeds if each != known[0])):
        looked += 1
        with bug.plant():
            outcome = simulate(settings_for(bug, seed))
        names = {violation.invariant for violation in outcome.violations}
        broken.update(names)
        if names & set(bug.caught_by):
            caught += 1
            first = seed if first is None else first
            if caught >= catches_wanted:
                break
    return Catch(bug=bug, seeds=looked, caught=caught, seed=first, invariants=broken)


def table() -> str:
    """Every bug as a row of the table in ``docs/simulation.md``, with the seed that is known to catch it."""
    lines = ["| Planted mistake | What it does | Caught by | Seed |", "|---|---|---|---|"]
    for name, bug in all_bugs().items():
        seed, invariant = KNOWN[name]
        mark = " (ours)" if bug.was_ours else ""
        lines.append(f"| `{name}`{mark} | {bug.says} | {invariant} | {seed} |")
    return "\n".join(lines) + "\n"
