"""The provider local keeps the contract, and what is special about machines that are processes of this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate.errors import InsufficientCapacity, InvalidOrder, OutcomeUnknown, Unavailable, UsageError
from tallygate.jobs import agent
from tallygate.jobs.job import Attempt, AttemptState, CostState, Job, JobSpec, JobState
from tallygate.jobs.staging import stage
from tallygate.money import Money
from tallygate.objectstore.folder import FolderStore
from tallygate.pricing.offers import ResourceRequest
from tallygate.providers import local, local_machine
from tallygate.providers.base import LaunchOrder, MachineState, SupportsCheckpointRequest, SupportsExtension
from tallygate.providers.local import LocalProvider
from tallygate.times import SystemClock, text

from .contract import ProviderContract, ended, runs_once, shown, until

SETTINGS = agent.Settings(grace_seconds=1, upload_seconds=2, log_seconds=1, checkpoint_seconds=1)

LAUNCH_AND_DIE = """
import os, pickle, signal, sys
from pathlib import Path
from tallygate.money import Money
from tallygate.providers import local
from tallygate.times import SystemClock
root, crash = Path(sys.argv[1]), sys.argv[2]
order = pickle.loads(sys.stdin.buffer.read())
provider = local.LocalProvider(root, install_id=lambda: "mine", hourly_price=Money.of("0.36"), clock=SystemClock())
if crash == "before the machine starts":
    provider._start = lambda place: os.kill(os.getpid(), 9)
elif crash == "before its folder has its name":
    Path.rename = lambda self, target: os.kill(os.getpid(), 9)
elif crash == "with a deaf launcher":
    for number in (1, 2, 13, 15):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {10, 12, 15})
