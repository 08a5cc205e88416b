"""The sensor `new_drops` and the schedules, each called as the daemon calls it, on a real instance."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from virnucpro_assets.calling.routing import classifiers_in_use
from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.classifier import classifier
from virnucpro_assets.defs.instance import open_instance
from virnucpro_assets.defs.maintenance import forget_drop
from virnucpro_assets.defs.next_runs import NIGHTLY, RETRY, read_note
from virnucpro_assets.defs.partitions import (
    ASSETS,
    DROPS,
    EMBEDDINGS,
    OF_CALL,
    OF_INDEX,
    Partitions,
    tags_of_ranks,
)
from virnucpro_assets.defs.records import latest_record
from virnucpro_assets.defs.statuses import Todo, whole
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

pytestmark = pytest.mark.filterwarnings("ignore:.*in beta:dagster_shared.utils.warnings.BetaWarning")

READS = ">a\nATGGCTGCAGGTCTG\n"


@dataclass
class Daemon:
    """What the daemon does with the sensor and the schedules, and the drops folder."""

    instance: dg.DagsterInstance
    settings: Settings
    repository: dg.RepositoryDefinition
    cursor: str | None = None
    said: list[str] = field(default_factory=list)
    asked: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The job and the drop of each run that was asked for, by the key of its request."""

    def deliver(self, name: str, content: str = READS) -> None:
        """A whole delivery, with a marker that is newer than its file."""
        folder = self.settings.drops_folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "reads.fa").write_text(content)
        (folder / "READY").touch()
        newest = (folder / "reads.fa").stat().st_mtime_ns + 10**9
        os.utime(folder / "READY", ns=(newest, newest))

    def tick(self, times: int = 3) -> list[str]:
        """Ticks of the sensor, its partitions added; returns the drops that were new."""
        new: list[str] = []
        for _ in range(times):
            with dg.build_sensor_context(
                instance=self.instance, cursor=self.cursor, repository_def=self.repository
            ) as context:
                result: Any = self.repository.get_sensor_def("new_drops")(context)
            self.cursor = result.cursor
            self.asked |= {
                one.run_key: (one.job_name, one.partition_key) for one in result.run_requests or []
            }
            self.said.append(result.skip_reason.skip_message if result.skip_reason else "")
            for request in result.dynamic_partitions_requests:
                self.instance.add_dynamic_partitions(DROPS, request.partition_keys)
                new += request.partition_keys
        return new

    def schedule(self, name: str, at: datetime) -> str:
        """What a schedule says in its tick."""
        with dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=at, repository_def=self.repository
        ) as context:
            reason: Any = self.repository.get_schedule_def(name)(context)
        return reason.skip_message

    def finish(self, drop: str) -> None:
        """Record all of a drop as made, its files as listed."""
        DropStore(self.settings.data_root).list_files(drop)
        for asset in ASSETS:
            for key in Partitions(self.settings.ranks).of_asset(asset, drop):
                self.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))

    @property
    def indexed(self) -> list[str]:
        """The drops whose index was asked for, once for each key."""
        assert {job for job, _ in self.asked.values()} <= {"index_drop"}
        return [drop for _, drop in self.asked.values()]

    def noted(self, schedule: str) -> dict[str, Todo]:
        """What a schedule found to do."""
        return read_note(self.instance, schedule)[1]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    settings = Settings(
        data_root=tmp_path / "data", drops_folder=tmp_path / "drops", dagster_home=tmp_path / "home", ranks=2
    )
    settings.drops_folder.mkdir()
    with open_instance(settings) as instance:
        yield Daemon(instance, settings, build_definitions(settings).get_repository_def())


def test_a_new_drop_becomes_a_partition_once_and_its_index_is_asked_for_once(daemon: Daemon) -> None:
    daemon.deliver("sample")
    daemon.deliver("bad name")

    assert daemon.tick() == ["sample"]
    assert daemon.tick() == []
    assert daemon.indexed == ["sample"]
    daemon.finish("sample")
    assert daemon.tick(1) == []
    assert "refused bad name/: found" in daemon.said[-1]


