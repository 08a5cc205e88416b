"""Settings that are wrong, and secrets, which are shown nowhere."""

import traceback
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.errors import InputError
from virnucpro_assets.pipeline.training.options import parse_options
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings, load_settings
from virnucpro_assets.settings_table import all_settings
from virnucpro_assets.storage.drops import DropSource

SECRET = f"secret-{uuid4()}"


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


NUMBERS_THAT_MAY_BE_LEFT_OUT = {
    "peak_tflops",
    "calls.wanted_precision",
    "fresh_hours",
    "keep_embeddings_days",
    "keep_drops_days",
}
NUMBERS = {
    setting.name: setting.variable
    for setting in all_settings()
    if type(setting.default) in {int, float} or setting.name in NUMBERS_THAT_MAY_BE_LEFT_OUT
}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1000000"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_its_range_is_refused_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(NUMBERS[name], value)
    found = "a value that does not fit" if name.startswith("alerts.") else repr(value)

    with pytest.raises(InputError) as raised:
        load_settings()

    assert str(raised.value).startswith(f"setting {name.replace('.', '__')}: found {found}; expected ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(f"calls.{share}", "1.5") for share in ("viral_above", "high_above", "confident_above")],
        *[(f"calls.{share}", "1.5") for share in ("opposite_below", "ambiguous_above")],
        *[("calls.min_confident_share", "2"), ("calls.wanted_precision", "0"), ("min_score", "1.01")],
        *[("min_cosine", "3"), ("min_label_agreement", "3"), ("min_packing_efficiency", "1.1")],
        *[("ranks", "0"), ("ranks", "100"), ("check_sample", "513"), ("alerts.smtp_port", "65536")],
        *[("settle_seconds", "0"), ("stall_seconds", "0"), ("classifier_margin", "1")],
    ],
)
def test_a_number_just_out_of_its_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(NUMBERS[name], value)

    with pytest.raises(InputError, match=rf"^setting {name.replace('.', '__')}: found "):
        load_settings()


@pytest.mark.parametrize(
    ("value", "bound"), [("0.75", "ambiguous_above, 0.7"), ("0.9", "ambiguous_above, 0.7")]
)
def test_bounds_by_which_a_chunk_is_confident_and_ambiguous_at_once_are_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, bound: str
) -> None:
    monkeypatch.setenv("VIRNUCPRO_CALLS__OPPOSITE_BELOW", value)

    with pytest.raises(InputError, match=f"expected opposite_below of at most {bound}, not {value}"):
        load_settings()


@pytest.mark.parametrize("option", ["learning_rate", "momentum", "validation_share", "source_factor"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_option_of_the_training_that_is_no_number_is_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match="options of the training"):
        parse_options({option: value})


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1])
def test_a_score_for_hits_that_is_none_is_refused(tmp_path: Path, score: float) -> None:
    file = ReadFile(tmp_path / "a.fa")

    with pytest.raises(InputError, match="expected a number from 0 to 1"):
        DropSource.of([file], chunk_length=300, duplicates="suffix", min_score=score)


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
