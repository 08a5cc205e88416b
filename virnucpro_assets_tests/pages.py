"""What the pages of the documentation hold: links, anchors, code blocks and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"\w+=.*")
SHELLS = {"console", "sh", "bash"}
IMAGES = {"virnucpro", "virnucpro:gpu", "virnucpro.sif"}
"""What runs `virnucpro` in a container: the words after it are its arguments."""


@dataclass(frozen=True)
class Command:
    """A command in a page: its words, without variables and what starts it. A mention may lack arguments."""

    page: str
    words: tuple[str, ...]
    is_mention: bool = False

    @property
    def program(self) -> str:
        return self.words[0].rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each fenced block."""
    for found in _BLOCK.finditer(page.read_text()):
        yield found[1], found[2]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text())


def mentions(page: Path) -> list[str]:
    """What stands between back-quotes in the text."""
    return [" ".join(found.replace("\\|", "|").split()) for found in _INLINE.findall(prose(page))]


def links(page: Path) -> list[str]:
    """The targets of all links and pictures."""
    return _LINK.findall(_INLINE.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """The anchors of all headings, as GitHub makes them."""
    made: list[str] = []
    for heading in _HEADING.findall(prose(page)):
        text = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
        anchor = text.replace(" ", "-")
        made.append(f"{anchor}-{made.count(anchor)}" if anchor in made else anchor)
    return set(made)


def commands(page: Path) -> Iterator[Command]:
    """Every command in the shell blocks of a page, and every one that its text mentions between back-quotes."""
    for language, text in blocks(page):
        for line in text.replace("\\\n", " ").splitlines() if language in SHELLS else ():
            for words in _commands_of(line):
                yield Command(page.name, words)
    for text in mentions(page):
        if re.match(r"(virnucpro|make|python|pip|dagster) \S", text):
            for words in _commands_of(text):
                yield Command(page.name, words, is_mention=True)


def _commands_of(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word.strip("|&;"):
            words.append(word)
        elif words := _without_starters(words):
            yield tuple(words)
            words = []


def _without_starters(words: list[str]) -> list[str]:
    while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in {"export", "srun", "as_virnucpro", "{"}):
        words = words[1:]
    if words[:2] in (["docker", "run"], ["apptainer", "run"]) and (inside := IMAGES & set(words[:-1])):
        return ["virnucpro", *words[words.index(inside.pop()) + 1 :]]
    return words
