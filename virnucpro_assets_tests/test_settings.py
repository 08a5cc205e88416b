"""Settings that are wrong, and secrets, which are shown nowhere."""

import traceback
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.errors import InputError
from virnucpro_assets.settings import Settings, load_settings

SECRET = "secret-3f1a9c74d2"  # noqa: S105


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed() -> list[str]:
    """The lines of `virnucpro settings`."""
    found = CliRunner().invoke(app, ["settings"])
    assert found.exit_code == 0
    return found.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WEBHOOK", SECRET, "an address that begins with http:// or https://"),
        ("WEBHOOK_HEADER", SECRET, "a header, NAME: VALUE, in one line"),
        ("WEBHOOK_HEADER", f"X-Token: {SECRET}\nX-Other: 1", "a header, NAME: VALUE, in one line"),
        ("SMTP_PORT", SECRET, "a valid integer"),
        ("SMTP_SECURITY", SECRET, "'starttls', 'ssl' or 'none'"),
    ],
)
def test_a_wrong_setting_of_the_alerts_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"VIRNUCPRO_ALERTS__{name}", value)

    with pytest.raises(InputError) as raised:
        load_settings()

    assert f"VIRNUCPRO_ALERTS__{name}" in str(raised.value)
    assert expected in str(raised.value)
    whole = "".join(traceback.format_exception(raised.value))
    assert "ValidationError" in whole
    assert SECRET not in whole


def test_a_wrong_setting_of_another_kind_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRNUCPRO_OVERDUE_HOURS", "soon")

    with pytest.raises(InputError, match=r"setting overdue_hours: found 'soon'; expected a valid number"):
        load_settings()


def test_secrets_of_the_file_and_of_the_environment_are_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "virnucpro.toml").write_text(
        f'[alerts]\nwebhook = "https://hook.example/{SECRET}"\nmail_to = "lab@example.org"\n'
    )
    monkeypatch.setenv("VIRNUCPRO_ALERTS__SMTP_PASSWORD", SECRET)
    monkeypatch.setenv("VIRNUCPRO_ALERTS__WEBHOOK_HEADER", f"X-Token: {SECRET}")

    settings = load_settings()
    lines = dict(line.split(" = ", 1) for line in printed())

    for text in (repr(settings), str(settings.model_dump()), settings.model_dump_json(), *lines.values()):
        assert SECRET not in text
    for name in ("webhook", "webhook_header", "smtp_password"):
        assert lines[f"alerts.{name}"].startswith("(secret)")
    assert lines["alerts.mail_to"].startswith("lab@example.org  # ")
    assert settings.alerts.webhook is not None
    assert settings.alerts.webhook.get_secret_value().endswith(SECRET)


def test_every_setting_has_a_line_with_its_meaning() -> None:
    lines = printed()

    assert len(lines) > len(Settings.model_fields)
    for line in lines:
        assert len(line.partition("  # ")[2]) > 5, line


def test_nobody_is_told_anything_by_default() -> None:
    assert not Settings().alerts.has_target
