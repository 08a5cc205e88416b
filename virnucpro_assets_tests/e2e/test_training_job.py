"""Training through a real Dagster instance: what is recorded of a good classifier, of a worse one, of none."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.partitions import TRAINING
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.labelled import embedded_drops, write_labelled_reads

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

GOOD = {"virus": ["virus"], "others": ["others"], "learning_rate": 0.01, "batch_size": 64, "epochs": 8}
WORSE = GOOD | {"learning_rate": 1e-9, "epochs": 1}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a deployment with the embedded drops `virus` and `others`; look at it only."""
    limit_threads(1)
    root = tmp_path_factory.mktemp("taught")
    settings = Deployment(root).settings(ranks=1, classifiers=root / "none")
    embedded_drops(write_labelled_reads(root / "files", 150), settings)
    return root / "data"


@pytest.fixture
def school(deployment: Deployment, taught: Path) -> Deployment:
    shutil.copytree(taught, deployment.root / "data")
    return deployment


def run_training(school: Deployment, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
    settings = school.settings(ranks=1, classifiers=school.root / "none")
    job = build_definitions(settings).resolve_job_def("train_classifier")
    with school.instance() as instance:
        return job.execute_in_process(
            instance=instance, run_config={"ops": {"train": {"config": config}}}, raise_on_error=False
        )


def checks(school: Deployment) -> list[bool]:
    """Whether the check passed, the oldest evaluation first."""
    key = dg.AssetCheckKey(dg.AssetKey("classifier_evaluation"), "not_worse_than_in_use")
    with school.instance() as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    return [record.event.asset_check_evaluation.passed for record in records[::-1]]


def in_use(school: Deployment) -> list[str]:
    """The digests of the asset `classifier`, the oldest first."""
    with school.instance() as instance:
        records = instance.fetch_materializations(dg.AssetKey("classifier"), limit=10, ascending=True).records
        return [record.asset_materialization.metadata["digest"].value for record in records]


@pytest.mark.slow
def test_a_good_classifier_is_recorded_in_use_and_a_worse_one_ends_the_run(school):
    first = run_training(school, GOOD)

    assert first.success
    made = {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata
        for event in first.get_asset_materialization_events()
    }
    assert set(made) == set(TRAINING)
    evaluation, digest = made["classifier_evaluation"], made["trained_classifier"]["digest"].value
    assert evaluation["in_use"].value is True
    assert evaluation["roc"].value.startswith("![plot](data:image/png;base64,")
    assert Path(evaluation["page"].value).read_text().startswith("<!doctype html>")
    assert in_use(school) == [digest]

    worse = run_training(school, WORSE)

    assert not worse.success
    (failure,) = (event for event in worse.all_events if event.is_step_failure)
    message = failure.step_failure_data.error_display_string
    assert "not_worse_than_in_use" in message
    assert checks(school) == [True, False]
    assert in_use(school) == [digest]
    settings = school.settings(ranks=1)
    assert settings.classifier_versions(300).in_use() == digest[:12]
    assert len(settings.classifier_versions(300).names()) == 2
    assert settings.classifier_folder(500) == MODELS_FOLDER / "classifier_500"


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({}, r"found none; expected drops of both classes"),
        ({"virus": ["virus"]}, r"found virus \(virus\); expected drops of both classes"),
        (GOOD | {"inputs": "rna"}, "expected a valid value"),
        (GOOD | {"virus": ["nobody"]}, "drop nobody: found no such drop"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(school, config, complaint):
    result = run_training(school, config)
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError(failure.step_failure_data.user_failure_data.description)
