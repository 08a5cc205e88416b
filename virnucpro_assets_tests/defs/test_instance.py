"""The instance that the command line and the UI share."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from virnucpro_assets.defs.instance import CONFIG, open_instance
from virnucpro_assets.errors import InputError
from virnucpro_assets.settings import Settings


def test_the_instance_lies_under_the_data_root_with_one_slot_for_the_devices(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    with open_instance(Settings(data_root=tmp_path)) as instance:
        assert instance.root_directory == str(tmp_path / "dagster")
        assert instance.event_log_storage.get_concurrency_info("gpu").slot_count == 1
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 60


def test_the_home_that_is_named_is_used(tmp_path):
    with open_instance(Settings(data_root=tmp_path / "data", dagster_home=tmp_path / "home")) as instance:
        assert instance.root_directory == str(tmp_path / "home")


def test_an_instance_that_is_configured_keeps_its_configuration(tmp_path):
    own = "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 3}}\n"
    (tmp_path / "dagster.yaml").write_text(own)

    with open_instance(Settings(dagster_home=tmp_path)) as instance:
        assert instance.event_log_storage.get_concurrency_info("gpu").slot_count == 3
    assert (tmp_path / "dagster.yaml").read_text() == own


def test_the_repository_and_the_package_ship_the_same_configuration():
    repository = Path(__file__).parents[2] / "dagster.yaml"

    assert yaml.safe_load(repository.read_text()) == yaml.safe_load(CONFIG.read_text())


def test_what_is_recorded_is_there_when_the_instance_is_opened_again(tmp_path):
    settings = Settings(dagster_home=tmp_path)
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("predictions", partition="d1"))

    with open_instance(settings) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("predictions")) == {"d1"}


def test_a_limit_that_an_operator_set_is_kept(tmp_path):
    settings = Settings(dagster_home=tmp_path)
    with open_instance(settings) as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 2)

    with open_instance(settings) as instance:
        assert instance.event_log_storage.get_concurrency_info("gpu").slot_count == 2


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("concurency: {}", 'Received unexpected config entry "concurency" at the root'),
        (
            "storage: {sqlite: {base_dir: {env: NO_SUCH_VARIABLE}}}",
            'You have attempted to fetch the environment variable "NO_SUCH_VARIABLE" which is not set.',
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_in_one_line(tmp_path, lines, found):
    (tmp_path / "dagster.yaml").write_text(lines)

    with pytest.raises(InputError) as raised:
        open_instance(Settings(dagster_home=tmp_path))
    assert str(raised.value) == (
        f"{tmp_path / 'dagster.yaml'}: found {found.rstrip('.')}; expected a configuration and a database that can be "
        "used. Mend the file, or set the variables that it names (docs/operations.md, PostgreSQL)."
    )
