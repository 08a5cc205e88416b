"""Settings that are wrong, and secrets, which are shown nowhere."""

import importlib
import os
import pwd
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.drops.stage_locks import registration_lock
from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.__main__ import main as run_pipeline
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings, load_settings
from virnucpro_assets.settings_names import settings_of
from virnucpro_assets.storage.drop_sources import DropSource
from virnucpro_assets.training.options import parse_options

SECRET = "secret-3f1a9c74d2"  # noqa: S105

ROOT = str(Path(__file__).parents[1])

COMMANDS = (
    "init",
    "ui",
    "predict reads.fa --out out",
    "demo --out out",
    "prepare reads.fa --out out",
    "drops",
    "drops --missing",
    "materialize sample",
    "retry",
    "report sample",
    "checks sample",
    "cleanup",
    "forget sample",
    "settings",
    "summary",
    "reads-from-contigs --paf reads.fa --calls reads.fa --out out",
    "train --virus virus.fa --others others.fa",
    "models list",
    "models list --published",
    "models show esm2",
    "models fetch DNABERT-S",
    "models import model.pt",
    "models verify",
    "classifiers list",
    "classifiers show 0123456789ab",
    "classifiers use 0123456789ab",
    "classifiers back",
)


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
    "calls.wanted_fdr",
    "expected_viral_share",
    "fresh_hours",
    "keep_embeddings_days",
    "keep_drops_days",
}
NUMBERS = {
    setting.name: setting.variable
    for setting in settings_of(Settings)
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

    assert str(raised.value).startswith(f"setting {name}: found {found}; expected ")


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

    with pytest.raises(InputError, match=f"^setting {re.escape(name)}: found "):
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


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("short_below", "dna_only_below_bases"),
        ("score_frameless", "score_reads_without_open_frame"),
        ("look_seconds", "scan_interval_seconds"),
        ("restarts", "max_device_restarts"),
        ("sheets_may_lead_out", "allow_external_sample_paths"),
        ("scan_seconds", ""),
        ("alerts.attempts", ""),
    ],
)
def test_a_former_name_is_refused_with_the_present_one(
    former: str, present: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert present in {"", *Settings.model_fields}
    assert former not in Settings.model_fields
    found, gone = (
        "found the name of a setting in an earlier version",
        "no such setting: it has no effect any more",
    )
    with monkeypatch.context() as patch:
        variable = f"VIRNUCPRO_{former.upper().replace('.', '__')}"
        patch.setenv(variable, "1")
        with pytest.raises(InputError) as raised:
            load_settings()
    now = f"VIRNUCPRO_{present.upper()}, its name now" if present else gone
    assert str(raised.value) == f"variable {variable}: {found}; expected {now}. Rename or unset it."
    (tmp_path / "virnucpro.toml").write_text(f"{former} = 1\n")
    with pytest.raises(InputError) as raised:
        load_settings()
    now = f"{present}, its name now" if present else gone
    assert str(raised.value) == f"setting {former}: {found}; expected {now}. Correct virnucpro.toml."


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("VIRNUCPRO_PRECISON", "VIRNUCPRO_PRECISION"),
        ("VIRNUCPRO_DATA_ROT", "VIRNUCPRO_DATA_ROOT"),
        ("virnucpro_data_rot", "VIRNUCPRO_DATA_ROOT"),
        ("VIRNUCPRO_HUB", "HF_ENDPOINT"),
        ("VIRNUCPRO_HUB_TOKEN", "HF_TOKEN"),
        ("VIRNUCPRO_DAGSTER_HOME", "DAGSTER_HOME"),
        ("VIRNUCPRO_VISIBLE_GPUS", "CUDA_VISIBLE_DEVICES"),
        ("VIRNUCPRO_CALLS_MIN_CHUNKS", "VIRNUCPRO_CALLS__MIN_CHUNKS"),
        ("VIRNUCPRO_CALLS__MIN_CHUNK", "VIRNUCPRO_CALLS__MIN_CHUNKS"),
        ("VIRNUCPRO_ALERTS__WEBHOK", "VIRNUCPRO_ALERTS__WEBHOOK"),
        ("VIRNUCPRO_RAY__ADRESS", "VIRNUCPRO_RAY__ADDRESS"),
        # Names of an earlier version.
    ],
)
def test_a_variable_that_no_setting_has_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(variable, SECRET)

    with pytest.raises(InputError) as raised:
        load_settings()

    assert str(raised.value) == (
        f"variable {variable}: found a name that no setting has; expected the name of a setting, the nearest is "
        f"{meant}. Correct the name or unset it; docs/settings.md lists all settings."
    )


