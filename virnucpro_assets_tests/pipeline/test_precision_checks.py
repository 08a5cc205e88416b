"""The checks that compute a sample again: which rows they take, what they count, what they record."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.checks.results import PRECISION_CHECKS, read_checks, record_check
from virnucpro_assets.checks.samples import CHUNK_BITS, sample_chunks
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import DamagedFileError, IntegrityError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import SampleTask, Task
from virnucpro_assets.inference.pool import DevicePool, Lease, PoolOptions
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.models.classifier import load_classifier
from virnucpro_assets.pipeline import check_sample
from virnucpro_assets.pipeline.check_sample import embed_check_sample
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.precision_checks import check_precision, compare
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.check_sample import (
    CHECK_SAMPLE_FILE,
    WAYS,
    read_check_sample,
    write_check_sample,
)
from virnucpro_assets.storage.merged_reader import read_merged_at
from virnucpro_assets.storage.shards import read_shard
from virnucpro_assets.storage.tables import read_tables
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.damage import flip_byte
from virnucpro_assets_tests.passed_checks import (
    pass_checks_of_index,
    pass_checks_of_merged,
    pass_checks_of_shards,
)


@pytest.fixture(scope="module")
def in_bfloat16(tmp_path_factory: pytest.TempPathFactory, small_reads: Path) -> DropWork:
    """The small drop in bfloat16, up to its precision checks."""
    settings = Settings(
        data_root=tmp_path_factory.mktemp("bfloat16"), devices="cpu:1", precision="bfloat16", check_sample=12
    )
    register_reads("d", [ReadFile(small_reads)], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    with open_pool(settings) as pool, pool.lease() as lease:
        list(embed_drop(work, dict.fromkeys(ENCODER_KINDS, range(settings.ranks)), lease))
    pass_checks_of_shards(work)
    merge_drop(work)
    pass_checks_of_merged(work)
    predict_drop(work)
    for result in check_precision(work):
        record_check(work.folder.checks, result)
    return work


def test_a_sample_holds_whole_chunks(small_index: SequenceIndex) -> None:
    sample = sample_chunks(small_index, 10)
    (members,) = small_index.member_batches()
    keys = (members.read << CHUNK_BITS) | members.chunk
    chosen = np.isin(keys, sample.chunk)
    np.testing.assert_array_equal(sample.chunk, keys[chosen])
    np.testing.assert_array_equal(sample.rows[sample.row], members.row[chosen])
    np.testing.assert_array_equal(sample.rows, np.unique(members.row[chosen]))


def test_a_sample_is_spread_over_all_lengths(small_index: SequenceIndex) -> None:
    rows = small_index.manifest.rows
    sample = sample_chunks(small_index, 10)
    seeds = np.linspace(0, rows - 1, 10).astype(int)
    assert set(seeds.tolist()) <= set(sample.rows.tolist())
    assert len(np.unique(sample.chunk)) <= 10
    lengths = small_index.protein_lengths()
    assert {lengths.max(), lengths.min()} <= set(lengths[sample.rows].tolist())


def test_a_sample_larger_than_the_drop_is_the_drop(small_index: SequenceIndex) -> None:
    sample = sample_chunks(small_index, 10_000)
    assert len(sample.row) == small_index.manifest.members
    np.testing.assert_array_equal(sample.rows, np.arange(small_index.manifest.rows))


def test_equal_rows_agree_in_every_figure(in_bfloat16: DropWork) -> None:
    sample = sample_chunks(in_bfloat16.index, 12)
    rows = read_merged_at(in_bfloat16.folder.path, sample.rows)
    figures = compare(in_bfloat16, sample, rows, rows).figures
    assert figures == {
        "sequences": 2 * len(rows),
        "min_cosine": pytest.approx(1.0, abs=1e-12),
        "cosine_1st_percentile": pytest.approx(1.0, abs=1e-12),
        "largest_difference": 0.0,
        "candidate_label_agreement": 1.0,
        "chunk_label_agreement": 1.0,
    }


def test_a_turned_half_of_one_row_shows_in_its_cosine_alone(in_bfloat16: DropWork) -> None:
    sample, split = sample_chunks(in_bfloat16.index, 12), in_bfloat16.encoders["dnabert_s"].width
    reference = read_merged_at(in_bfloat16.folder.path, sample.rows)
    rows = reference.copy()
    rows[3, split:] = -2 * reference[3, split:]
    comparison = compare(in_bfloat16, sample, rows, reference)
    expected = np.ones(2 * len(rows))
    expected[len(rows) + 3] = -1
    np.testing.assert_allclose(comparison.cosines, expected, atol=1e-12)
    assert comparison.min_cosine == pytest.approx(-1.0, abs=1e-12)
    assert comparison.largest_difference == pytest.approx(3 * np.abs(reference[3, split:]).max(), rel=1e-6)


def test_labels_that_differ_are_counted_by_candidate_and_by_chunk(in_bfloat16: DropWork) -> None:
    sample = sample_chunks(in_bfloat16.index, 12)
    reference = read_merged_at(in_bfloat16.folder.path, sample.rows)
    classifier, _ = load_classifier(in_bfloat16.settings.classifier_folder(300))
    scores = classifier.scores(reference)
    virus, other = int(scores[:, 1].argmax()), int(scores[:, 0].argmax())
    rows = reference.copy()
    rows[[virus, other]] = reference[[other, virus]]
    comparison = compare(in_bfloat16, sample, rows, reference)
    assert scores[virus, 1] > 0.5 > scores[other, 1]
    assert comparison.candidate_agreement == pytest.approx(1 - 2 / len(rows))
    swapped = scores[np.arange(len(rows))]
    swapped[[virus, other]] = scores[[other, virus]]
    before, after = (chunk_labels(sample.chunk, values[sample.row]) for values in (scores, swapped))
    agreement = sum(before[chunk] == after[chunk] for chunk in before) / len(before)
    assert comparison.chunk_agreement == pytest.approx(agreement)
    assert comparison.chunk_agreement < 1


def chunk_labels(chunks: np.ndarray, scores: np.ndarray) -> dict[int, bool]:
    """Whether each chunk is virus, put together one chunk at a time."""
    return {
        chunk: bool(scores[chunks == chunk, 1].max() >= scores[chunks == chunk, 0].max())
        for chunk in set(chunks.tolist())
    }


def test_bfloat16_passes_and_is_recorded(in_bfloat16: DropWork) -> None:
    subjects = {"predictions": read_tables(in_bfloat16.folder.predictions).digest}
    results = {result.name: result for result in read_checks(in_bfloat16.folder.checks, subjects)}
    assert sorted(results) == sorted(PRECISION_CHECKS)
    sample = sample_chunks(in_bfloat16.index, 12)
    notes = [
        "stored rows, bfloat16",
        "computed again, float16",
        "stored rows against one at a time, bfloat16",
    ]
    for name, note in zip(PRECISION_CHECKS, notes, strict=True):
        result = results[name]
        assert (result.passed, result.asset, result.blocking) == (
            True,
            "predictions",
            name != PRECISION_CHECKS[1],
        )
        assert result.figures["compared"] == note
        assert result.figures["sequences"] == 2 * len(sample.rows)
        assert 0.999 <= float(result.figures["min_cosine"]) <= 1.0 + 1e-9
        assert result.threshold == "cosine at least 0.999, equal labels at least 0.98"
    used, half = (float(results[name].figures["largest_difference"]) for name in PRECISION_CHECKS[:2])
    assert used > half > 0


class ListeningLease(Lease):
    """A lease that keeps the samples that were asked of it."""

    def complete(self, tasks: Sequence[Task], report: Reporter, flops: float | None = None) -> None:
        self.samples = [task for task in tasks if isinstance(task, SampleTask)]
        super().complete(tasks, report, flops)


def samples_of(work: DropWork, pool: DevicePool) -> list[SampleTask]:
    """What is computed when a drop has all shards and no sample."""
    (work.folder.path / CHECK_SAMPLE_FILE).unlink()
    lease = ListeningLease(pool, pool.devices)
    embed_check_sample(work, lease)
    return lease.samples


@pytest.mark.slow
def test_the_samples_of_one_model_come_together_those_in_the_precision_in_use_first(
    in_bfloat16: DropWork,
) -> None:
    before = read_check_sample(in_bfloat16.folder.path)
    with open_pool(in_bfloat16.settings) as pool:
        samples = samples_of(in_bfloat16, pool)
    asked = dict.fromkeys((task.encoder.kind, task.encoder.precision, task.one_at_a_time) for task in samples)
    assert list(asked) == [
        (kind, precision, precision == "bfloat16")
        for kind in ("esm2", "dnabert_s")
        for precision in ("bfloat16", "float16", "float32")
    ]
    encoders = list(dict.fromkeys(task.encoder for task in samples))
    following = dict(zip(encoders, [*encoders[1:], None], strict=True))
    assert [task.next_encoder for task in samples] == [following[task.encoder] for task in samples]
    again = read_check_sample(in_bfloat16.folder.path)
    assert before is not None
    assert again is not None
    assert {way: again.embeddings[way].tobytes() for way in WAYS} == {
        way: before.embeddings[way].tobytes() for way in WAYS
    }


@pytest.mark.slow
def test_several_devices_load_other_precisions_first_and_share_what_is_computed_one_at_a_time(
    in_bfloat16: DropWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_check_sample(in_bfloat16.folder.path)
    monkeypatch.setattr(check_sample, "ROWS_OF_A_TASK", 7)
    devices = [Device("cpu", number, 1) for number in (0, 1)]
    with DevicePool(devices, PoolOptions(in_bfloat16.settings.device_locks)) as pool:
        samples = samples_of(in_bfloat16, pool)
    assert before is not None
    precisions = [task.encoder.precision for task in samples]
    assert precisions[:4] == ["float16", "float32", "float16", "float32"]
    assert set(precisions[4:]) == {"bfloat16"}
    alone = [task.rows for task in samples if task.one_at_a_time and task.encoder.kind == "esm2"]
    assert max(map(len, alone)) <= 7
    assert list(chain.from_iterable(alone)) == before.rows.tolist()
    assert not any(task.next_encoder for task in samples)
    again = read_check_sample(in_bfloat16.folder.path)
    assert again is not None
    assert again.embeddings["alone"].tobytes() == before.embeddings["alone"].tobytes()


def test_a_sample_is_made_by_the_run_that_finishes_the_last_shard(tmp_path: Path, small_reads: Path) -> None:
    settings = Settings(data_root=tmp_path / "data", devices="cpu:1", check_sample=4, ranks=2)
    register_reads("d", [ReadFile(small_reads)], settings)
    list_drop("d", settings)
    lines: list[str] = []
    work = DropWork.on("d", settings, lines.append)
    index_drop(work)
    pass_checks_of_index(work)
    path = work.folder.path / CHECK_SAMPLE_FILE
    with open_pool(settings) as pool, pool.lease() as lease:
        list(embed_drop(work, {"esm2": [0, 1], "dnabert_s": [1]}, lease))
        assert not path.exists()
        list(embed_drop(work, {"dnabert_s": [0]}, lease))
        content, inode = path.read_bytes(), path.stat().st_ino
        # A whole one is kept, a damaged one set aside and made again.
        list(embed_drop(work, {"dnabert_s": [0]}, lease))
        assert (path.read_bytes(), path.stat().st_ino) == (content, inode)
        flip_byte(path, -1, 4)
        list(embed_drop(work, {"esm2": [1]}, lease))
        assert path.read_bytes() == content
        assert path.with_name(f"{CHECK_SAMPLE_FILE}.quarantine-1").exists()
        # Another number of chunks is another sample.
        larger = DropWork.on("d", settings.model_copy(update={"check_sample": 8}), lines.append)
        list(embed_drop(larger, {"esm2": [1]}, lease))
    stored = read_check_sample(work.folder.path)
    assert stored is not None
    assert stored.chunks == 8
    np.testing.assert_array_equal(stored.rows, sample_chunks(work.index, 8).rows)
    assert [line for line in lines if "quarantine-1" in line and "made again" in line]


def test_checks_refuse_a_sample_of_other_embeddings_and_none(in_bfloat16: DropWork) -> None:
    path = in_bfloat16.folder.path / CHECK_SAMPLE_FILE
    content, stored = path.read_bytes(), read_check_sample(path.parent)
    assert stored is not None
    try:
        write_check_sample(path.parent, replace(stored, made_from="f" * 64))
        with pytest.raises(
            IntegrityError, match=r"check_sample\.h5: found a sample of f{64}; expected the sample"
        ):
            list(check_precision(in_bfloat16))
        path.unlink()
        with pytest.raises(IntegrityError, match=r"found no sample; expected .* Materialise the embeddings"):
            list(check_precision(in_bfloat16))
        path.write_bytes(content)
        flip_byte(path, -1, 4)
        with pytest.raises(DamagedFileError, match=r"check_sample\.h5: found content that does not match"):
            list(check_precision(in_bfloat16))
    finally:
        path.write_bytes(content)
    assert [result.passed for result in check_precision(in_bfloat16)] == [True, True, True]


def test_rows_of_bfloat16_name_it_in_their_recipe_and_differ_from_their_reference(
    in_bfloat16: DropWork,
) -> None:
    for kind in ENCODER_KINDS:
        shards = [read_shard(in_bfloat16.folder.shard(kind, rank, 4)) for rank in range(4)]
        assert {shard.recipe.precision for shard in shards} == {"bfloat16"}
    merged = read_merged_at(in_bfloat16.folder.path, np.arange(in_bfloat16.index.manifest.rows))
    assert merged.dtype == np.float32
    assert np.isfinite(merged).all()
