"""Counts in texts: each with its noun in the right number, by one function."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from virnucpro_assets.errors import counted
from virnucpro_assets_tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "virnucpro_assets"
SOURCES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
NOT_COUNTS = {
    "training/evaluate.py": "names of groups by their least and largest length",
    "training/train.py": "the text of a card, which is stored; two rows of each class at least",
}


@pytest.mark.parametrize(
    ("count", "what", "text"),
    [
        (1, "read", "1 read"),
        (0, "read", "0 reads"),
        (2000, "stop-free frame", "2,000 stop-free frames"),
        (2, "virus", "2 viruses"),
        (1.0, "hour", "1 hour"),
        (1.5, "hour", "1.5 hours"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(count: float, what: str, text: str) -> None:
    assert counted(count, what) == text


def nouns() -> set[str]:
    """Everything that is counted somewhere in the package."""
    calls = [node for tree in SOURCES.values() for node in ast.walk(tree) if _is_counted(node)]
    found = {call.args[1].value.split()[-1] for call in calls if isinstance(call.args[1], ast.Constant)}
    for page in PACKAGE.rglob("*.html"):
        found |= {what.split()[-1] for what in re.findall(r'counted\("([^"]+)"\)', page.read_text())}
    return found


def bare_counts(tree: ast.AST, plurals: str) -> Iterator[str]:
    """The texts in which a plural follows a value that is not counted."""
    for node in ast.walk(tree):
        for value, after in pairwise(node.values if isinstance(node, ast.JoinedStr) else ()):
            is_bare = isinstance(value, ast.FormattedValue) and not _is_counted(value.value)
            if is_bare and isinstance(after, ast.Constant) and re.match(plurals, str(after.value)):
                yield ast.unparse(node)


def _is_counted(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "counted"


@pytest.fixture(scope="module")
def plurals() -> str:
    """What a bare count must not be followed by: a plural, perhaps behind another word."""
    several = "|".join(sorted(counted(2, noun).split()[1] for noun in nouns()))
    return rf" (?!of |in |as )(?:[\w-]+ )?(?:{several})\b"


def test_a_count_in_a_message_is_written_by_that_function(plurals: str) -> None:
    snippet = 'f"found {n} ranks"; f"{n} free ranks"; f"{counted(n, what)}"; f"{path} is of rows"'
    assert len(list(bare_counts(ast.parse(snippet), plurals))) == 2, "the search finds nothing"
    wrong = [
        f"{path.relative_to(PACKAGE)}: {text}"
        for path, tree in SOURCES.items()
        if str(path.relative_to(PACKAGE)) not in NOT_COUNTS
        for text in bare_counts(tree, plurals)
    ]
    assert wrong == []


def test_a_count_in_a_page_is_written_by_that_function(plurals: str) -> None:
    pages = {path.name: path.read_text() for path in PACKAGE.rglob("*.html")}
    assert len(pages) == 4
    found = {name: re.findall(rf"\}}\}}{plurals}", text) for name, text in pages.items()}
    assert {name: texts for name, texts in found.items() if texts} == {}