def test_a_prefix_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRNUCPRO_", "1")

    with pytest.raises(InputError, match="variable VIRNUCPRO_: found a name that no setting has"):
        load_settings()


def test_a_group_may_be_given_as_a_whole_and_its_names_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRNUCPRO_CALLS", '{"min_chunks": 7}')
    assert load_settings().calls.min_chunks == 7

    monkeypatch.setenv("VIRNUCPRO_CALLS", '{"min_chunk": 7}')
    with pytest.raises(InputError, match=r"setting calls\.min_chunk: .* the nearest is calls\.min_chunks"):
        load_settings()


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('precison = "float16"', "precision"),
        ("[calls]\nviral_abov = 0.5", "calls.viral_above"),
        ("[alerts]\nlogs = true", "alerts.log"),
        ('[ray]\nadress = "http://127.0.0.1:8265"', "ray.address"),
        # Names of an earlier version.
    ],
)
def test_a_misspelt_name_in_the_file_is_refused_with_the_nearest(
    tmp_path: Path, line: str, meant: str
) -> None:
    (tmp_path / "virnucpro.toml").write_text(line + "\n")

    with pytest.raises(InputError, match=f"the nearest is {meant}. Correct virnucpro.toml."):
        load_settings()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_variable_that_no_setting_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "reads.fa").write_text(">r\nACGT\n")
    monkeypatch.setenv("VIRNUCPRO_PRECISON", "float16")

    found = CliRunner().invoke(app, command.split())

    assert (found.exit_code, found.stdout) == (2, "")
    assert "variable VIRNUCPRO_PRECISON" in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reads.fa"]


def test_no_command_is_left_out() -> None:
    def names(command: Any, before: str = "") -> set[str]:
        inner = getattr(command, "commands", {})
        found = {name for word, one in inner.items() for name in names(one, f"{before} {word}")}
        return found or {before.strip()}

    tried = {
        " ".join(words[: 1 + (words[0] in {"models", "classifiers"})]) for words in map(str.split, COMMANDS)
    }
    assert tried == names(typer.main.get_command(app))


def test_the_services_and_the_engine_refuse_a_variable_that_no_setting_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIRNUCPRO_PRECISON", "float16")
    monkeypatch.delitem(sys.modules, "virnucpro_assets.definitions", raising=False)
    with pytest.raises(InputError, match="variable VIRNUCPRO_PRECISON"):
        importlib.import_module("virnucpro_assets.definitions")

    monkeypatch.setattr(sys, "argv", ["pipeline", "reads.fa", "--out", "out"])
    assert run_pipeline() == 2
    assert "variable VIRNUCPRO_PRECISON" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "variable", ["VIRNUCPRO_DATA_ROOT", "VIRNUCPRO_MODELS", "VIRNUCPRO_ESM2", "DAGSTER_HOME"]
)
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_no_path(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InputError, match=rf"found {value!r}; expected a path\. Set {variable} or correct"):
        load_settings()


def test_an_empty_path_in_the_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "virnucpro.toml").write_text('drops_folder = ""\n')

    with pytest.raises(InputError, match="setting drops_folder: found ''; expected a path"):
        load_settings()


def test_every_path_refuses_an_empty_value() -> None:
    paths = [name for name, field in Settings.model_fields.items() if "Path" in str(field.annotation)]
    assert len(paths) >= 8
    for name in paths:
        with pytest.raises(ValueError, match="a path"):
            Settings.model_validate({name: ""})


@pytest.mark.parametrize(
    ("setting", "variable"),
    [
        ("data_root", "VIRNUCPRO_DATA_ROOT"),
        ("dagster_home", "DAGSTER_HOME"),
        ("drops_folder", "VIRNUCPRO_DROPS_FOLDER"),
        ("models", "VIRNUCPRO_MODELS"),
        ("esm2", "VIRNUCPRO_ESM2"),
        ("dnabert_s", "VIRNUCPRO_DNABERT_S"),
        ("classifiers", "VIRNUCPRO_CLASSIFIERS"),
        ("locks_folder", "VIRNUCPRO_LOCKS_FOLDER"),
    ],
)
@pytest.mark.parametrize(
    ("value", "path"),
    [("~", "{home}"), ("~/a b", "{home}/a b"), ("~root/x", "{root}/x"), ("./~/x", "~/x"), ("a~/~", "a~/~")],
)
def test_a_tilde_is_the_home_folder_in_every_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, variable: str, *, value: str, path: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected = Path(path.format(home=tmp_path / "home", root=pwd.getpwnam("root").pw_dir))
    monkeypatch.delenv(variable, raising=False)
    name = "DAGSTER_HOME" if setting == "dagster_home" else setting
    (tmp_path / "virnucpro.toml").write_text(f'{name} = "{value}"\n')
    assert getattr(load_settings(), setting) == expected

    (tmp_path / "virnucpro.toml").unlink()
    monkeypatch.setenv(variable, value)
    assert getattr(load_settings(), setting) == expected


