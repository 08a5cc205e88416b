"""NaN and Inf, from weights and from single sequences: computed again in float32, or quarantined and named."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from virnucpro_assets.demo.paths import DNABERT_S_FOLDER, ESM2_FOLDER
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.models.folders import WEIGHTS_FILE
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.storage.provenance import Incidents, QuarantinedRow
from virnucpro_assets.storage.shards import read_shard
from virnucpro_assets_tests.changed_models import dna_model_with, rare_dna_token
from virnucpro_assets_tests.faults.trouble import Trouble, assert_rows, finish, incidents_of
from virnucpro_assets_tests.jobs import Rows, rows_of_job

pytestmark = pytest.mark.slow

ROUNDING = 5e-6
TOO_LARGE_FOR_FLOAT16 = 1e5


@pytest.fixture(scope="module")
def dna(
    tmp_path_factory: pytest.TempPathFactory, small_index: SequenceIndex, healthy_pool: DevicePool
) -> dict[str, Rows]:
    """Every row as DNABERT-S embeds it, by precision."""
    trouble = Trouble(tmp_path_factory.mktemp("dna"), small_index)
    rows = {}
    for precision in ("float32", "float16"):
        job = trouble.job(precision, model=DNABERT_S_FOLDER, precision=precision)
        finish(job, healthy_pool)
        rows[precision] = rows_of_job(job)
    return rows


def test_a_sequence_that_gives_nan_is_quarantined_and_no_other_row_changes(
    trouble: Trouble, dna: dict[str, Rows], healthy_pool: DevicePool
) -> None:
    row, token = rare_dna_token(trouble.index)
    model = dna_model_with(np.nan, trouble.folder / "model", token)
    job = trouble.job(model=model)
    shards = finish(job, healthy_pool)
    assert incidents_of(shards) == Incidents(quarantined=[QuarantinedRow(row=row, reason="not_finite")])
    assert_rows(job, dna["float32"], lost=[row])


def test_a_sequence_that_gives_nan_fails_its_rank_alone_under_the_policy_fail(
    trouble: Trouble, dna: dict[str, Rows], healthy_pool: DevicePool
) -> None:
    row, token = rare_dna_token(trouble.index)
    model = dna_model_with(np.nan, trouble.folder / "model", token)
    job, rank = trouble.job(model=model, quarantine="fail"), row % 4
    with pytest.raises(EmbeddingError) as failed:
        finish(job, healthy_pool)
    assert failed.value.ranks_of("dnabert_s") == {
        rank: f"1 sequence cannot be embedded; the first is {trouble.name(row)}, row {row} of the index: not_finite"
    }
    assert failed.value.quarantined == {("dnabert_s", rank): [QuarantinedRow(row=row, reason="not_finite")]}
    finished = [other for other, folder in job.folders.items() if (folder / "manifest.toml").exists()]
    assert finished == [other for other in range(4) if other != rank]
    for other in finished:
        assert read_shard(job.folders[other], content=True).incidents == Incidents()
    # The policy may change without computing anything again.
    reused = sum(shard.reused_parts for shard in finish(trouble.job(model=model), healthy_pool).values())
    assert reused == len(list(job.folders[0].parent.glob("*/part-?????.h5")))
    assert_rows(job, dna["float32"], lost=[row])


def test_weights_that_give_nan_quarantine_every_row_and_never_store_one_as_a_number(
    trouble: Trouble, healthy_pool: DevicePool
) -> None:
    model = shutil.copytree(ESM2_FOLDER, trouble.folder / "model")
    weights = load_file(model / WEIGHTS_FILE)
    save_file({name: values * np.float32(np.nan) for name, values in weights.items()}, model / WEIGHTS_FILE)
    job = trouble.job(model=model)
    shards = finish(job, healthy_pool)
    rows = list(range(trouble.index.manifest.rows))
    found = sorted(incidents_of(shards).quarantined, key=lambda entry: entry.row)
    assert found == [QuarantinedRow(row=row, reason="not_finite") for row in rows]
    assert_rows(job, dict.fromkeys(rows, np.empty(0)), lost=rows)


def test_a_sequence_that_overflows_in_float16_is_computed_again_in_float32(
    trouble: Trouble, dna: dict[str, Rows], healthy_pool: DevicePool
) -> None:
    row, token = rare_dna_token(trouble.index)
    model = dna_model_with(TOO_LARGE_FOR_FLOAT16, trouble.folder / "model", token)
    exact = trouble.job("exact", model=model, precision="float32")
    assert incidents_of(finish(exact, healthy_pool)) == Incidents()
    job = trouble.job(model=model, precision="float16", quarantine="fail")
    shards = finish(job, healthy_pool)
    assert incidents_of(shards) == Incidents(recomputed=[row])
    assert_rows(job, {**dna["float16"], row: rows_of_job(exact)[row]}, where=[row], tolerance=ROUNDING)
    assert not np.array_equal(rows_of_job(exact)[row], dna["float32"][row])
