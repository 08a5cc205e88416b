"""What people hear when something fails, on a real instance: alerts, the check report, overdue drops, clean-up."""

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import PartitionBackfill

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.defs.alerts import alerts
from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.drop_states import drops_at_work
from virnucpro_assets.defs.new_drops import look_for_drops
from virnucpro_assets.defs.partitions import PARTITION, RANGE_END, RANGE_START
from virnucpro_assets.drops.stage_records import StageRecord
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.intake.registration import list_drop
from virnucpro_assets.maintenance.alert_targets import TargetError
from virnucpro_assets.sequences.index import SequenceIndex, first_members
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_groups import AlertSettings
from virnucpro_assets.storage.drops import DropManifest, DropStore
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.e2e.test_dagster_failures import poison_one_row
from virnucpro_assets_tests.receivers import Webhook, running_webhook

pytestmark = [pytest.mark.timeout(240)]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook() as hook:
        yield hook


class Sensor:
    """The sensor `alerts`, evaluated as the daemon does it: each tick goes on where the last one ended."""

    def __init__(self, deployment: Deployment, settings: Settings) -> None:
        self.deployment, self.sensor = deployment, alerts(settings)
        self.cursor: str | None = None
        self.tick()

    def tick(self) -> str:
        """Evaluate it; what the tick says in the UI."""
        with self.deployment.instance() as instance:
            context = dg.build_sensor_context(instance, cursor=self.cursor)
            found = self.sensor.evaluate_tick(context)
        self.cursor = found.cursor
        assert found.skip_message
        return found.skip_message


def telling(deployment: Deployment, hook: Webhook, **changes: Any) -> Settings:
    """The settings of a deployment that sends its alerts to a webhook."""
    return deployment.settings(alerts=AlertSettings(webhook=hook.url, ui_url="http://ui.example/"), **changes)


def latest(deployment: Deployment, asset: str, drop: str) -> dg.AssetMaterialization | None:
    with deployment.instance() as instance:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[drop])
        records = instance.fetch_materializations(wanted, limit=1).records
    return records[0].asset_materialization if records else None


@pytest.mark.slow
def test_a_failed_rank_is_told_once_with_its_reason_run_and_command(deployment, tmp_path, webhook):
    deployment.deliver("d1", 8)
    assert deployment.run("index_drop", "d1").success
    index = SequenceIndex.open(DropStore(deployment.root / "data").current("d1")[1].index)
    row = poison_one_row(index, tmp_path / "poisoned")
    settings = telling(deployment, webhook, dnabert_s=tmp_path / "poisoned", classifiers=tmp_path / "none")
    sensor = Sensor(deployment, settings)

    run = deployment.run("embed_drop", "d1", ranks=(0, 3), settings=settings)
    assert not run.success
    sensor.tick()

    (body,) = webhook.bodies
    (failure,) = body["failures"]
    assert (body["kind"], failure["drop"], failure["ranks"]) == ("run failed", "d1", [row % 4])
    assert first_members(index, [row])[row] in failure["reason"]
    assert f"rank {row % 4}" in failure["reason"]
    assert "\n" not in failure["reason"]
    assert failure["command"] == "virnucpro retry d1"
    assert body["run_id"] == run.dagster_run.run_id
    assert body["run_url"] == f"http://ui.example/runs/{run.dagster_run.run_id}"
    assert body["job"] == "embed_drop"

    assert sensor.tick() == "nothing to tell"
    assert not deployment.run("embed_drop", "d1", ranks=(row % 4, row % 4), settings=settings).success
    assert sensor.tick() == "nothing to tell"
    assert len(webhook.bodies) == 1, "the same failure of the same drop"


