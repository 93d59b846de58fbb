"""What a run truly came to: read from the world's meters after it, in whole nanos and microseconds.

Of what a policy says of itself only two things are used: what it expected a job to cost, and the end it sent with a launch.

overshoot       the most that true spend was above a limit at any instant, added up over the budgets
leaked          machine time that no unfinished job wanted, less two minutes for each machine's end
false refusals  asks refused although they would have fit every budget beside what had been launched before and what had been
                refused wrongly before, all at what it truly cost in the end; of a refused ask that is what the same ask
                costs in the same world without a gate
wasted          spend of jobs that never finished, on second machines, and after the work's end
estimate error  the distance between expected and true cost, in parts of the true cost, over finished jobs
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tallygate.ledger.holds import BudgetPeriod
from tallygate.simcloud.machines import Machine
from tallygate.simcloud.timeline import SECOND, instant
from tallygate.simcloud.truth import Meter
from tallygate.simcloud.workload import ASK_TAG, BudgetPlan

from .rivals import MARGIN_PERCENT, NO_END
from .stage import Policy, Stage

ALLOWANCE = 120 * SECOND
"""What every machine's end may take: the kill allowance of the clouds' terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One run. Money in nanos, leaked time in microseconds, ``errors`` in hundredths of a percent of the true cost."""

    overshoot: int
    leaked: int
    refused: int
    false_refusals: int
    wasted: int
    spent: int
    asked: int
    done: int
    errors: tuple[int, ...]
    broken: tuple[str, ...] = ()
    digest: str = ""
    cost_of: dict[int, int] = field(default_factory=dict, repr=False)
    finished: frozenset[int] = frozenset()


class Judge:
    """Reads a stage after its run. ``without_gate`` is the score of the same plan without a gate; None for that run itself."""

    def __init__(self, stage: Stage, without_gate: Score | None) -> None:
        self._stage = stage
        self._world = stage.world
        self._without_gate = without_gate
        self._meters: dict[int, list[Meter]] = {}
        for meter in stage.world.truth.meters:
            self._meters.setdefault(int(meter.tags[f"user-{ASK_TAG}"]), []).append(meter)
        self._cost = {number: self._nanos(meters, stage.end) for number, meters in self._meters.items()}
        self._finish = {number: self._finished(number) for number in self._meters}

    def score(self, policy: Policy) -> Score:
        finished = {number: done for number, done in self._finish.items() if done is not None}
        expected = policy.expected()
        return Score(
            overshoot=sum(self.overshoot(budget) for budget in self._stage.plan.budgets),
            leaked=sum(self.leaked(number) for number in self._meters),
            refused=len(self._stage.refused),
            false_refusals=len(self.false_refusals()),
            wasted=sum(self.wasted(number) for number in self._meters),
            spent=sum(self._cost.values()),
            asked=len(self._stage.asks),
            done=len(finished),
            errors=tuple(
                abs(expected[number] - self._cost[number]) * 10_000 // self._cost[number] for number in sorted(finished)
            ),
            broken=tuple(policy.broken()),
            digest=self._world.digest(),
            cost_of=self._cost,
            finished=frozenset(finished),
        )

    # --- money above a limit

    def overshoot(self, budget: BudgetPlan) -> int:
        """The most by which a budget's true spend was above its limit at any instant.

        Of a month's budget, what was launched in the month or what was used in it, whichever speaks for the policy: tools
        differ in which of the two they count.
        """
        numbers = [number for number in sorted(self._meters) if budget in self._applying(number)]
        if budget.period is not BudgetPeriod.MONTH:
            return self._most_over(budget, numbers)
        months = sorted({self._month_of_launch(number) for number in numbers})
        launched = [
            self._most_over(budget, [number for number in numbers if self._month_of_launch(number) == month])
            for month in months
        ]
        return min(sum(launched), sum(self._used_over(budget, numbers)))

    def _most_over(self, budget: BudgetPlan, numbers: list[int]) -> int:
        meters = [meter for number in numbers for meter in self._meters[number]]
        return max(0, *(self._nanos(meters, at) - budget.limit.nanos for at in self._peaks(meters)))

    def _used_over(self, budget: BudgetPlan, numbers: list[int]) -> list[int]:
        """For every month of use, how far it went over."""
        meters = [meter for number in numbers for meter in self._meters[number]]
        turns = _turns(self._world.start, self._stage.end)
        spans = list(zip([self._world.start, *turns], [*turns, self._stage.end], strict=True))
        return [
            max(
                0,
                *(
                    self._nanos(meters, at) - self._nanos(meters, since) - budget.limit.nanos
                    for at in [*(at for at in self._peaks(meters) if since < at < until), until]
                ),
            )
            for since, until in spans
        ]

    def _peaks(self, meters: list[Meter]) -> list[int]:
        """Where true spend can be at its highest: at the end, and just before a machine's cost is waived. Else it only grows."""
        return [self._stage.end, *(meter.end - 1 for meter in meters if meter.waived and meter.end is not None)]

    # --- machines that nobody wants

    def leaked(self, number: int) -> int:
        """Microseconds in which an ask's machines ran and were not wanted, beyond each one's allowance."""
        lives = [(machine, *self._life(machine)) for machine in self._stage.machines_of(number)]
        lives = [(machine, since, until) for machine, since, until in lives if since < until]
        leaked = 0
        for place, (machine, since, until) in enumerate(lives):
            wanted_until = min(until, self._wanted_until(number, machine, since))
            # while an older one of the same ask runs, it is the second
            older = max((end for _, _, end in lives[:place]), default=since)
            wanted_from = max(since, min(older, until))
            wanted = max(0, wanted_until - wanted_from)
            leaked += max(0, until - since - wanted - ALLOWANCE)
        return leaked

    def _life(self, machine: Machine) -> tuple[int, int]:
        """When a machine began and ceased to bill."""
        if machine.meter is None:
            return self._stage.end, self._stage.end
        return machine.meter.start, self._stage.end if machine.meter.end is None else machine.meter.end

    def _wanted_until(self, number: int, machine: Machine, since: int) -> int:
        finish = self._finish[number]
        ends = [self._stage.end if finish is None else finish]
        if number in self._stage.given_up:
            ends.append(self._stage.given_up[number])
        if machine.build.run_seconds_max < NO_END.total_seconds():
            ends.append(machine.deadline)
        elif machine.work is not None and machine.work.hangs:  # nobody can want it longer than others give such a job
            ends.append(since + int(self._stage.asks[number].hours * 3600) * MARGIN_PERCENT // 100 * SECOND)
        return min(ends)

    # --- work

    def _finished(self, number: int) -> int | None:
        """When an ask's work was done."""
        ends = [
            machine.stopping_at
            for machine in self._stage.machines_of(number)
            if machine.end_cause == "finished" and machine.stopping_at is not None
        ]
        return min(ends, default=None)

    def wasted(self, number: int) -> int:
        """Spend of a job that never finished; of one that did, spend on second machines and after its end."""
        finish = self._finish[number]
        if finish is None:
            return self._cost[number]
        machines = self._stage.machines_of(number)
        last = next(each for each in machines if each.end_cause == "finished" and each.stopping_at == finish)
        useful = self._world.truth.machine(last.id, at=finish)
        for machine in machines:
            if machine.ended_at is not None and machine.ended_at <= last.created_at:
                useful += self._world.truth.machine(machine.id, at=self._stage.end)
        return max(0, self._cost[number] - useful)

    # --- refusals

    def false_refusals(self) -> list[int]:
        """The asks refused wrongly. Each one counted takes its true cost from those refused after it."""
        found: list[int] = []
        for number, at in sorted(self._stage.refused.items(), key=lambda each: (each[1], each[0])):
            if self._would_fit(number, at, found):
                found.append(number)
        return found

    def _would_fit(self, number: int, at: int, found: list[int]) -> bool:
        oracle = self._without_gate
        if oracle is None or number not in oracle.finished:
            return False
        for budget in self._applying(number):
            used = [
                self._cost[other]
                for other in self._meters
                if budget in self._applying(other)
                and self._launched_at(other) < at
                and self._same_window(budget, self._launched_at(other), at)
            ]
            used += [
                oracle.cost_of[other]
                for other in found
                if budget in self._applying(other) and self._same_window(budget, self._stage.refused[other], at)
            ]
            if sum(used) + oracle.cost_of[number] > budget.limit.nanos:
                return False
        return True

    @staticmethod
    def _same_window(budget: BudgetPlan, one: int, other: int) -> bool:
        return budget.period is not BudgetPeriod.MONTH or _month(one) == _month(other)

    # --- inside

    def _applying(self, number: int) -> list[BudgetPlan]:
        return self._stage.plan.applying(self._stage.asks[number].charge_to)

    def _launched_at(self, number: int) -> int:
        return min(meter.start for meter in self._meters[number])

    def _month_of_launch(self, number: int) -> str:
        return _month(self._launched_at(number))

    def _nanos(self, meters: list[Meter], at: int) -> int:
        return sum(meter.nanos(at) for meter in meters)


def _month(at: int) -> str:
    return f"{instant(at):%Y-%m}"


def _turns(start: int, end: int) -> list[int]:
    """Every turn of a month between two instants."""
    day = 86_400 * SECOND
    midnights = range((start // day + 1) * day, end, day)
    return [at for at in midnights if instant(at).day == 1]