def test_a_run_of_a_new_drop_is_shown_as_launched_by_the_sensor(daemon: Daemon) -> None:
    daemon.deliver("sample")
    daemon.instance.add_dynamic_partitions(DROPS, ["sample"])
    with (
        dg.build_sensor_context(instance=daemon.instance, repository_def=daemon.repository) as context,
        partition_loading_context(dynamic_partitions_store=daemon.instance),
    ):
        # As the daemon evaluates it. A run without this tag is "Manually launched" in the UI.
        (request,) = daemon.repository.get_sensor_def("new_drops").evaluate_tick(context).run_requests or []
    assert (request.job_name, request.partition_key) == ("index_drop", "sample")
    assert request.tags["dagster/sensor_name"] == "new_drops"
    assert daemon.instance.get_backfills() == []


def test_a_drop_that_a_run_works_on_is_asked_for_when_that_run_has_ended(daemon: Daemon) -> None:
    daemon.deliver("sample")
    daemon.instance.add_dynamic_partitions(DROPS, ["sample"])
    job = build_definitions(daemon.settings).resolve_job_def("embed_drop")
    run = daemon.instance.create_run_for_job(job, tags=tags_of_ranks("sample", 0, 1))
    daemon.tick()
    assert daemon.indexed == []

    daemon.instance.report_run_canceled(run)
    daemon.tick()

    assert daemon.indexed == ["sample"]


def test_a_drop_that_was_forgotten_comes_back_with_another_delivery_and_is_made_whole(daemon: Daemon) -> None:
    daemon.deliver("sample")
    daemon.tick()
    daemon.finish("sample")
    daemon.tick()
    lines = list(forget_drop(daemon.instance, daemon.settings, "sample", delete=True))
    assert [line.partition(": ")[0] for line in lines] == ["removed", "removed", "stays"]

    assert daemon.tick() == [], "its delivery lies there as it did"
    assert DropStore(daemon.settings.data_root).keys() == []
    daemon.deliver("sample", READS * 2)

    assert daemon.tick() == ["sample"]
    assert daemon.tick() == []
    assert daemon.indexed == ["sample", "sample"]


def test_a_classifier_that_is_there_after_a_failure_is_put_on_record(daemon: Daemon, tmp_path: Path) -> None:
    settings = daemon.settings.model_copy(update={"classifiers": tmp_path})
    repository = build_definitions(settings).get_repository_def()
    daemon = Daemon(daemon.instance, settings, repository)
    failed = dg.materialize([classifier(settings)], instance=daemon.instance, raise_on_error=False)
    assert not failed.success
    daemon.tick()
    assert latest_record(daemon.instance, "classifier", None) is None

    (tmp_path / "classifier_300").symlink_to(MODELS_FOLDER / "classifier_300")
    daemon.tick()
    daemon.tick()

    made = daemon.instance.fetch_materializations(dg.AssetKey("classifier"), limit=9).records
    digest = classifiers_in_use(settings, 300).digest
    assert [record.asset_materialization.tags["dagster/data_version"] for record in made] == [digest]


def test_a_changed_drop_is_asked_for_from_its_index_on_and_once(daemon: Daemon) -> None:
    daemon.deliver("sample")
    daemon.tick()
    daemon.finish("sample")
    daemon.tick()
    daemon.deliver("sample", READS + ">b\nATGGCTGCAGGT\n")

    daemon.tick(5)

    assert daemon.indexed == ["sample", "sample"]


@pytest.mark.slow
def test_without_automation_a_changed_drop_waits_for_the_night(daemon: Daemon) -> None:
    off = daemon.settings.model_copy(update={"automation": False})
    daemon.repository = build_definitions(off).get_repository_def()
    daemon.deliver("sample")
    daemon.tick()
    daemon.finish("sample")
    daemon.tick()
    daemon.deliver("sample", READS + ">b\nATGGCTGCAGGT\n")
    daemon.tick(4)
    assert daemon.indexed == []

    said = daemon.schedule(NIGHTLY, datetime(2026, 5, 4, 2, 0, tzinfo=UTC))

    assert daemon.noted(NIGHTLY) == {"sample": whole(2)}, said


def test_a_drop_that_was_there_before_automation_was_turned_on_is_asked_for(daemon: Daemon) -> None:
    on, off = daemon.repository, daemon.settings.model_copy(update={"automation": False})
    daemon.repository = build_definitions(off).get_repository_def()
    daemon.deliver("sample")
    assert daemon.tick() == ["sample"]
    assert daemon.indexed == []

    daemon.repository = on
    daemon.tick()

    assert daemon.indexed == ["sample"]


