"""What the documents say is so: commands exist, files are where links point, every error is catalogued."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tallygate import errors

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "schema", ROOT / "bench", *(ROOT / "examples").iterdir())
    for path in folder.glob("*.md")
)


# --- generated documents


def test_generated_documents_are_up_to_date() -> None:
    answer = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


def every_error(parent: type[errors.TallygateError] = errors.TallygateError) -> list[type[errors.TallygateError]]:
    return [parent, *(kind for child in parent.__subclasses__() for kind in every_error(child))]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_catalogued_with_its_code_message_and_cure(kind: type[errors.TallygateError]) -> None:
    assert kind.__module__ == errors.__name__, "errors live in one tree, in errors.py"
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    _, found, section = text.partition(f"\n## {kind.__name__}\n")
    assert found
    section = section.partition("\n## ")[0]
    bare = kind()
    assert f"Exit code {bare.exit_code}" in section
    assert bare.message.rstrip(".") in section
    assert bare.cure.rstrip(".") in section


def test_the_tree_at_the_top_of_errors_names_every_error_under_its_parent() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    drawn: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in lines:
        words = re.findall(r"(?<![\w'])([A-Z][a-z]+[A-Za-z]*)(?=  |$)", line)
        indent = len(line) - len(line.lstrip())
        while parents and parents[-1][0] >= indent:
            parents.pop()
        for word in words:
            drawn[word] = parents[-1][1] if parents else "Exception"
        parents.append((indent, words[-1]))
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in every_error()}


# --- links and words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (document.parent / name).resolve() if name else document
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


@cache
def anchors(path: Path) -> frozenset[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


def test_the_glossary_gives_every_word_one_meaning() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = [
        word.strip().lower() for entry in re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE) for word in entry.split(",")
    ]
    assert len(words) > 40
    assert sorted({word for word in words if words.count(word) > 1}) == []