@pytest.mark.slow
def test_a_sequence_in_quarantine_is_told_though_its_run_succeeds(deployment, tmp_path, webhook):
    deployment.deliver("d1", 8)
    assert deployment.run("index_drop", "d1").success
    index = SequenceIndex.open(DropStore(deployment.root / "data").current("d1")[1].index)
    row = poison_one_row(index, tmp_path / "poisoned")
    models = {"dnabert_s": tmp_path / "poisoned", "classifiers": tmp_path / "none"}
    settings = telling(deployment, webhook, **models, quarantine="not_scored")
    sensor = Sensor(deployment, settings)

    assert deployment.run("embed_drop", "d1", ranks=(0, 3), settings=settings).success
    sensor.tick()

    (body,) = webhook.bodies
    (failure,) = body["failures"]
    assert (body["kind"], failure["drop"], failure["ranks"]) == ("check warned", "d1", [row % 4])
    assert failure["reason"] == (
        "check finite_values of dnabert_s_embeddings: sequences in quarantine 1; needed no NaN and no Inf"
    )
    assert failure["command"] == "virnucpro checks d1"


def test_of_a_run_over_several_drops_those_that_failed_are_told(deployment, webhook):
    for drop in ("d1", "d3"):
        deployment.deliver(drop, 2)
        assert deployment.run("index_drop", drop).success
    settings = telling(deployment, webhook)
    sensor = Sensor(deployment, settings)
    with deployment.instance() as instance:
        instance.delete_dynamic_partition("sequence_drops", "d3")
        instance.add_dynamic_partitions("sequence_drops", ["d2", "d3"])
        job = build_definitions(settings).resolve_job_def("embed_drop")
        tags = {RANGE_START: "d1|0", RANGE_END: "d3|0"}
        assert not job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success

    sensor.tick()

    (body,) = webhook.bodies
    (failure,) = body["failures"]
    assert (failure["drop"], failure["ranks"]) == ("d2", [])
    assert "d2" in failure["reason"]


def test_a_run_whose_process_was_killed_is_told_and_one_that_is_tried_again_is_not(deployment, webhook):
    deployment.deliver("d1", 2)
    settings = telling(deployment, webhook)
    sensor = Sensor(deployment, settings)
    job = build_definitions(settings).resolve_job_def("embed_drop")
    ranks = {RANGE_START: "d1|0", RANGE_END: "d1|3"}
    with deployment.instance() as instance:
        again = instance.create_run_for_job(job, tags=ranks)
        given_up = instance.create_run_for_job(job, tags={**ranks, "dagster/max_retries": "0"})
        for run in (again, given_up):
            instance.report_run_failed(run, "The process of this run ended without a word.")
        tags = [instance.get_run_by_id(run.run_id).tags["dagster/will_retry"] for run in (again, given_up)]
        assert tags == ["true", "false"]

    sensor.tick()

    (body,) = webhook.bodies
    assert body["run_id"] == given_up.run_id
    assert body["failures"] == [
        {
            "drop": "d1",
            "ranks": [],
            "reason": "The process of this run ended without a word.",
            "command": "virnucpro retry d1",
        }
    ]


@pytest.mark.slow
def test_predictions_that_are_held_back_have_a_check_report_and_an_alert(deployment, webhook):
    deployment.deliver("d1", 4)
    settings = telling(deployment, webhook, min_label_agreement=1.5)
    sensor = Sensor(deployment, settings)
    assert deployment.run("index_drop", "d1", settings=settings).success
    assert deployment.run("embed_drop", "d1", ranks=(0, 3), settings=settings).success

    assert not deployment.run("call_drop", "d1", settings=settings).success
    sensor.tick()

    folder = DropStore(settings.data_root).current("d1")[1]
    page = latest(deployment, "check_report", "d1")
    assert page is not None
    assert latest(deployment, "virus_calls", "d1") is None
    assert page.metadata["verdict"].value == "failed"
    assert page.metadata["page"].value == str(folder.check_page)
    predictions = latest(deployment, "predictions", "d1")
    assert predictions is not None
    assert predictions.metadata["checks"].value == str(folder.check_page)
    content = json.loads(folder.check_data.read_text())
    failed = {
        check["name"] for check in content["checks"] if check["state"] == "failed" and check["blocking"]
    }
    assert failed == {"precision_in_use_matches_float32", "packed_matches_one_at_a_time"}
    assert "The results of this drop are held back" in folder.check_page.read_text()
    (body,) = webhook.bodies
    assert body["kind"] == "run failed"
    assert "check precision_in_use_matches_float32 of predictions" in body["failures"][0]["reason"]


