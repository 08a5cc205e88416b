"""Where steps compute: the devices of a run, what a cluster is asked for, and which settings travel with a step."""

import sys
from pathlib import Path

import pytest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.devices import Devices, backfill_policy, executor, settings_of_steps, step_tags
from virnucpro_assets.defs.terminal import terminal_logger
from virnucpro_assets.errors import InputError
from virnucpro_assets.settings import Settings, load_settings


@pytest.fixture
def on_ray(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "executor": "ray",
            "ray": {"num_cpus": 2, "num_gpus": 0.5},
            "data_root": tmp_path / "data",
            "drops_folder": tmp_path / "drops",
            "dagster_home": tmp_path / "dagster",
            "models": tmp_path / "models",
            "precision": "bfloat16",
            "cleanup_deletes": True,
            "calls": {"min_chunks": 7},
            "alerts": {"webhook": "https://example.org/token", "smtp_password": "hidden"},
            "visible_gpus": "3",
            "hub": "https://mirror.example",
            "hub_token": "hidden",
        }
    )


def test_one_machine_takes_all_ranks_in_one_run_and_asks_nobody() -> None:
    settings = Settings()
    assert executor(settings).name == "in_process"
    assert backfill_policy(settings).max_partitions_per_run == settings.ranks
    assert step_tags(settings, devices=True) == {}


def test_a_cluster_takes_a_rank_a_run_and_only_steps_with_devices_ask_for_a_gpu(on_ray: Settings) -> None:
    assert backfill_policy(on_ray).max_partitions_per_run == 1
    assert step_tags(on_ray, devices=True) == {"dagster-ray/config": {"num_cpus": 2, "num_gpus": 0.5}}
    assert step_tags(on_ray, devices=False) == {"dagster-ray/config": {"num_cpus": 2, "num_gpus": 0}}


def test_a_step_elsewhere_has_the_same_settings_but_for_secrets_and_what_is_the_node_s_own(
    on_ray: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = settings_of_steps(on_ray)
    assert not [name for name, text in variables.items() if "token" in text or "hidden" in text]
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    there = load_settings()
    left_out = {"alerts", "visible_gpus", "hub", "hub_token"}
    assert there.model_dump(exclude=left_out) == on_ray.model_dump(exclude=left_out)
    assert there.visible_gpus == "1"
    assert not there.alerts.has_target


@pytest.mark.parametrize("name", ["data_root", "esm2"])
def test_a_relative_path_is_refused_where_other_machines_would_look_for_it(
    on_ray: Settings, name: str
) -> None:
    with pytest.raises(InputError) as raised:
        build_definitions(on_ray.model_copy(update={name: Path("here")}))
    assert str(raised.value) == (
        f"setting {name}: found 'here'; expected an absolute path, the same on every machine of the cluster. "
        f"Set VIRNUCPRO_{name.upper()}."
    )


def test_a_cluster_without_its_package_is_refused_with_what_to_install(
    on_ray: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dagster_ray", None)
    with pytest.raises(InputError, match=r"pip install 'virnucpro-assets\[ray\]'"):
        executor(on_ray)


LINE = "demo model in use (dnabert_s, esm2, classifier_300): results show how the platform works"


def test_a_run_says_once_that_a_model_in_use_is_the_demos() -> None:
    lines: list[str] = []
    with Devices(Settings(devices="cpu:1")).lease(lines.append):
        pass
    assert [LINE in line for line in lines] == [True]


@pytest.mark.parametrize(
    ("message", "shown"), [(LINE, ""), ("esm2: 3 of 3 sequences", "esm2: 3 of 3 sequences\n")]
)
def test_the_terminal_leaves_to_the_command_what_each_run_says(
    message: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = terminal_logger(None)
    logger.info(message, extra={"dagster_meta": {"orig_message": message, "dagster_event": None}})
    assert capsys.readouterr().err == shown
