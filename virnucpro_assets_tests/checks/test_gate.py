"""No stage builds on what a blocking check refuses, nor on what was never checked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.checks.results import CheckError, CheckResult, record_check
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import DamagedFileError
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.pipeline.report import report_drop
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.training.labelled_drops import is_embedded
from virnucpro_assets.training.labels import LabelledDrop
from virnucpro_assets.training.options import SetOptions
from virnucpro_assets.training.training_set import make_training_set


def embed_again(work: DropWork) -> None:
    with open_pool(work.settings) as pool, pool.lease() as lease:
        list(embed_drop(work, {"esm2": [0]}, lease))


def train_again(work: DropWork) -> None:
    labelled = [LabelledDrop(drop="d", label="virus"), LabelledDrop(drop="d", label="others")]
    make_training_set(labelled, SetOptions(), work.settings, [].append)


INDEX, SHARD = "sequence_index.every_read_accounted_for", "esm2_embeddings.finite_values.02"
MERGED, PACKED = "merged_embeddings.completeness", "predictions.packed_matches_one_at_a_time"
STAGES: list[tuple[str, Callable[[DropWork], object]]] = [
    *((INDEX, stage) for stage in (embed_again, merge_drop, predict_drop, train_again, call_drop)),
    *((SHARD, stage) for stage in (merge_drop, predict_drop, train_again, call_drop)),
    *((MERGED, stage) for stage in (predict_drop, train_again, call_drop, report_drop)),
    *((PACKED, stage) for stage in (call_drop, report_drop)),
]


def content(folder: Path) -> dict[str, bytes]:
    """Every file that a stage writes; locks are none."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def change_result(work: DropWork, name: str, **changes: object) -> Path:
    path = work.folder.checks / f"{name}.toml"
    record_check(work.folder.checks, read_manifest(path, CheckResult).model_copy(update=changes))
    return path


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_a_stage_refuses_what_a_check_refused_and_leaves_everything_as_it_is(
    finished: DropWork, name: str, stage: Callable[[DropWork], object]
) -> None:
    change_result(finished, name, passed=False, figures={"found": "something wrong"})
    before = content(finished.folder.path)

    check = name.split(".")[1]
    with pytest.raises(
        CheckError, match=f"check {check} of .*something wrong.*drop d are held back"
    ) as raised:
        stage(finished)

    assert raised.value.exit_code == 5
    assert content(finished.folder.path) == before
    assert list((finished.settings.data_root / "_training").glob("sets/*")) == []


@pytest.mark.parametrize("change", ["former", "missing"])
def test_what_was_never_checked_is_refused_too(finished: DropWork, change: str) -> None:
    path = change_result(finished, MERGED, subject="f" * 64)
    if change == "missing":
        path.unlink()

    with pytest.raises(
        CheckError,
        match=r"check completeness of merged_embeddings: found no result .* `virnucpro materialize d`",
    ):
        predict_drop(finished)
    assert not is_embedded("d", finished.settings)


def test_a_damaged_result_is_an_error_that_names_it(finished: DropWork) -> None:
    path = finished.folder.checks / f"{PACKED}.toml"
    text = path.read_text()
    path.write_text(text.replace("passed = true", "passed = tru3"))
    assert path.read_text() != text

    with pytest.raises(DamagedFileError, match=path.name):
        call_drop(finished)


def test_a_check_that_only_warns_holds_nothing_back(finished: DropWork) -> None:
    before = content(finished.folder.calls)
    for name in ("esm2_embeddings.packing_efficiency.02", "predictions.float16_matches_float32"):
        assert not read_manifest(change_result(finished, name, passed=False), CheckResult).blocking
    change_result(finished, SHARD, passed=False, blocking=False)

    call_drop(finished)

    assert content(finished.folder.calls) == before


def test_the_engine_without_dagster_refuses_again_each_time(tmp_path: Path, small_reads: Path) -> None:
    settings = Settings(data_root=tmp_path, devices="cpu:1", check_sample=4, min_cosine=1.5)
    register_reads("d", [ReadFile(small_reads)], settings)
    for _ in range(2):
        with pytest.raises(CheckError, match="check precision_in_use_matches_float32 of predictions"):
            run_drop("d", settings, [].append)
    folder = DropWork.on("d", settings, [].append).folder
    assert (folder.predictions / "manifest.toml").exists()
    assert not folder.calls.exists()
    assert not folder.report.exists()
