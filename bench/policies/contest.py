"""One scenario and one seed under every policy; first the one without a gate, which is the oracle of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .judge import Judge, Score
from .ours import Tallygate, WithJobBudgets
from .rivals import CheckAtItsBest, CheckThenAct, DelayedBill, NoGate, SoftCap
from .scenarios import SCENARIOS, Plan
from .stage import Policy, Stage

POLICIES: Mapping[str, Callable[[Stage], Policy]] = {
    "Tallygate": Tallygate,
    "Tallygate, a budget per job": WithJobBudgets,
    "no gate": NoGate,
    "check, then act": CheckThenAct,
    "check, then act, at its best": CheckAtItsBest,
    "check the late bill": DelayedBill,
    "soft cap, polled": SoftCap,
}
"""Every policy by the name it has in the tables, ours first."""

OURS = frozenset({"Tallygate", "Tallygate, a budget per job"})

_ORACLE = "no gate"


def contest(scenario: str, seed: int) -> dict[str, Score]:
    """The score of every policy."""
    plan = SCENARIOS[scenario].plan(seed)
    oracle = play(plan, _ORACLE, None)
    return {name: oracle if name == _ORACLE else play(plan, name, oracle) for name in POLICIES}


def play(plan: Plan, policy: str, oracle: Score | None) -> Score:
    """One run of one policy, judged."""
    stage = Stage(plan)
    made = POLICIES[policy](stage)
    try:
        stage.run(made)
        return Judge(stage, oracle).score(made)
    finally:
        made.close()