@pytest.mark.slow
def test_a_finished_drop_has_one_check_report_that_a_command_makes_fresh(deployment):
    deployment.deliver("d1", 4)
    assert deployment.run("index_drop", "d1").success
    assert deployment.run("embed_drop", "d1", ranks=(0, 3)).success
    assert deployment.run("call_drop", "d1").success
    first = latest(deployment, "check_report", "d1")
    folder = DropStore(deployment.root / "data").current("d1")[1]
    assert first is not None
    assert (first.metadata["verdict"].value, first.metadata["passed"].value) == ("passed", 21)

    printed = deployment.command("virnucpro", "checks", "d1")
    assert "21 passed, 0 failed, 0 not run" in printed
    same = latest(deployment, "check_report", "d1")
    assert same is not None
    assert same.tags["dagster/data_version"] == first.tags["dagster/data_version"]
    (folder.checks / "merged_embeddings.completeness.toml").unlink()

    deployment.command("virnucpro", "checks", "d1")

    fresh = latest(deployment, "check_report", "d1")
    assert fresh is not None
    assert (fresh.metadata["verdict"].value, fresh.metadata["not_run"].value) == ("incomplete", 1)
    with deployment.instance() as instance:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("check_report"), asset_partitions=["d1"])
        assert len(instance.fetch_materializations(wanted, limit=9).records) == 2


def test_a_drop_that_waits_too_long_is_told_once_and_finished_ones_never(deployment, webhook):
    deployment.deliver("late", 2)
    deployment.deliver("new", 2)
    settings = telling(deployment, webhook, overdue_hours=36)
    for drop in ("late", "new"):
        list_drop(drop, settings)
    store = DropStore(settings.data_root)
    manifest, folder = store.current("late")
    since = datetime.now(UTC) - timedelta(hours=40)
    write_manifest(folder.manifest, manifest.model_copy(update={"listed_at": since}))
    list_drop("late", settings)
    assert read_manifest(folder.manifest, DropManifest).listed_at == since, "the first listing counts"

    sensor = Sensor(deployment, settings)
    assert sensor.tick() == "overdue: late (40 h)"

    (body,) = webhook.bodies
    assert (body["kind"], [one["drop"] for one in body["failures"]]) == ("overdue", ["late"])
    assert body["failures"][0]["command"] == "virnucpro materialize late"
    folder.predictions.mkdir()
    write_manifest(folder.predictions / "manifest.toml", StageRecord(name="anything", seconds=1))
    assert sensor.tick() == "nothing to tell"
    assert len(webhook.bodies) == 1


def test_a_refused_delivery_is_told_once_with_its_reason(deployment, webhook):
    settings = telling(deployment, webhook)
    sensor = Sensor(deployment, settings)
    settings.drops_folder.mkdir()
    (settings.drops_folder / "bad name.fastq").write_text("@r\nACGT\n+\nIIII\n")
    look_for_drops(settings, None, time.time())

    assert sensor.tick() == "VirNucPro: delivery bad name.fastq was refused"
    assert sensor.tick() == "nothing to tell"

    (body,) = webhook.bodies
    (failure,) = body["failures"]
    assert (body["kind"], failure["drop"], body["run_id"]) == ("delivery refused", "bad name.fastq", "")
    assert failure["reason"].startswith("found ")


