"""Bad input: one clear sentence that names the flag, a cure, exit code 2, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

RUN = "cloud_run.py"
FIND = "find_cheapest_instance.py"

AMOUNTS = ["nan", "NaN", "inf", "-inf", "1e9", "-5", "-0.01", "0", "0.00", "", " ", "１２", "١٢", "1,000", "0x10", "1_000",
           "5 USD", "$5", "--", "٫5", "1e-9", "100000000.01", "9" * 60, "0.0000000001", "5.", ".", "+"]  # fmt: skip
HOURS = ["nan", "inf", "0", "-1", "1e3", "", "２", "721", "forever", "2:30", "9" * 60]
COUNTS = ["-1", "1.5", "", "１６", "1e3", "many", "9" * 20, "+4", " 4", "0x4", "1_0"]

CASES = [
    *[(FIND, flag, value) for flag in ("--budget", "--max-price-per-hour") for value in AMOUNTS],
    *[(FIND, "--estimated-runtime", value) for value in HOURS],
    *[(FIND, flag, value) for flag in ("--min-vcpu", "--max-vcpu", "--limit") for value in COUNTS],
    *[(FIND, flag, value) for flag in ("--min-ram", "--max-ram") for value in ("-1", "nan", "1e3", "", "100001")],
    *[
        (FIND, "--gpu", value)
        for value in ("", " ", ":", ":1", "A100:", "A100:0", "A100:-1", "A100:x", "A100:1:2", "\x1b[31m")
    ],
    (FIND, "--arch", "sparc"),
    (FIND, "--sort", "luck"),
    (FIND, "--provider", "ibm"),
    (FIND, "--region", ""),
    (FIND, "--output", ""),
    (FIND, "--json", "--csv"),
    (FIND, "--min-vcpu", "8", "--max-vcpu", "4"),
    (FIND, "--min-ram", "8", "--max-ram", "4"),
    (FIND, "--config", "missing.json"),
    (FIND, "us-east-1"),
    *[(RUN, "my_job", "--budget", value) for value in AMOUNTS],
    *[(RUN, "my_job", "--accept-price", value) for value in AMOUNTS],
    *[(RUN, "my_job", "--estimated-runtime", value) for value in HOURS],
    *[(RUN, "my_job", "--max-runtime", value) for value in HOURS],
    *[
        (RUN, "my_job", flag, value)
        for flag in ("--index", "--min-vcpu", "--max-vcpu", "--egress-gib")
        for value in COUNTS
    ],
    *[
        (RUN, "my_job", flag, value)
        for flag in ("--min-ram", "--max-ram")
        for value in ("-1", "nan", "1e3", "", "100001")
    ],
    *[(RUN, "my_job", "--name", value) for value in ("", "-x", "A", "a b", "a_b", "ü", "a" * 64, "$(id)", "a\nb", "é")],
    *[(RUN, "my_job", "--env", value) for value in ("", "x", "=x", "1A=x", "A-B=x", "ä=x")],
    *[(RUN, "my_job", "--tag", value) for value in ("", "x", "=x", "tallygate-job=x", "a=\x1b[31m", "a=" + "x" * 257)],
    (RUN, "my_job", "--env", "A=1", "--env", "A=2"),
    (RUN, "my_job", "--provider", "ibm"),
    (RUN, "my_job", "--provider", ""),
    (RUN, "my_job", "--min-vcpu", "8", "--max-vcpu", "4"),
    (RUN, "my_job", "--min-ram", "8", "--max-ram", "4"),
    (RUN, "my_job", "--s3-bucket", "b", "--bucket", "s3://b"),
    (RUN, "my_job", "--bucket", "b"),
    (RUN, "my_job", "--docker"),
    (RUN, "my_job", "--command", " "),
    (RUN, "my_job", "--exclude", ""),
    (RUN, "my_job", "--key", ""),
    (RUN, "my_job", "--charge-to", ""),
    (RUN, ""),
    (RUN,),
    (RUN, "my_job", "another"),
    (RUN, "my_job", "--budgt", "5"),
    (RUN, "my_job", "--budget"),
    (RUN, "my_job", "--config", "missing.json"),
    ("job_manager.py", "list", "--status", "done"),
    ("job_manager.py", "list", "--provider", "ibm"),
    *[("job_manager.py", "list", "--limit", value) for value in ("0", "-1", "ten", "", "1e3", "1000000")],
    ("job_manager.py", "lst"),
    ("job_manager.py", "show"),
    ("job_manager.py", "show", "nothing-like-it"),
    ("job_manager.py", "extend", "x", "--hours", "-1"),
    ("job_manager.py", "extend", "x"),
    ("job_manager.py", "cleanup", "--days", "-1"),
    ("job_manager.py", "watch", "--interval", "0"),
    ("tallygate", "budget", "add", "team"),
    ("tallygate", "budget", "add", "team", "--limit", "nan"),
    ("tallygate", "budget", "add", "team", "--limit", "-1"),
    ("tallygate", "budget", "add", "team", "--limit", "1e9"),
    ("tallygate", "budget", "add", "team", "--limit", "5", "--period", "week"),
    ("tallygate", "budget", "add", "team", "--limit", "5", "--alert", "0"),
    ("tallygate", "budget", "top-up", "team", "0"),
    ("tallygate", "budget", "history", "team", "--limit", "0"),
    ("tallygate", "config", "show", "--config", "missing.json"),
    ("tallygate", "no-such-command"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case)[:80].encode("unicode_escape").decode())
def test_bad_input_is_one_clear_sentence_and_nothing_is_written(
    case: tuple[str, ...], cli: Any, here: Path, job_dir: Path
) -> None:
    before = sorted(here.rglob("*"))

    answer = cli(*case)

    assert answer.code == 2
    assert answer.out == ""
    lines = answer.err.splitlines()
    assert lines[0].startswith("ERROR: ")
    assert len(lines) <= 2
    assert len(lines[0]) < 300
    assert "Traceback" not in answer.err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("case", "names", "cure"),
    [
        ((RUN, "my_job", "--budget", "nan"), "--budget 'nan'", "12.50"),
        ((RUN, "my_job", "--budget", "0"), "--budget '0' is not above zero", "12.50"),
        ((RUN, "my_job", "--estimated-runtime", "-1"), "--estimated-runtime '-1'", "2.5"),
        ((RUN, "my_job", "--budgt", "5"), "--budgt", "--budget"),
        ((RUN, "my_job", "--provider", "ibm"), "--provider 'ibm'", "AWS"),
        ((RUN, "my_job", "--name", "My Job"), "--name 'My Job'", "my-job"),
        ((RUN,), "JOB_DIR", "--help"),
        (("job_manager.py", "lst"), "'lst'", "'list'"),
        (("job_manager.py", "show", "x"), "'x'", "job_manager.py list"),
        (("job_manager.py", "list", "--status", "done"), "--status 'done'", "completed"),
    ],
)
def test_the_sentence_names_what_was_wrong_and_what_would_be_right(
    case: tuple[str, ...], names: str, cure: str, cli: Any, job_dir: Path
) -> None:
    error = cli(*case).err
    assert names in error
    assert cure in error


def test_flags_are_read_before_the_configuration_is_looked_at(cli: Any, here: Path, job_dir: Path) -> None:
    """A wrong budget is refused even where the configuration would be refused too: nothing else has happened yet."""
    (here / "config.json").write_text("{broken")
    assert "--budget" in cli(RUN, "my_job", "--budget", "nan").err
    assert "config.json" in cli(RUN, "my_job", "--budget", "5").err


def test_a_message_cannot_paint_the_terminal(cli: Any) -> None:
    """What somebody else has named reaches the screen without its control characters."""
    answer = cli("job_manager.py", "show", "\x1b[31mred\x1b[0m\u202e")
    assert "\x1b" not in answer.err
    assert "\u202e" not in answer.err
