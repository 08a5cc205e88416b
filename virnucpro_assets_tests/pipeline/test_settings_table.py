"""The settings as people read them: in the documentation and in the terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.settings_table import GROUPS, with_table
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_names import in_use, settings_of

SETTINGS = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_documentation_has_every_setting_with_its_default_and_meaning() -> None:
    page = SETTINGS.read_text()
    advice = "python -m tools.settings_table docs/settings.md writes it"
    assert with_table(page) == page, advice


def test_the_groups_of_the_documentation_have_all_settings_in_their_order() -> None:
    grouped = [setting for group in GROUPS.values() for setting in settings_of(group)]
    assert grouped == list(settings_of(Settings))


def test_every_setting_has_a_meaning() -> None:
    assert [setting.name for setting in settings_of(Settings) if not setting.meaning] == []


def test_every_setting_can_be_set_by_the_variable_that_the_table_names(monkeypatch: Any) -> None:
    for setting in settings_of(Settings):
        if type(setting.default) in {int, float}:
            monkeypatch.setenv(setting.variable, str(setting.default))
    given = Settings().model_dump(exclude_unset=True)
    names = {name for name, value in given.items() if not isinstance(value, dict)}
    names |= {
        f"{name}.{inner}" for name, value in given.items() if isinstance(value, dict) for inner in value
    }
    expected = {setting.name for setting in settings_of(Settings) if type(setting.default) in {int, float}}
    assert expected <= names


def test_secrets_are_not_shown() -> None:
    settings = Settings.model_validate({"alerts": {"smtp_password": "hidden", "mail_to": "a@example.org"}})
    shown = {name: value for name, value, _ in in_use(settings)}
    assert shown["alerts.smtp_password"] == "(secret)"  # noqa: S105
    assert shown["alerts.mail_to"] == "a@example.org"
    assert shown["alerts.webhook"] == ""
    assert "hidden" not in str(shown)


def test_the_command_prints_the_settings_in_use(new_installation: Callable[[str], Any]) -> None:
    outcome = new_installation("settings").run("settings", VIRNUCPRO_CALLS__MIN_CHUNKS="9")
    assert outcome.exit_code == 0
    lines = [line.partition("  # ")[0] for line in outcome.stdout.splitlines()]
    assert {"calls.min_chunks = 9", "devices = cpu:1", "ranks = 4"} <= set(lines)
    assert len(outcome.stdout.splitlines()) == len(list(settings_of(Settings)))
