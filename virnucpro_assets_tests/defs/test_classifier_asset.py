"""The asset `classifier` has another version as soon as what scores reads is another."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import dagster as dg
import pytest

from virnucpro_assets.calling.routing import classifiers_in_use
from virnucpro_assets.defs import calls
from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.classifier import classifier, record_in_use
from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.demo.paths import MODELS_FOLDER, classifier_folder
from virnucpro_assets.files.digests import digest_of_files, sha256_of_file
from virnucpro_assets.models.cards import read_card
from virnucpro_assets.settings import Settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def recorded(instance: dg.DagsterInstance) -> tuple[str, dict[str, Any]]:
    """The version and the metadata on record."""
    event = instance.get_latest_materialization_event(dg.AssetKey("classifier"))
    assert event is not None
    found = event.asset_materialization
    assert found is not None and found.tags is not None
    return found.tags["dagster/data_version"], {name: value.value for name, value in found.metadata.items()}


def calibration(inputs: Literal["both", "dna"]) -> str:
    """The calibration of a demo classifier, as manifests say it."""
    found = read_card(classifier_folder(300, inputs)).calibration
    assert found is not None
    return f"slope {found.slope}, intercept {found.intercept}"


def test_a_border_for_short_reads_is_part_of_the_version(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    usual, dna = (
        sha256_of_file(classifier_folder(300, inputs) / "model.safetensors") for inputs in ("both", "dna")
    )
    plain, routed, other = (
        Settings(data_root=tmp_path, dna_only_below_bases=below) for below in (0, 300, 200)
    )
    assert dg.materialize([classifier(plain)], instance=instance).success
    version, shown = recorded(instance)
    assert shown["digest"] == usual
    alone = {"classifier": usual, "calibration of classifier": calibration("both")}
    assert shown["used_with"] == alone
    assert version == digest_of_files(alone.items())

    record_in_use(instance, routed)
    with_routes, shown = recorded(instance)
    assert shown["digest"] == usual
    assert shown["used_with"] == alone | {
        "short classifier": dna,
        "calibration of short classifier": calibration("dna"),
        "short_below": "300",
    }
    record_in_use(instance, other)
    assert len({version, with_routes, recorded(instance)[0]}) == 3


def test_settings_that_ask_for_more_than_is_installed_leave_the_record_as_it_is(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "classifier_300").symlink_to(MODELS_FOLDER / "classifier_300")
    plain, routed = (
        Settings(data_root=tmp_path, classifiers=tmp_path, dna_only_below_bases=below) for below in (0, 300)
    )
    record_in_use(instance, plain)
    before = recorded(instance)
    record_in_use(instance, routed)
    assert recorded(instance) == before
    failed = dg.materialize([classifier(routed)], instance=instance, raise_on_error=False)
    assert "no classifier in" in str(failed.get_step_failure_events()[0].step_failure_data.user_failure_data)


def test_predictions_name_the_classifier_that_scored_them_after_the_settings_changed(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = SimpleNamespace(drop=SimpleNamespace(source=SimpleNamespace(chunk_length=300)))
    monkeypatch.setattr(calls.DropWork, "on", lambda *_: work)
    monkeypatch.setattr(calls, "checked", lambda *_: iter(()))
    monkeypatch.setattr(calls, "_predictions", lambda _: dg.MaterializeResult("predictions"))
    instance.add_dynamic_partitions(DROPS, ["d"])
    named, digests = [], []
    for below in (0, 300):
        settings = Settings(data_root=tmp_path, dna_only_below_bases=below)
        record_in_use(instance, settings)
        job = build_definitions(settings).resolve_job_def("call_drop")
        done = job.execute_in_process(
            instance=instance, partition_key="d", asset_selection=[dg.AssetKey("predictions")]
        )
        assert done.success
        (record,) = instance.fetch_materializations(dg.AssetKey("predictions"), limit=1).records
        named.append(record.asset_materialization.tags["dagster/input_data_version/classifier"])
        digests.append(classifiers_in_use(settings, 300).digest)

    assert named == digests
    assert len(set(digests)) == 2
    assert recorded(instance)[0] == digests[-1]
