"""Drops that share sequences, computed by real device processes with the cache: values and what was computed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.inference.cache_hits import keep_computed, look_up, worth_keeping
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.cached_rows import CachedRows
from virnucpro_assets.storage.embedding_cache import EmbeddingCache
from virnucpro_assets.storage.provenance import Incidents, QuarantinedRow
from virnucpro_assets_tests.changed_models import copied_model, scale_weights
from virnucpro_assets_tests.damage import flip_byte
from virnucpro_assets_tests.jobs import build_small_index, rows_of_job, run_job, small_job

TOLERANCE = 5e-6
OpenPool = Callable[..., DevicePool]


@pytest.fixture(scope="module")
def drops(tmp_path_factory: pytest.TempPathFactory, small_reads: Path) -> tuple[SequenceIndex, SequenceIndex]:
    """Two indexes, of the first 40 and of the last 40 of 60 reads."""
    folder, lines = tmp_path_factory.mktemp("drops"), small_reads.read_bytes().splitlines(keepends=True)
    made = []
    for name, chosen in (("first", lines[:160]), ("second", lines[80:])):
        (folder / f"{name}.fq").write_bytes(b"".join(chosen))
        made.append(build_small_index(folder / f"{name}.fq", folder / name))
    return made[0], made[1]


def with_cache(index: SequenceIndex, folder: Path, model: str | Path = "esm2", **options: object) -> ShardJob:
    """A job that uses the cache `_cache` beside its own folder."""
    job = small_job(index, folder, MODELS_FOLDER / model, packs_per_part=4, **options)  # type: ignore[arg-type]
    recipe = job.recipe.model_copy(update={"cached": True})
    return replace(job, recipe=recipe, cache=EmbeddingCache(folder.parent / "_cache", 1 << 30))


def assert_rows(job: ShardJob, expected: ShardJob, tolerance: float = TOLERANCE) -> None:
    """Two jobs over one index hold the same rows."""
    found, rows = rows_of_job(job), rows_of_job(expected)
    assert sorted(found) == sorted(rows) == list(range(job.index.manifest.rows))
    for row, numbers in found.items():
        np.testing.assert_allclose(numbers, rows[row], atol=tolerance, rtol=0)


def sequences(index: SequenceIndex, kind: str) -> list[bytes]:
    batch = index.rows(0, index.manifest.rows)
    texts = batch.nucleotides if kind == "dnabert_s" else batch.proteins
    return [texts[row] for row in range(len(texts))]


@pytest.mark.parametrize("kind", [pytest.param("dnabert_s", marks=pytest.mark.slow), "esm2"])
def test_what_an_earlier_drop_holds_is_not_computed_again(
    shared_pool: DevicePool, drops: tuple[SequenceIndex, SequenceIndex], tmp_path: Path, kind: str
) -> None:
    first, second = drops
    known = set(sequences(first, kind))
    wanted = sequences(second, kind)
    hits = sum(text in known for text in wanted)
    assert 0.3 < hits / len(wanted) < 0.7
    run_job(shared_pool, with_cache(first, tmp_path / "first", kind))
    plain_job = small_job(second, tmp_path / "plain", MODELS_FOLDER / kind, packs_per_part=4)
    plain = run_job(shared_pool, plain_job)
    job = with_cache(second, tmp_path / "second", kind)
    shards = run_job(shared_pool, job)

    # A sequence may come twice in a drop itself, and is known then from the part before.
    distinct = len(set(wanted) - known)
    computed = sum(shard.rows - shard.cached_rows for shard in shards)
    assert distinct <= computed <= len(wanted) - hits
    assert sum(shard.telemetry.sequences for shard in shards) == computed
    if kind == "esm2":
        least = sum(len(text) + 2 for text in set(wanted) - known)
        most = sum(len(text) + 2 for text in wanted if text not in known)
        assert least <= sum(shard.counts.tokens for shard in shards) <= most
        assert sum(shard.counts.tokens for shard in plain) == sum(len(text) + 2 for text in wanted)
    assert sum(shard.computed_tokens for shard in shards) == sum(shard.counts.tokens for shard in shards)
    assert_rows(job, plain_job)


@pytest.mark.slow
def test_a_drop_that_is_known_whole_loads_no_model_and_divides_by_nothing(
    open_pool: OpenPool, drops: tuple[SequenceIndex, SequenceIndex], tmp_path: Path
) -> None:
    with open_pool(11) as pool:
        before = with_cache(drops[0], tmp_path / "first")
        run_job(pool, before)
    with open_pool(11) as pool:
        again = with_cache(drops[0], tmp_path / "again")
        shards = run_job(pool, again)
    assert [shard.cached_rows for shard in shards] == [shard.rows for shard in shards]
    assert {shard.telemetry.loading for shard in shards} == {0.0}
    assert {shard.telemetry.mfu for shard in shards} == {None}
    assert [shard.counts.efficiency(256) for shard in shards] == [1.0] * 4
    assert_rows(again, before, tolerance=0)


def test_other_weights_of_the_same_shape_and_another_precision_find_nothing(
    shared_pool: DevicePool, drops: tuple[SequenceIndex, SequenceIndex], tmp_path: Path
) -> None:
    run_job(shared_pool, with_cache(drops[0], tmp_path / "first"))
    other = copied_model("esm2", tmp_path / "model")
    scale_weights(other, 1.01)
    fresh = with_cache(drops[0], tmp_path / "other", other)
    run_job(shared_pool, fresh)
    plain = small_job(drops[0], tmp_path / "plain", other, packs_per_part=4)
    run_job(shared_pool, plain)
    assert_rows(fresh, plain)
    half = with_cache(drops[0], tmp_path / "half", precision="bfloat16")
    run_job(shared_pool, half)
    assert len([path for path in (tmp_path / "_cache").iterdir() if path.is_dir()]) == 3


def test_a_damaged_segment_is_said_and_computed_again(
    shared_pool: DevicePool, drops: tuple[SequenceIndex, SequenceIndex], tmp_path: Path
) -> None:
    before = with_cache(drops[0], tmp_path / "first")
    run_job(shared_pool, before)
    segments = sorted((tmp_path / "_cache").glob("*/*.npy"))
    assert len(segments) > 4
    flip_byte(segments[0], -3)
    segments[1].write_bytes(segments[1].read_bytes()[:-8])
    lines: list[str] = []
    again = with_cache(drops[0], tmp_path / "again")
    shards = run_job(shared_pool, again, lines)
    assert len([line for line in lines if "was set aside as" in line]) == 2
    assert 0 < sum(shard.rows - shard.cached_rows for shard in shards) < drops[0].manifest.rows
    assert_rows(again, before)


def test_an_interrupted_shard_goes_on_with_the_cache(
    shared_pool: DevicePool, drops: tuple[SequenceIndex, SequenceIndex], tmp_path: Path
) -> None:
    job = with_cache(drops[0], tmp_path / "first")
    first = run_job(shared_pool, job)
    expected = rows_of_job(job)
    (job.folders[1] / "part-00000.h5").unlink()
    resumed = run_job(shared_pool, job)[1]
    assert resumed.reused_parts == len(resumed.parts) - 1
    part = resumed.parts[0]
    assert (part.cached, part.counts.packs) == (part.stop - part.start, 0)
    assert first[1].parts[1:] == resumed.parts[1:]
    for row, numbers in rows_of_job(job).items():
        np.testing.assert_array_equal(numbers, expected[row])


def test_a_cache_that_cannot_be_written_ends_no_run(
    shared_pool: DevicePool, drops: tuple[SequenceIndex, SequenceIndex], tmp_path: Path
) -> None:
    (tmp_path / "_cache").write_text("in the way")
    lines: list[str] = []
    shards = run_job(shared_pool, with_cache(drops[0], tmp_path / "first"), lines)
    assert sum(shard.rows for shard in shards) == drops[0].manifest.rows
    assert any("no rows were added to the embedding cache" in line for line in lines)


def test_rows_that_came_about_otherwise_are_not_kept_and_quarantined_ones_not_asked_for(
    tmp_path: Path,
) -> None:
    cache, rows = EmbeddingCache(tmp_path / "_cache", 1 << 20), np.arange(4, 24, 4)
    texts = Ragged.from_strings([b"MA", b"MC", b"MD", b"ME", b"MF"])
    computed = np.arange(10, dtype=np.float32).reshape(5, 2)
    computed[2] = np.nan
    incidents = Incidents(recomputed=[4], quarantined=[QuarantinedRow(row=12, reason="not_finite")])
    kept = worth_keeping(rows, computed, incidents)
    assert kept.tolist() == [False, True, False, True, True]
    nothing, unknown = look_up(CachedRows(cache, "a" * 64, 2), rows, texts, [])
    assert (nothing.rows.tolist(), unknown.tolist()) == ([], [0, 1, 2, 3, 4])
    assert keep_computed(cache, "a" * 64, nothing, computed, kept) == []

    known, unknown = look_up(CachedRows(cache, "a" * 64, 2), rows, texts, [16])
    assert (known.rows.tolist(), unknown.tolist()) == ([8, 20], [0, 2, 3])
    np.testing.assert_array_equal(known.embeddings, computed[[1, 4]])
    fresh = np.array([[70, 71], [72, 73], [74, 75]], np.float32)
    expected = [[70, 71], [2, 3], [72, 73], [74, 75], [8, 9]]
    np.testing.assert_array_equal(known.joined(rows[unknown], fresh), expected)
