"""The instance that the command line and the UI share."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from virnucpro_assets.defs.instance import CONFIG, LOCK, UNFINISHED, open_instance
from virnucpro_assets.errors import InputError
from virnucpro_assets.settings import Settings


@pytest.mark.parametrize("name", ["run?1", "50%ce", "a%20b"])
def test_a_place_that_sqlite_would_read_as_another_is_refused_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError) as error:
        open_instance(Settings(data_root=tmp_path / name / "data"))
    assert str(error.value) == (
        f"{tmp_path / name / 'data' / 'dagster'}: found '?', or '%' and two digits, in the path of the Dagster "
        "instance; expected a path without them: its SQLite databases would be made elsewhere. Set DAGSTER_HOME to "
        "another folder; the data may stay where they are."
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with open_instance(Settings(data_root=tmp_path / name, dagster_home=tmp_path / "home")) as instance:
        assert instance.root_directory == str(tmp_path / "home")


def test_a_place_with_any_other_letters_is_used(tmp_path: Path) -> None:
    home = tmp_path / "a #b 'c' \"d\" é 日 &;:@ 100% [x] *{y} |$HOME \\" / "dagster"
    with open_instance(Settings(data_root=home.parent)) as instance:
        assert instance.get_runs() == []
    assert (home / "history" / "runs.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [home.parent.name]


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


@dg.asset
def nothing() -> None:
    """An asset for a run to make."""


AT_ONCE = """
import os, sys
from pathlib import Path
from virnucpro_assets.defs.instance import open_instance
from virnucpro_assets.settings import Settings
ready, go = os.pipe()
workers = []
for _ in range(6):
    if not (worker := os.fork()):
        os.close(go)
        os.read(ready, 1)
        try:
            with open_instance(Settings(dagster_home=Path(sys.argv[1]))) as instance:
                os._exit(0 if instance.get_runs_count() == 0 else 2)
        except BaseException as error:
            print(repr(error)[:200], file=sys.stderr, flush=True)
            os._exit(1)
    workers.append(worker)
os.close(go)
print([os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers])
"""
CUT_OFF = """
import os, sys
from pathlib import Path
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from virnucpro_assets.defs.instance import open_instance
from virnucpro_assets.settings import Settings
sqlite_run_storage.stamp_alembic_rev = lambda *_, **__: os._exit(9)
open_instance(Settings(dagster_home=Path(sys.argv[1])))
"""


def python(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, home], capture_output=True, text=True)


@pytest.mark.slow
def test_several_commands_at_once_make_one_instance(tmp_path):
    home = tmp_path / "dagster"

    done = python(AT_ONCE, home)

    assert done.stdout == "[0, 0, 0, 0, 0, 0]\n", done.stderr
    with open_instance(Settings(dagster_home=home)) as instance:
        found, newest = instance.run_storage.alembic_version()
        assert found == newest
        assert instance.event_log_storage.get_concurrency_info("gpu").slot_count == 1


@pytest.mark.slow
def test_an_instance_that_was_cut_off_while_it_was_made_is_made_again(tmp_path):
    assert python(CUT_OFF, tmp_path).returncode == 9
    assert (tmp_path / "history" / "runs.db").exists()

    for _ in range(2):
        with open_instance(Settings(dagster_home=tmp_path)) as instance:
            found, newest = instance.run_storage.alembic_version()
            assert found == newest
            instance.report_runless_asset_event(dg.AssetMaterialization("predictions", partition="d1"))

    aside = sorted(path.name for path in tmp_path.iterdir() if "quarantine" in path.name)
    assert aside == ["history.quarantine-1"]


def test_databases_that_somebody_worked_with_are_not_set_aside(tmp_path):
    with open_instance(Settings(dagster_home=tmp_path)) as instance:
        dg.materialize([nothing], instance=instance)
    (tmp_path / UNFINISHED).write_text("history\nschedules")

    with open_instance(Settings(dagster_home=tmp_path)) as instance:
        assert instance.get_runs_count() == 1
    assert not (tmp_path / UNFINISHED).exists()


def test_a_wrong_configuration_leaves_no_mark(tmp_path):
    (tmp_path / "dagster.yaml").write_text("concurency: {}")
    with pytest.raises(InputError):
        open_instance(Settings(dagster_home=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dagster.yaml", LOCK]


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
        "used. Correct the file, or set the variables that it names (docs/operations.md, PostgreSQL)."
    )