@pytest.mark.parametrize("record", ["source.toml", "current.toml"])
def test_a_damaged_record_of_one_drop_keeps_no_other_from_the_night(daemon: Daemon, record: str) -> None:
    off = daemon.settings.model_copy(update={"automation": False})
    daemon.repository = build_definitions(off).get_repository_def()
    for name in ("damaged", "found"):
        daemon.deliver(name)
    daemon.tick()
    daemon.finish("damaged")
    (daemon.settings.data_root / "damaged" / record).write_text("broken")
    daemon.instance.add_dynamic_partitions(DROPS, ["added by hand"])

    said = daemon.schedule(NIGHTLY, datetime(2026, 5, 4, 2, 0, tzinfo=UTC))

    assert daemon.noted(NIGHTLY) == {"found": whole(2)}, said


def test_the_night_asks_for_the_drops_that_nobody_has_begun(daemon: Daemon) -> None:
    off = daemon.settings.model_copy(update={"automation": False})
    daemon.repository = build_definitions(off).get_repository_def()
    daemon.deliver("finished")
    daemon.tick()
    daemon.finish("finished")
    daemon.deliver("found")
    assert daemon.tick() == ["found"]
    assert (daemon.indexed, daemon.noted(NIGHTLY)) == ([], {})

    said = daemon.schedule(NIGHTLY, datetime(2026, 5, 4, 2, 0, tzinfo=UTC))

    assert daemon.noted(NIGHTLY) == {"found": whole(2)}
    assert said == "asked for 1 drop: found"
    daemon.finish("found")
    assert daemon.schedule(NIGHTLY, datetime(2026, 5, 5, 2, 0, tzinfo=UTC)).startswith("nothing to do")


@pytest.fixture
def failing(daemon: Daemon) -> Daemon:
    """With drops `early` and `late` of which rank 1 of ESM-2 fails in every run, `early` first."""
    for drop in ("late", "early"):
        daemon.instance.add_dynamic_partitions(DROPS, [drop])
    for drop in ("early", "late"):
        for asset in (*OF_INDEX, *EMBEDDINGS):
            for key in Partitions(2).of_asset(asset, drop):
                if (asset, key) != ("esm2_embeddings", f"{drop}|1"):
                    daemon.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))
        fail_rank(daemon, drop)
    return daemon


def fail_rank(daemon: Daemon, drop: str) -> None:
    """One run more in which rank 1 of ESM-2 fails: its index is not there."""
    definitions = build_definitions(daemon.settings)
    result = definitions.resolve_job_def("embed_drop").execute_in_process(
        instance=daemon.instance,
        tags=tags_of_ranks(drop, 1, 1),
        asset_selection=[dg.AssetKey("esm2_embeddings")],
        raise_on_error=False,
    )
    assert not result.success


FAILED_RANK = Todo(index=False, ranks={"esm2_embeddings": [1]}, call=OF_CALL)


def test_what_failed_is_asked_for_again_the_oldest_failure_first(failing: Daemon) -> None:
    said = failing.schedule(RETRY, datetime(2026, 5, 4, 9, 0, tzinfo=UTC))

    noted = failing.noted(RETRY)
    assert list(noted) == ["early", "late"]
    assert noted == dict.fromkeys(noted, FAILED_RANK)
    assert said == "asked for 2 drops: early, late"


@pytest.mark.slow
def test_so_many_drops_are_asked_for_at_a_time_and_none_that_is_at_work(failing: Daemon) -> None:
    one = failing.settings.model_copy(update={"retry_drops": 1})
    failing.repository = build_definitions(one).get_repository_def()
    failing.schedule(RETRY, datetime(2026, 5, 4, 9, 0, tzinfo=UTC))
    assert list(failing.noted(RETRY)) == ["early"]
    job = build_definitions(one).resolve_job_def("embed_drop")
    failing.instance.create_run_for_job(job, tags=tags_of_ranks("early", 1, 1))

    failing.schedule(RETRY, datetime(2026, 5, 4, 10, 0, tzinfo=UTC))

    assert list(failing.noted(RETRY)) == ["late"]


@pytest.mark.slow
def test_what_failed_too_often_is_left_to_a_person(failing: Daemon) -> None:
    for drop in ("early", "early", "late"):
        fail_rank(failing, drop)

    failing.schedule(RETRY, datetime(2026, 5, 4, 9, 0, tzinfo=UTC))
    assert list(failing.noted(RETRY)) == ["late"]
    fail_rank(failing, "late")
    said = failing.schedule(RETRY, datetime(2026, 5, 4, 10, 0, tzinfo=UTC))

    assert said == "nothing to try again; left to a person: early, late"
