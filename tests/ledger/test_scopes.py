"""What may be called what: budgets, jobs, keys and reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.errors import UsageError
from tallygate.ledger.scopes import checked_job_id, checked_key, checked_path, is_at_or_above, one_line


@pytest.mark.parametrize(
    "path",
    ["a", "0", "org", "org/team", "org/team/project/user", "a.b_c-d", "org/2026-q1", "x" * 63, "/".join("abcdefgh")],
)
def test_a_path_of_plain_words_is_taken(path: str) -> None:
    assert checked_path(path, what="a name") == path


@pytest.mark.parametrize(
    "path",
    ["", "/", "org/", "/org", "org//team", "Org", "org/Team", "-a", ".a", "_a", "org/..", "..", "a b", "a\n", "a\0", "é",
     "ａ", "org\\team", "a:b", "a%", "x" * 64, "/".join("abcdefghi"), "a/" + "x" * 64],
)  # fmt: skip
def test_any_other_path_is_refused_with_a_cure(path: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_path(path, what="a name")
    assert refused.value.cure


@given(st.text(max_size=80))
def test_no_text_breaks_the_checks(text: str) -> None:
    """Any text is taken as it is or refused as a mistake of use; what is taken stays on one line."""
    for check in (lambda: checked_path(text, what="a name"), lambda: checked_job_id(text), lambda: checked_key(text)):
        try:
            assert check() == text
            assert "\n" not in text
            assert text
        except UsageError:
            pass
    try:
        line = one_line(text)
    except UsageError:
        return
    assert "\n" not in line
    line.encode()


def test_a_scope_is_above_its_parts_and_not_above_its_namesakes() -> None:
    assert is_at_or_above("org", "org")
    assert is_at_or_above("org", "org/team/project")
    assert is_at_or_above("org/team", "org/team/project")
    assert not is_at_or_above("org/team", "org")
    assert not is_at_or_above("org", "organic")
    assert not is_at_or_above("org/team", "org/teams")


@pytest.mark.parametrize("job_id", ["01kjmma2g072tecmq49pkz57h6", "slurm-4711", "A.b_c-9", "x" * 128])
def test_ids_of_other_schedulers_are_taken(job_id: str) -> None:
    assert checked_job_id(job_id) == job_id


@pytest.mark.parametrize("job_id", ["", ":", "a:b", "-a", ".a", "a b", "a/b", "x" * 129, "jöb", "a\n"])
def test_ids_that_could_be_mistaken_in_a_key_are_refused(job_id: str) -> None:
    with pytest.raises(UsageError):
        checked_job_id(job_id)


def test_a_reason_is_kept_on_one_line() -> None:
    assert one_line("  more\tfor\r\nthe\u2028team  ") == "more for the team"
    assert one_line("日本語 and émigrés") == "日本語 and émigrés"
    for unfit in ("a\0b", "bell \x07", "half \ud800 a pair", "x" * 501):
        with pytest.raises(UsageError):
            one_line(unfit)