def test_the_home_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRNUCPRO_DATA_ROOT", "~nobody-has-this-name/x")
    with pytest.raises(InputError) as error:
        load_settings()
    assert str(error.value) == (
        "setting data_root: found '~nobody-has-this-name/x'; expected a path whose ~NAME is a user's "
        "(./~NAME is a file of that name). Set VIRNUCPRO_DATA_ROOT or correct virnucpro.toml."
    )


@pytest.mark.parametrize("variable", ["LC_ALL=C", "LC_ALL=C.UTF-8"])
def test_a_locale_that_is_not_utf_8_is_one_line_where_python_cannot_be_started_again(variable: str) -> None:
    locale = dict([variable.split("=")])
    done = subprocess.run(
        [sys.executable, "-c", "from virnucpro_assets.settings import load_settings; load_settings()"],
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": ROOT}
        | locale,
        capture_output=True,
        text=True,
    )
    lines = done.stderr.splitlines()[-1:]
    assert lines == (
        []
        if "UTF-8" in variable
        else [
            "virnucpro_assets.errors.InputError: locale: found names of files in ascii; expected UTF-8, in which "
            "records and reports are written. Set PYTHONUTF8=1, or a UTF-8 locale such as C.UTF-8."
        ]
    )


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("dagster", {}),
        ("Dagster", {}),
        ("dagster", {"dagster_home": "elsewhere"}),
        ("home", {"dagster_home": "data/home"}),
        ("models", {"models": "data/models"}),
        ("site", {"models": "data/site/models"}),
        ("arrived", {"drops_folder": "data/arrived"}),
        ("locks", {"locks_folder": "data/locks"}),
        ("ours", {"classifiers": "data/ours"}),
    ],
)
def test_no_drop_is_called_as_a_folder_of_the_platform(key: str, settings: dict[str, str]) -> None:
    chosen = Settings.model_validate({"data_root": "data"} | settings)
    with pytest.raises(InputError, match=f"^drop {key}: found the name of a folder of the platform, "):
        chosen.check_not_own(key)
    with (
        pytest.raises(InputError, match="a folder of the platform"),
        registration_lock(key, chosen),
    ):
        raise AssertionError
    with pytest.raises(InputError, match="a folder of the platform"):
        register_reads(key, [], chosen)
    assert not Path("data").exists()


@pytest.mark.parametrize("key", ["dagster2", "daggy", "models", "drops", "home"])
def test_other_names_are_free(key: str) -> None:
    chosen = Settings.model_validate({"data_root": "data", "dagster_home": "homes/home"})
    chosen.check_not_own(key)
    with pytest.raises(InputError, match="the name of a folder of the platform"):
        chosen.model_copy(update={"models": Path("data") / key}).check_not_own(key)


def test_no_gpu_may_be_left_to_a_process_and_only_the_named_variables_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HUB", "HUB_TOKEN", "VISIBLE_GPUS"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    settings = load_settings()

    assert (settings.hub, settings.hub_token) == ("https://huggingface.co", None)
    assert settings.visible_gpus == ""


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("# f\u00fcr\nmin_score = 0.6\n".encode("latin-1"), "'utf-8' codec can't decode"),
        ("min_score = 0.6\n".encode("utf-16"), "'utf-8' codec can't decode"),
        ("min_score = 0.6\n".encode("utf-8-sig"), "Invalid statement"),
    ],
)
def test_a_settings_file_in_another_encoding_is_one_error_that_names_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "virnucpro.toml").write_bytes(content)
    with pytest.raises(
        InputError,
        match=rf"virnucpro\.toml: found {found}.*; expected TOML, name = value, in UTF-8.*text needs quotes",
    ):
        load_settings()


def test_a_settings_file_that_is_a_folder_or_a_link_to_nothing_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "virnucpro.toml").symlink_to("nowhere")
    with pytest.raises(InputError, match="found a folder, or a link to nothing"):
        load_settings()
    (tmp_path / "virnucpro.toml").unlink()
    (tmp_path / "virnucpro.toml").mkdir()
    with pytest.raises(InputError, match="found a folder, or a link to nothing"):
        load_settings()
