"""The terminal, word for word: `python -m virnucpro_assets_tests.terminal_output` writes what is compared here."""

from collections.abc import Callable

import pytest

from virnucpro_assets_tests.conftest import Installation
from virnucpro_assets_tests.terminal_output import COMMANDS, FOLDER, outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def printed(new_installation: Callable[[str], Installation]) -> dict[str, str]:
    return outputs(new_installation("terminal"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_is_committed(printed: dict[str, str], name: str) -> None:
    assert printed[name] == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_no_line_is_of_the_frameworks_internals(printed: dict[str, str]) -> None:
    assert len(printed) == len(COMMANDS)
    for text in printed.values():
        for word in ("did not yield", "op '", "dagster", "Dagster", "Traceback", "Warning:"):
            assert word not in text
    assert "demo model in use" in printed["predict"].partition("--- standard output")[2]
