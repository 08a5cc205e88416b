"""The documentation names commands, options, settings, files and sections that are there."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from virnucpro_assets.cli import app
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_names import FORMER_NAMES, settings_of
from virnucpro_assets_tests.pages import (
    PAGES,
    REPOSITORY,
    Command,
    anchors,
    blocks,
    commands,
    links,
    mentions,
)

THEIRS = {"VIRNUCPRO_DISABLE_FP16", "VIRNUCPRO_DISABLE_PACKING", "VIRNUCPRO_V1_ATTENTION"}
"""Variables of VirNucPro 2.0, which docs/migrating.md explains."""
HISTORY = {"CHANGELOG.md", "migrating.md"}

page_of = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@page_of
def test_every_link_leads_to_a_file_and_a_section_that_are_there(page: Path) -> None:
    wrong = []
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_readme_leads_to_every_page() -> None:
    linked = {(REPOSITORY / link.partition("#")[0]).resolve() for link in links(REPOSITORY / "README.md")}
    assert [page.name for page in PAGES if page not in linked and page.name != "README.md"] == []


def test_readme_says_how_much_an_installation_takes_as_the_page_about_it_does() -> None:
    pages = (REPOSITORY / "README.md", REPOSITORY / "docs" / "install.md")
    texts = [" ".join(page.read_text().split()) for page in pages]
    sizes = [
        re.findall(r"([\d.]+ GB) with PyTorch for the CPU, ([\d.]+ GB) with CUDA", text) for text in texts
    ]
    assert len(sizes[0]) == 1
    assert sizes[0] == sizes[1]


def test_readme_says_that_the_ui_takes_deliveries_up_by_itself() -> None:
    (part,) = re.findall(
        r"^## In the Dagster UI\n(.*?)^## ", (REPOSITORY / "README.md").read_text(), re.M | re.S
    )
    assert "`dagster dev`" in part
    assert "While it runs, it takes up by itself what you copy into `drops/`" in " ".join(part.split())


def test_git_ignores_what_the_commands_of_the_readme_write_in_a_clone(tmp_path: Path) -> None:
    written = {"data/x", "drops/x", "virnucpro.toml", "models/x", ".demo/x", ".venv/x"}
    for command in commands(REPOSITORY / "README.md"):
        words = command.words
        written |= {f"{words[at + 1]}/x" for at, word in enumerate(words[:-1]) if word in {"--out", "-p"}}
    assert {"results/x", "results-s/x", "results-all/x"} <= written
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy(REPOSITORY / ".gitignore", tmp_path)
    ignored = subprocess.run(
        ["git", "check-ignore", *sorted(written)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.splitlines() == sorted(written)


def test_make_ui_starts_on_the_demo_by_the_command_that_says_which_page_to_open() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    recipes = dict(re.findall(r"^(ui|demo):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    assert "/virnucpro ui --port $(PORT)" in recipes["ui"]
    assert "dagster dev" not in recipes["ui"]
    # With another DAGSTER_HOME than that of the demo there would be no runs to see.
    assert all("$(DEMO_ENV) $(" in recipe for recipe in recipes.values())
    assert re.findall(r"DAGSTER_HOME=(\S+)", makefile) == ["$(abspath"]


@page_of
def test_every_command_line_of_virnucpro_is_understood(page: Path) -> None:
    # The history names commands that are gone.
    named = commands(page) if page.name not in HISTORY else []
    wrong = [f"{command}: {problem}" for command in named if (problem := _problem(command))]
    assert wrong == []


@page_of
def test_every_make_target_and_every_module_with_its_options_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    wrong = []
    for command in commands(page):
        if command.program == "make":
            wrong += [f"{command}" for word in command.words[1:2] if word not in targets]
        elif command.program.startswith("python") and "-m" in command.words:
            wrong += _problems_of_module(command)
    assert wrong == []


@page_of
def test_every_file_of_the_repository_that_is_named_is_there(page: Path) -> None:
    words = {word for command in commands(page) for word in command.words} | {*mentions(page)}
    wrong = []
    for word in sorted(words):
        roots = (
            [REPOSITORY]
            if re.fullmatch(r"(deploy|docs|tools|benchmarks|virnucpro_assets\w*)/[\w./*-]+", word)
            else []
        )
        if re.fullmatch(r"[a-z_0-9]+/[\w/*]+\.py", word) and page.name not in HISTORY:
            roots = [REPOSITORY, REPOSITORY / "virnucpro_assets", REPOSITORY / "virnucpro_assets_tests"]
        if roots and not any(any(root.glob(word.rstrip("/"))) for root in roots):
            wrong.append(word)
    assert wrong == []


@page_of
def test_every_variable_is_that_of_a_setting(page: Path) -> None:
    known = {setting.variable for setting in settings_of(Settings)} | THEIRS
    named = set(re.findall(r"\bVIRNUCPRO_[A-Z0-9_]+", page.read_text()))
    former = {f"VIRNUCPRO_{name.replace('.', '__').upper()}" for name in FORMER_NAMES}
    allowed = known | former if page.name in HISTORY else known
    groups = {name for name in named if name.endswith("__") and any(v.startswith(name) for v in known)}
    assert (
        named - allowed - groups - ({"VIRNUCPRO_VIRAL_CHECKPOINT_MODE"} if page.name in HISTORY else set())
        == set()
    )


@page_of
def test_no_setting_has_its_former_name(page: Path) -> None:
    names = {*mentions(page)} if page.name not in HISTORY else set()
    assert names & set(FORMER_NAMES) == set()


@page_of
def test_every_settings_file_is_accepted(page: Path) -> None:
    for language, text in blocks(page):
        if language == "toml":
            given = tomllib.loads(text)
            assert Settings.model_validate(given).model_fields_set >= set(given)


def _problem(command: Command) -> str:
    """Why the command line is not one of `virnucpro`; empty if it is, or is that of another program."""
    if command.program not in {"virnucpro", "virnucpro.sif"}:
        return ""
    found: Any = typer.main.get_command(app)
    words = list(command.words[1:])
    while hasattr(found, "commands") and words and not words[0].startswith("-"):
        if words[0] not in found.commands:
            return f"no command {words[0]}"
        found = found.commands[words.pop(0)]
    if command.is_mention or hasattr(found, "commands"):
        known = {
            option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        return ", ".join(sorted(options - known - {"--help", "-"}))
    try:
        found.make_context("virnucpro", words)
    except TyperException as error:
        return str(error)
    return ""


def _problems_of_module(command: Command) -> list[str]:
    """Options, if any, that the source of a module of this repository does not name; or that there is no module."""
    words = command.words[command.words.index("-m") + 1 :]
    if "…" in words[0] or words[0].partition(".")[0] in {"venv", "pip", "pytest", "virnucpro"}:
        return []
    path = REPOSITORY / words[0].replace(".", "/")
    files = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else list(path.glob("*.py"))
    if not files:
        return [f"{command}: no module"]
    source = "".join(file.read_text() for file in files)
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return [f"{command}: {option}" for option in options if f'"{option}"' not in source]