provider.launch(order)
os.kill(os.getpid(), 9)
"""


class LocalDesk:
    """A folder of machines, and real jobs for them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "machines"
        self.provider = self.installation("mine")
        self.other_installation = self.installation("others")
        self.store = FolderStore(folder / "objects")
        inputs = folder / "inputs"
        inputs.mkdir()
        (inputs / "input.txt").write_text("here\n")
        self.staged = stage(inputs, (), self.store)
        self._count = 0

    def installation(self, name: str, machines_max: int = 8) -> LocalProvider:
        return LocalProvider(
            self.root,
            install_id=lambda: name,
            hourly_price=Money.of("0.36"),
            clock=SystemClock(),
            machines_max=machines_max,
        )

    def order(
        self, command: str = "sleep 60", *, seconds: int = 20, not_after: datetime | None = None, shape: int = 0
    ) -> LaunchOrder:
        self._count += 1
        job_id = f"01hzy0c7kq8v2m3n4p5r6s7t{self._count:02}"
        now = datetime.now(UTC)
        end = not_after or now + timedelta(seconds=seconds + 60)
        offer = list(self.provider.offers(ResourceRequest()))[shape]
        job = Job(
            id=job_id,
            name="a-job",
            state=JobState.LAUNCHING,
            cost_state=CostState.ESTIMATED,
            spec=JobSpec(
                command=command,
                environment={"GREETING": "a secret"},
                inputs=self.staged.url,
                inputs_digest=self.staged.digest,
                outputs=self.store.url(f"jobs/{job_id}"),
            ),
            offer=offer,
            estimated_runtime_seconds=seconds,
            run_seconds_max=seconds,
            budget_limit=None,
            estimated_cost=Money.of("0.01"),
            hold=Money.of("0.10"),
            submitted_at=now,
        )
        attempt = Attempt(
            id=f"01hzy0c7kq8v2m3n4p5r6s8t{self._count:02}",
            job_id=job_id,
            number=1,
            token=f"tg-mine-{job_id}-1",
            state=AttemptState.INTENT,
            offer=offer,
            price_max=offer.hourly_price,
            run_seconds_max=seconds,
            kill_seconds=local.KILL_SECONDS,
            not_after=end,
            created_at=now,
            metered_cost=Money.zero(),
        )
        return LaunchOrder(
            token=attempt.token,
            offer=offer,
            price_max=attempt.price_max,
            tags={
                "user-colour": "<blue> & 'green'",
                "tallygate-install": "mine",
                "tallygate-job": job_id,
                "tallygate-attempt": "1",
                "tallygate-token": attempt.token,
                "tallygate-not-after": text(end),
            },
            agent_script=agent.script(),
            agent_document=agent.document(job, attempt, SETTINGS),
            run_seconds_max=seconds,
            not_after=end,
        )

    def place(self, order: LaunchOrder) -> Path:
        return self.root / order.token

    def paper(self, order: LaunchOrder, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.place(order) / name).read_bytes())
        return found

    def processes(self, token: str) -> list[int]:
        """Every process that has the machine's folder in its words or works there. Not what the provider says."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().decode(errors="replace")
                    where = os.readlink(entry / "cwd")
                except OSError:
                    continue
                if f"{self.root}/{token}" in words or f"{self.root}/{token}" in where:
                    found.append(int(entry.name))
        return found

    def alive(self, token: str) -> int:
        """Agents of this token, each counted once with the copies of itself that it forks."""
        agents = {}
        for pid in self.processes(token):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if len(words) == 5 and words[1].endswith(b"/agent.sh"):
                agents[pid] = parent
        return sum(1 for parent in agents.values() if parent not in agents)

    def launch_from_a_process_that_dies(self, order: LaunchOrder, crash: str = "after the machine has started") -> None:
        import pickle

        answer = subprocess.run(
            [sys.executable, "-c", LAUNCH_AND_DIE, str(self.root), crash],
            input=pickle.dumps(order),
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert answer.returncode == -signal.SIGKILL, answer.stderr.decode()

    def log(self, order: LaunchOrder) -> str:
        key = agent.key(order.tags["tallygate-job"], 1, agent.LOG)
        return self.store.get_bytes(key).decode() if self.store.exists(key) else ""

    def clear(self) -> None:
        """End every machine of this desk, also those a failed test lost sight of."""
        if self.root.exists():
            tokens = [entry.name for entry in self.root.iterdir() if not entry.name.startswith(".")]
            for _ in range(3):
                for token in tokens:
                    for pid in self.processes(token):
                        if pid != os.getpid():
                            try:
                                os.kill(pid, signal.SIGKILL)
                            except ProcessLookupError:
                                continue
                time.sleep(0.02)
            for token in tokens:
                local_machine.remove_fence(token)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LocalDesk]:
    desk = LocalDesk(tmp_path)
    yield desk
    desk.clear()


class TestLocalProvider(ProviderContract):
    """Machines of this machine keep every promise of a provider."""

    provider_name = "local"


# --- what it offers


def test_shapes_are_powers_of_two_up_to_the_whole_machine(desk: LocalDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.setattr(local, "_memory_mib", lambda: 12_001)
    offers = list(desk.provider.offers(ResourceRequest()))
    assert [(each.instance_type, each.vcpus) for each in offers] == [
        ("local-1", 1),
        ("local-2", 2),
        ("local-4", 4),
        ("local-6", 6),
    ]
    assert [each.memory_gib for each in offers] == [Decimal(word) for word in ("1.95", "3.90", "7.81", "11.71")]
    assert [each.hourly_price for each in offers] == [Money.of(word) for word in ("0.06", "0.12", "0.24", "0.36")]


def test_a_share_of_a_tiny_price_is_never_nothing(desk: LocalDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    cheap = LocalProvider(desk.root, install_id=lambda: "x", hourly_price=Money(1), clock=SystemClock())
    assert {offer.hourly_price for offer in cheap.offers(ResourceRequest())} == {Money(1)}


def test_asking_makes_nothing(desk: LocalDesk) -> None:
    list(desk.provider.offers(ResourceRequest()))
    assert desk.provider.describe().complete
    assert list(desk.provider.meters()) == []
    desk.provider.terminate("tg-mine-nothing-1")
    assert not desk.root.exists()


def test_it_can_extend_and_ask_for_checkpoints(desk: LocalDesk) -> None:
    assert isinstance(desk.provider, SupportsExtension)
    assert isinstance(desk.provider, SupportsCheckpointRequest)


# --- launchers that die


def test_a_launcher_killed_before_its_machine_has_a_name_leaves_nothing(desk: LocalDesk) -> None:
    order = desk.order()
    desk.launch_from_a_process_that_dies(order, "before its folder has its name")
    assert shown(desk, order) is None
    assert desk.provider.describe([order.token]).launches == ()
    desk.provider.launch(order)
    runs_once(desk, order)


def test_a_half_made_machine_does_not_count_and_is_finished_by_the_same_token(desk: LocalDesk) -> None:
    order = desk.order()
    desk.launch_from_a_process_that_dies(order, "before the machine starts")
    assert desk.place(order).is_dir()
    assert shown(desk, order) is None
    (launch,) = desk.provider.describe([order.token]).launches
    assert (launch.state, launch.started_at) == (MachineState.PENDING, None)
    assert desk.provider.launch(order).state is MachineState.RUNNING
    runs_once(desk, order)


def test_a_half_made_machine_that_was_told_to_end_never_starts(desk: LocalDesk) -> None:
    order = desk.order()
    desk.launch_from_a_process_that_dies(order, "before the machine starts")
    desk.provider.terminate(order.token)
    (launch,) = desk.provider.describe([order.token]).launches
    assert (launch.state, launch.end_source, launch.started_at) == (MachineState.ENDED, "provider", None)
    assert launch.ended_at == launch.launched_at
    with pytest.raises(InvalidOrder, match="before it had started"):
        desk.provider.launch(order)
    assert desk.alive(order.token) == 0


def test_a_half_made_machine_is_not_started_when_its_time_has_passed(desk: LocalDesk) -> None:
    order = desk.order(not_after=datetime.now(UTC) + timedelta(seconds=2))
    desk.launch_from_a_process_that_dies(order, "before the machine starts")
    time.sleep(2.1)
    with pytest.raises(InvalidOrder, match="over before it could start"):
        desk.provider.launch(order)
    (launch,) = desk.provider.describe([order.token]).launches
    assert (launch.state, launch.started_at) == (MachineState.ENDED, None)
    assert shown(desk, order) is None
    assert list(desk.provider.meters()) == []


# --- machines that die


def keeper_and_guard(desk: LocalDesk, order: LaunchOrder) -> tuple[int, int]:
    paper = desk.paper(order, "machine.json")
    keeper, guard = paper["pid"], paper["guard_pid"]
    assert isinstance(keeper, int)
    assert isinstance(guard, int)
    return keeper, guard


ESCAPING = "setsid sleep 61 & (setsid sh -c 'sleep 62 & sleep 63' &) ; nohup sleep 64 & echo ready; sleep 65"


def test_what_a_job_hides_in_other_sessions_ends_with_its_machine(desk: LocalDesk) -> None:
    order = desk.order(ESCAPING, seconds=3)
    desk.provider.launch(order)
    until(lambda: "ready" in desk.log(order), "the job")
    assert len(desk.processes(order.token)) > 8
    ended(desk, order)
    until(lambda: desk.processes(order.token) == [], "nothing of it is left", seconds=2)


@pytest.mark.parametrize("victim", ["keeper", "guard"])
def test_killing_one_of_a_machines_two_processes_ends_it_with_a_meter(desk: LocalDesk, victim: str) -> None:
    order = desk.order(ESCAPING, seconds=60)
    desk.provider.launch(order)
    until(lambda: "ready" in desk.log(order), "the job")
    keeper, guard = keeper_and_guard(desk, order)
    os.kill(keeper if victim == "keeper" else guard, signal.SIGKILL)
    launch = ended(desk, order)
    assert launch.end_source == "meter"
    assert launch.end_reason == ("interrupted" if victim == "guard" else "the machine's process was killed")
    until(lambda: desk.processes(order.token) == [], "nothing of it is left", seconds=2)


def test_when_both_are_killed_the_agent_ends_the_job_and_the_end_is_when_it_was_last_seen(desk: LocalDesk) -> None:
    order = desk.order("echo ready; sleep 60", seconds=60)
    desk.provider.launch(order)
    until(lambda: "ready" in desk.log(order), "the job")
    killed_at = datetime.now(UTC)
    for pid in keeper_and_guard(desk, order)[::-1]:
        os.kill(pid, signal.SIGKILL)
    launch = ended(desk, order)
    assert launch.end_source == "last_seen"
    assert launch.ended_at is not None
    assert abs(launch.ended_at - killed_at) < timedelta(seconds=3)
    until(lambda: desk.processes(order.token) == [], "nothing of it is left", seconds=10)
    again = desk.provider.launch(order)
    assert again.state is MachineState.ENDED
    assert desk.alive(order.token) == 0


def test_a_stuck_keeper_does_not_keep_the_machine_past_its_deadline(desk: LocalDesk) -> None:
    order = desk.order("trap '' TERM HUP; while :; do sleep 1; done", seconds=3)
    desk.provider.launch(order)
    keeper, _ = keeper_and_guard(desk, order)
    os.kill(keeper, signal.SIGSTOP)
    launch = ended(desk, order, seconds=3 + local.KILL_SECONDS)
    assert (launch.end_source, launch.end_reason) == ("meter", "deadline")
    until(lambda: desk.processes(order.token) == [], "nothing of it is left", seconds=2)


def test_a_recycled_process_id_is_not_taken_for_the_machine(desk: LocalDesk) -> None:
    """Liveness is the lock, not a number: a machine whose papers name a living stranger has still ended."""
    order = desk.order("sleep 60", seconds=60)
    desk.provider.launch(order)
    for pid in keeper_and_guard(desk, order)[::-1]:
        os.kill(pid, signal.SIGKILL)
    paper = desk.paper(order, "machine.json")
    (desk.place(order) / "machine.json").write_text(json.dumps({**paper, "pid": os.getpid(), "guard_pid": 1}))
    assert ended(desk, order).end_source == "last_seen"
    desk.provider.terminate(order.token)
    time.sleep(0.3)


def test_a_machine_lives_on_in_a_session_of_its_own_without_descriptors_of_its_launcher(desk: LocalDesk) -> None:
    order = desk.order("echo ready; sleep 60")
    with open(desk.root.parent / "launchers-own", "w") as own:
        os.set_inheritable(own.fileno(), True)
        desk.provider.launch(order)
    until(lambda: "ready" in desk.log(order), "the job")
    for pid in desk.processes(order.token):
        assert os.getsid(pid) != os.getsid(0)
        opened = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert not any("launchers-own" in path for path in opened)
        assert not any(path.startswith("/dev/pts") for path in opened)


def test_a_job_hears_signals_that_its_launcher_did_not(desk: LocalDesk) -> None:
    """Started under nohup, or by a server that ignores signals, a machine and its job still listen to them."""
    order = desk.order(
        "grep -E 'Sig(Blk|Ign)' /proc/self/status; trap 'echo heard; exit 0' TERM; echo ready; sleep 60 & wait"
    )
    desk.launch_from_a_process_that_dies(order, "with a deaf launcher")
    until(lambda: "ready" in desk.log(order), "the job")
    desk.provider.terminate(order.token)
    assert ended(desk, order).end_reason == "stopped"
    lines = desk.log(order).splitlines()
    # The shell itself takes the keyboard's two signals away from what it runs in the background.
    # Signals from 32 on are the C library's own.
    assert [int(line.split()[1], 16) & 0x7FFFFFFF for line in lines[:2]] == [0, 6]
    assert "heard" in lines


def test_nothing_of_the_launchers_environment_but_the_usual_reaches_a_job(
    desk: LocalDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("TALLYGATE_DATABASE", "canary")
    monkeypatch.setenv("PYTHONPATH", "canary")
    order = desk.order("env; echo $GREETING")
    desk.provider.launch(order)
    ended(desk, order)
    log = desk.log(order)
    assert "canary" not in log
    assert "a secret" in log
    assert f"PATH={desk.place(order)}/work/bin:{os.environ['PATH']}" in log


def test_an_ended_machine_keeps_no_secrets_and_no_copies(desk: LocalDesk) -> None:
    order = desk.order("echo x > $TALLYGATE_OUTPUT_DIR/x; echo $GREETING > private")
    desk.provider.launch(order)
    ended(desk, order)
    until(lambda: desk.processes(order.token) == [], "its process is gone", seconds=3)
    left = [path for path in desk.place(order).rglob("*") if path.is_file()]
    assert {"order.json", "meter.json", "machine.json"} <= {path.name for path in left}
    for path in left:
        content = path.read_bytes()
        assert b"a secret" not in content
        assert b"YSBzZWNyZXQ" not in content  # the same in base64
    assert not (desk.place(order) / "work" / "outputs").exists()


# --- limits


def test_a_small_machine_gets_one_processor_and_says_so(desk: LocalDesk) -> None:
    order = desk.order("nproc; sleep 1")
    desk.provider.launch(order)
    second = desk.order("sleep 1")
    desk.provider.launch(second)
    processors = [desk.paper(each, "machine.json")["cpu_limit"] for each in (order, second)]
    assert len(set(map(str, processors))) == min(2, len(os.sched_getaffinity(0)))
    ended(desk, order)
    if len(os.sched_getaffinity(0)) > 1:
        assert desk.log(order) == "1\n"


def test_a_job_cannot_take_more_memory_than_its_machine_has(desk: LocalDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(local, "_memory_mib", lambda: 512)
    small = desk.order(f'{sys.executable} -c \'x = b"x" * 100_000_000; print("small")\'; exit 0')
    large = desk.order(f'{sys.executable} -c \'x = b"x" * 600_000_000; print("large")\'; exit 0')
    for order in (small, large):
        desk.provider.launch(order)
        ended(desk, order)
        assert "none" not in str(desk.paper(order, "machine.json")["memory_limit"])
    assert "small" in desk.log(small)
    assert "large" not in desk.log(large)


def test_no_more_machines_run_at_once_than_allowed(desk: LocalDesk) -> None:
    provider = desk.installation("mine", machines_max=2)
    first, second, third = desk.order(), desk.order(), desk.order("exit 0")
    provider.launch(first)
    provider.launch(second)
    with pytest.raises(InsufficientCapacity, match="2 machines run here already"):
        provider.launch(third)
    assert not desk.place(third).exists()
    assert provider.launch(first).token == first.token, "a repeat is not one more"
    provider.terminate(first.token)
    ended(desk, first)
    provider.launch(third)
    ended(desk, third)


# --- words to a machine


def test_a_later_end_reaches_the_machine_and_the_agent(desk: LocalDesk) -> None:
    order = desk.order("echo ready; sleep 8; echo finished", seconds=6)
    desk.provider.launch(order)
    until(lambda: "ready" in desk.log(order), "the job")
    later = datetime.now(UTC) + timedelta(seconds=120)
    for _ in range(2):
        desk.provider.extend(order.token, not_after=later, run_seconds_max=30)
    launch = ended(desk, order)
    assert (launch.end_reason, launch.exit_status) == ("finished", 0)
    assert "finished" in desk.log(order)


def test_an_earlier_end_changes_nothing(desk: LocalDesk) -> None:
    order = desk.order("echo ready; sleep 3")
    desk.provider.launch(order)
    desk.provider.extend(order.token, not_after=datetime(2020, 1, 1, tzinfo=UTC), run_seconds_max=1)
    assert ended(desk, order).end_reason == "finished"


def test_a_checkpoint_request_reaches_the_job(desk: LocalDesk) -> None:
    order = desk.order("trap 'tallygate-budget notice; exit 0' CONT; echo ready; while :; do sleep 0.1; done")
    desk.provider.launch(order)
    until(lambda: "ready" in desk.log(order), "the job")
    desk.provider.request_checkpoint(order.token)
    ended(desk, order)
    assert desk.log(order) == "ready\ncheckpoint 1\n"


def test_nothing_can_be_said_to_a_machine_that_has_ended(desk: LocalDesk) -> None:
    order = desk.order("exit 0")
    desk.provider.launch(order)
    ended(desk, order)
    until(lambda: not local_machine.is_locked(desk.place(order)), "its process is gone", seconds=3)
    for token in (order.token, "tg-mine-nobody-1"):
        with pytest.raises(Unavailable, match=token):
            desk.provider.extend(token, not_after=datetime.now(UTC), run_seconds_max=1)
        with pytest.raises(Unavailable, match=token):
            desk.provider.request_checkpoint(token)


@pytest.mark.parametrize("name", ["../mine", "/etc", "", ".", "..", "A", "a b", "x" * 64, "a/b", "-a"])
def test_an_id_cannot_name_another_place(desk: LocalDesk, name: str) -> None:
    with pytest.raises(UsageError):
        desk.provider.terminate(name)
    assert desk.provider.describe([name]).launches == ()
    with pytest.raises(InvalidOrder):
        desk.provider.launch(replace(desk.order(), token=name))
    assert not desk.root.exists() or list(desk.root.iterdir()) == []


# --- papers


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"token": 1}'])
def test_papers_that_cannot_be_read_make_the_listing_incomplete(desk: LocalDesk, damage: str) -> None:
    good, bad = desk.order("sleep 60"), desk.order("sleep 60")
    desk.provider.launch(good)
    desk.provider.launch(bad)
    (desk.place(bad) / "order.json").write_text(damage)
    listing = desk.provider.describe()
    assert not listing.complete
    assert listing.problem is not None
    assert bad.token in listing.problem
    assert [each.token for each in listing.launches] == [good.token]
    with pytest.raises((Unavailable, OutcomeUnknown, ValueError, KeyError)):
        list(desk.provider.meters())


def test_machines_that_ended_long_ago_are_found_by_id_only(desk: LocalDesk) -> None:
    order = desk.order("exit 0")
    desk.provider.launch(order)
    ended(desk, order)
    old = time.time() - local.ENDED_SHOWN_SECONDS - 1
    os.utime(desk.place(order) / "meter.json", (old, old))
    assert shown(desk, order) is None
    (launch,) = desk.provider.describe([order.token]).launches
    assert launch.state is MachineState.ENDED


def test_a_meter_never_shows_more_than_the_deadline_and_the_kill_allowance(desk: LocalDesk) -> None:
    order = desk.order("trap '' TERM; while :; do sleep 1; done", seconds=2)
    desk.provider.launch(order)
    ended(desk, order)
    (meter,) = desk.provider.meters()
    assert 2 <= meter.seconds <= 2 + local.KILL_SECONDS
    assert meter.hourly_price == order.offer.hourly_price
    assert meter.ended_at is not None
    assert desk.paper(order, "meter.json")["seconds"] == meter.seconds


def test_modes_keep_others_out(desk: LocalDesk) -> None:
    before = os.umask(0)
    try:
        order = desk.order("echo ready; sleep 60")
        desk.provider.launch(order)
    finally:
        os.umask(before)
    until(lambda: "ready" in desk.log(order), "the job")
    assert desk.root.stat().st_mode & 0o077 == 0
    assert desk.place(order).stat().st_mode & 0o077 == 0
    for name in ("order.json", "document.json", "agent.sh", "machine.json"):
        assert (desk.place(order) / name).stat().st_mode & 0o077 == 0


def test_a_root_that_cannot_be_written_is_a_refusal(desk: LocalDesk) -> None:
    from tallygate.errors import LaunchRefused

    desk.root.parent.joinpath("file").write_text("")
    blocked = LocalProvider(
        desk.root.parent / "file" / "machines",
        install_id=lambda: "mine",
        hourly_price=Money.of("0.36"),
        clock=SystemClock(),
    )
    with pytest.raises(LaunchRefused, match="cannot be written"):
        blocked.launch(desk.order())