def test_a_run_of_the_command_line_that_fails_is_told(deployment, webhook):
    wrong = deployment.deliver("d1", 0, text="this is no file of reads\n")
    settings = telling(deployment, webhook)
    sensor = Sensor(deployment, settings)

    failed = subprocess.run(
        ["virnucpro", "materialize", "d1"],
        env=deployment.environment,
        cwd=deployment.root,
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 2, failed.stderr
    sensor.tick()

    (body,) = webhook.bodies
    (failure,) = body["failures"]
    assert (body["kind"], failure["drop"], failure["command"]) == ("run failed", "d1", "virnucpro retry d1")
    assert failure["reason"].startswith(str(wrong))


def test_a_target_that_is_away_for_a_tick_gets_the_alert_by_the_next_one(deployment, webhook):
    deployment.deliver("d1", 2)
    settings = telling(deployment, webhook)
    sensor = Sensor(deployment, settings)
    job = build_definitions(settings).resolve_job_def("index_drop")
    with deployment.instance() as instance:
        run = instance.create_run_for_job(job, tags={PARTITION: "d1", "dagster/max_retries": "0"})
        instance.report_run_failed(run, "The process of this run ended without a word.")
    webhook.answers = [403]

    with pytest.raises(TargetError, match="webhook: answered 403"):
        sensor.tick()
    assert len(webhook.bodies) == 1
    sensor.tick()
    sensor.tick()

    assert [body["run_id"] for body in webhook.bodies] == [run.run_id] * 2


def test_the_clean_up_job_lists_and_deletes_only_if_it_is_told_and_leaves_alone_what_runs_use(deployment):
    for drop in ("d1", "d2"):
        deployment.deliver(drop, 2)
        list_drop(drop, deployment.settings())
    litter = [
        DropStore(deployment.root / "data").current(drop)[1].path / "index.quarantine-1"
        for drop in ("d1", "d2")
    ]
    for path in litter:
        path.mkdir()
        (path / "rows.parquet").write_bytes(b"x" * 10)

    def clean(**changes: Any) -> dict[str, Any]:
        settings = deployment.settings(**changes)
        with deployment.instance() as instance:
            job = build_definitions(settings).resolve_job_def("cleanup")
            result = job.execute_in_process(instance=instance)
            (event,) = result.get_step_success_events()
            (output,) = [e for e in result.all_node_events if e.is_successful_output]
            assert event
        return {name: value.value for name, value in output.step_output_data.metadata.items()}

    assert clean() == {"things": 2, "bytes": 20, "left_alone": 0, "removed": False}
    assert all(path.exists() for path in litter)
    with deployment.instance() as instance:
        job = build_definitions(deployment.settings()).resolve_job_def("embed_drop")
        queued = instance.create_run_for_job(job, tags={RANGE_START: "d1|0", RANGE_END: "d1|1"})
        assert list(drops_at_work(instance)) == ["d1"]
        assert queued.run_id in drops_at_work(instance)["d1"]

    assert clean(cleanup_deletes=True) == {"things": 1, "bytes": 10, "left_alone": 1, "removed": True}
    assert [path.exists() for path in litter] == [True, False]


def test_the_drops_of_a_run_are_known_from_its_tags(deployment):
    with deployment.instance() as instance:
        instance.add_dynamic_partitions("sequence_drops", ["b", "a", "c"])
        definitions = build_definitions(deployment.settings())
        asked = [
            ("index_drop", {PARTITION: "c"}),
            ("embed_drop", {RANGE_START: "b|0", RANGE_END: "a|3"}),
        ]
        found = []
        for job, tags in asked:
            run = instance.create_run_for_job(definitions.resolve_job_def(job), tags=tags)
            found.append(set(drops_at_work(instance)))
            instance.report_run_canceled(run)
        assert found == [{"c"}, {"b", "a"}]
        assert drops_at_work(instance) == {}


def test_the_drops_of_a_training_and_of_a_backfill_between_its_runs_are_at_work(deployment, tmp_path):
    (tmp_path / "labels.tsv").write_text("drop\tlabel\ne\tvirus\nf\tothers\n")
    config = {"virus": ["a"], "others": ["b"], "labels": str(tmp_path / "labels.tsv")}
    with deployment.instance() as instance:
        instance.add_dynamic_partitions("sequence_drops", ["a", "b", "c", "d"])
        definitions = build_definitions(deployment.settings())
        graph = definitions.resolve_asset_graph()
        assert drops_at_work(instance) == {}
        wanted = {
            AssetKeyPartitionKey(dg.AssetKey("esm2_embeddings"), "c|0"),
            AssetKeyPartitionKey(dg.AssetKey("predictions"), "d"),
        }
        instance.add_backfill(
            PartitionBackfill.from_asset_graph_subset(
                backfill_id="abcdefgh",
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=instance,
                asset_graph_subset=AssetGraphSubset.from_asset_partition_set(wanted, graph),
                title=None,
                description=None,
                run_config=None,
            )
        )
        assert set(drops_at_work(instance)) == {"c", "d"}
        job = definitions.resolve_job_def("train_classifier")
        run = instance.create_run_for_job(job, run_config={"ops": {"train": {"config": config}}})
        assert set(drops_at_work(instance)) == {"a", "b", "c", "d", "e", "f"}
        (tmp_path / "labels.tsv").unlink()
        assert set(drops_at_work(instance)) == {"a", "b", "c", "d"}
        instance.report_run_canceled(run)
        assert set(drops_at_work(instance)) == {"c", "d"}


@pytest.mark.slow
def test_removed_data_show_in_the_table_of_drops_and_stay_on_record(deployment):
    deployment.deliver("d1", 4)
    assert deployment.run("index_drop", "d1").success
    assert deployment.run("embed_drop", "d1", ranks=(0, 3)).success
    assert deployment.run("call_drop", "d1").success
    ended = {"ended_at": datetime.now(UTC) - timedelta(days=40)}
    for record in DropStore(deployment.root / "data").current("d1")[1].stages.iterdir():
        write_manifest(record, read_manifest(record, StageRecord).model_copy(update=ended))

    def line() -> str:
        return deployment.command("virnucpro", "drops").splitlines()[1]

    page = DropStore(deployment.root / "data").current("d1")[1].report
    assert line() == f"d1    done   {page}"
    environment = {"VIRNUCPRO_KEEP_EMBEDDINGS_DAYS": "30"}
    clean = ["env", *(f"{k}={v}" for k, v in environment.items()), "virnucpro", "cleanup"]
    assert "nothing was removed" in deployment.command(*clean)
    assert line() == f"d1    done   {page}"

    assert deployment.command(*clean, "d1", "--delete").splitlines()[-1].endswith("removed")

    assert line().startswith(f"d1    done   {page}; embeddings removed by the clean-up on ")
    with deployment.instance() as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey("esm2_embeddings"))) == 4
    assert "embeddings removed by the clean-up" in deployment.command("virnucpro", "report", "d1")
    assert deployment.command("virnucpro", "drops", "--missing") == ""


@pytest.mark.slow
def test_a_failed_check_ends_the_command_with_5_and_an_unknown_drop_with_2(deployment):
    deployment.deliver("d1", 2)
    assert deployment.run("index_drop", "d1").success
    folder = DropStore(deployment.root / "data").current("d1")[1]
    path = folder.checks / "sequence_index.every_read_accounted_for.toml"
    write_manifest(path, read_manifest(path, CheckResult).model_copy(update={"passed": False}))

    def checks(drop: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["virnucpro", "checks", drop],
            env=deployment.environment,
            cwd=deployment.root,
            capture_output=True,
            text=True,
        )

    found = checks("d1")

    assert found.returncode == 5
    assert found.stdout.splitlines()[2].split()[:3] == [
        "FAILED",
        "every_read_accounted_for",
        "sequence_index",
    ]
    assert "0 passed, 1 failed, 20 not run" in found.stdout
    assert found.stderr.startswith(
        "error: drop d1 is held back: check every_read_accounted_for of sequence_index: reads 2, "
    )
    assert found.stderr.count("\n") == 1
    page = latest(deployment, "check_report", "d1")
    assert page is not None
    assert page.metadata["verdict"].value == "failed"
    assert checks("nobody").returncode == 2
