"""From an index to shards by real device processes: values, what is kept, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.embedding import embed_sequences
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import EmbeddingError, embed_shards
from virnucpro_assets.models.configs import count_flops
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.models.folders import read_config, read_model_folder
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.sequences.index_manifest import IndexOrigin
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.provenance import QuarantinedRow
from virnucpro_assets.storage.shards import ShardManifest, read_shard, set_aside_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.changed_models import copied_model, dna_model_with, rare_dna_token, scale_weights
from virnucpro_assets_tests.damage import flip_byte
from virnucpro_assets_tests.jobs import contents, run_job

MakeJob = Callable[..., ShardJob]
OpenPool = Callable[..., DevicePool]


@pytest.mark.parametrize("kind", ["dnabert_s", "esm2"])
def test_every_part_of_every_rank_holds_what_its_encoder_gives(
    shared_pool: DevicePool, make_job: MakeJob, small_index: SequenceIndex, kind: str
) -> None:
    job = make_job(MODELS_FOLDER / kind)
    encoder, ranks = load_encoder(job.encoder.folder), small_index.manifest.ranks
    shards = run_job(shared_pool, job)
    assert [shard.rank for shard in shards] == [0, 1, 2, 3]
    covered = []
    for shard in shards:
        assert read_shard(job.folders[shard.rank], content=True) == shard
        assert len(shard.parts) > 1
        for part in shard.parts:
            with h5py.File(job.folders[shard.rank] / part.name) as file:
                rows, stored = file["rows"][:], file["embeddings"][:]
            batch = small_index.rows(int(rows[0]), int(rows[-1]) + 1, ranks)
            expected = embed_sequences(encoder, ENCODERS[job.encoder.kind].sequences(batch), 256)
            assert part.counts == expected.counts
            np.testing.assert_array_equal(rows, batch.rows)
            np.testing.assert_array_equal(stored, expected.embeddings)
            covered += rows.tolist()
    assert sorted(covered) == list(range(small_index.manifest.rows))


def test_a_shard_tells_what_its_devices_did_and_waited_for(
    shared_pool: DevicePool, make_job: MakeJob, small_index: SequenceIndex
) -> None:
    job = replace(make_job(), peak_flops=2e9)
    config, ranks = read_config(job.encoder.folder), small_index.manifest.ranks
    for shard in run_job(shared_pool, job):
        telemetry = shard.telemetry
        residues = small_index.protein_lengths()[shard.rank :: ranks].astype(np.int64)
        assert telemetry.sequences == shard.rows == len(residues)
        assert telemetry.flops == count_flops(config, residues + 2).total
        assert telemetry.possible_flops == pytest.approx(2e9 * shard.seconds)
        assert telemetry.mfu == pytest.approx(telemetry.flops / (2e9 * shard.seconds))
        assert shard.sequences_per_second == pytest.approx(shard.rows / shard.seconds)
        assert 0 <= telemetry.waited_for_input + telemetry.waited_for_output <= shard.seconds
        assert 50 << 20 < telemetry.peak_memory < 8 << 30


@pytest.mark.slow
def test_loading_the_model_counts_in_the_first_run_of_a_process_only(
    open_pool: OpenPool, make_job: MakeJob, tmp_path: Path
) -> None:
    with open_pool(7) as pool:
        first, second = (
            run_job(pool, replace(make_job(out=tmp_path / name), peak_flops=2e9))
            for name in ("first", "second")
        )
    assert 0 < sum(shard.telemetry.loading for shard in first) < sum(shard.seconds for shard in first)
    assert [shard.telemetry.loading for shard in second] == [0.0] * len(second)


def test_a_device_measures_the_peak_that_it_is_not_told(shared_pool: DevicePool, make_job: MakeJob) -> None:
    shards = run_job(shared_pool, make_job())
    peaks = {shard.telemetry.possible_flops / shard.seconds for shard in shards}
    assert all(1e9 < peak < 1e14 for peak in peaks)


def both(make_job: MakeJob, out: Path) -> list[ShardJob]:
    """A job of each encoder, with its shards under `out`."""
    return [make_job(MODELS_FOLDER / kind, out=out) for kind in ENCODER_KINDS]


def test_both_encoders_share_one_queue_and_one_start_of_their_processes(
    open_pool: OpenPool, shared_pool: DevicePool, make_job: MakeJob, tmp_path: Path
) -> None:
    expected = [
        contents(run_job(shared_pool, job)) for job in both(make_job, tmp_path / "one after the other")
    ]
    finished: list[ShardManifest] = []
    lines: list[str] = []
    with open_pool(7, 8) as pool, pool.lease() as lease:
        for shard in embed_shards(both(make_job, tmp_path / "together"), lease, lines.append):
            if not finished:
                started = {process.pid for process in pool.running(pool.devices)}
            finished.append(shard)
        assert {process.pid for process in pool.running(pool.devices)} == started
    kinds = [shard.recipe.encoder for shard in finished]
    assert kinds == [*["dnabert_s"] * 4, *["esm2"] * 4]
    assert [contents(finished[:4]), contents(finished[4:])] == expected
    last_lines = [line for line in lines if "(100%)" in line]
    assert [line.split(":")[0] for line in last_lines] == list(ENCODER_KINDS)


def test_a_rank_of_one_encoder_that_fails_stops_no_rank_of_the_other(
    open_pool: OpenPool, make_job: MakeJob, tmp_path: Path
) -> None:
    dna, protein = both(make_job, tmp_path)
    damaged = replace(
        dna, folders={1: dna.folders[1]}, encoder=dna.encoder.model_copy(update={"digest": "f" * 64})
    )
    finished: list[tuple[str, int]] = []
    with open_pool(7) as pool, pool.lease() as lease, pytest.raises(EmbeddingError) as failed:
        for shard in embed_shards([damaged, protein], lease, [].append):
            finished.append((shard.recipe.encoder, shard.rank))
    assert sorted(finished) == [("esm2", rank) for rank in range(4)]
    assert failed.value.failures.keys() == {("dnabert_s", 1)}
    assert all(read_shard(folder, content=True).rank == rank for rank, folder in protein.folders.items())


def test_a_finished_shard_is_not_computed_again(shared_pool: DevicePool, make_job: MakeJob) -> None:
    first, again = run_job(shared_pool, make_job()), run_job(shared_pool, make_job())
    kept = [shard.model_copy(update={"reused_parts": len(shard.parts)}) for shard in first]
    assert again == kept
    assert all(shard.tokens_per_second > 0 for shard in again)


def test_an_index_that_was_built_anew_under_a_run_is_refused(
    shared_pool: DevicePool, make_job: MakeJob
) -> None:
    job = make_job()
    former = replace(job, recipe=job.recipe.model_copy(update={"index_digest": "f" * 64}))
    found = f"found an index of digest {job.index.manifest.digest}; expected {'f' * 64}"
    with pytest.raises(EmbeddingError, match=found) as failed:
        run_job(shared_pool, former)
    assert sorted(failed.value.ranks_of("esm2")) == [0, 1, 2, 3]
    assert not list(former.folders[0].glob("part-*"))


def test_a_shard_that_is_opened_again_is_not_finished_until_it_is(
    shared_pool: DevicePool, make_job: MakeJob
) -> None:
    job = make_job()
    run_job(shared_pool, job)
    (job.folders[2] / "part-00000.h5").unlink()
    with shared_pool.lease() as lease:
        shards = embed_shards([job], lease, [].append)
        assert next(shards).rank == 0
        assert not (job.folders[2] / "manifest.toml").exists()
        assert {shard.rank for shard in shards} == {1, 2, 3}
    assert read_shard(job.folders[2]).reused_parts == len(read_shard(job.folders[2]).parts) - 1


def test_a_damaged_part_is_set_aside_and_computed_again(shared_pool: DevicePool, make_job: MakeJob) -> None:
    job, heard = make_job(), list[str]()
    parts = {shard.rank: shard.parts for shard in run_job(shared_pool, job)}
    damaged = job.folders[2] / parts[2][1].name
    content = flip_byte(damaged, damaged.stat().st_size // 2)
    again = {shard.rank: shard for shard in run_job(shared_pool, job, heard)}
    assert {rank: shard.parts for rank, shard in again.items()} == parts
    assert {rank: len(s.parts) - s.reused_parts for rank, s in again.items()} == {0: 0, 1: 0, 2: 1, 3: 0}
    aside = damaged.with_name(f"{damaged.name}.quarantine-1")
    assert aside.read_bytes() == content
    assert heard[0] == f"esm2 rank 2: a damaged file was set aside as {aside} and is made again"


def test_weights_that_changed_since_the_run_began_are_refused(
    shared_pool: DevicePool, make_job: MakeJob, tmp_path: Path
) -> None:
    model = copied_model("esm2", tmp_path / "model")
    job = make_job(model)
    scale_weights(model, 1.5)
    with pytest.raises(EmbeddingError) as error:
        run_job(shared_pool, job)
    found = read_model_folder(model).digest
    assert error.value.ranks_of("esm2") == dict.fromkeys(
        range(4),
        f"{model}: found a model of digest {found}; expected {job.encoder.digest}, as it was when the run "
        "began. Start the run again once the model no longer changes.",
    )
    assert error.value.not_finite == set()
    assert list(tmp_path.rglob("part-*")) == []


def test_a_process_that_holds_former_weights_loads_the_new_ones(
    shared_pool: DevicePool, make_job: MakeJob, tmp_path: Path
) -> None:
    model = copied_model("esm2", tmp_path / "model")
    before = make_job(model, out=tmp_path / "before")
    run_job(shared_pool, before)
    scale_weights(model, 1.5)
    after = make_job(model, out=tmp_path / "after")
    part = {shard.rank: shard for shard in run_job(shared_pool, after)}[0].parts[0]
    with h5py.File(after.folders[0] / part.name) as new, h5py.File(before.folders[0] / part.name) as old:
        stored, former = new["embeddings"][:], old["embeddings"][:]
    sequences = after.index.rows(0, 4 * (part.stop - 1) + 1, 4).proteins
    np.testing.assert_array_equal(stored, embed_sequences(load_encoder(model), sequences, 256).embeddings)
    assert not np.allclose(stored, former)


def test_parts_of_another_recipe_are_refused_with_both_digests(
    shared_pool: DevicePool, make_job: MakeJob
) -> None:
    former, now = make_job(), make_job(budget=512)
    run_job(shared_pool, former)
    with pytest.raises(IntegrityError) as error:
        run_job(shared_pool, now)
    assert f"found embeddings of recipe {former.recipe.digest}" in str(error.value)
    assert f"expected recipe {now.recipe.digest} (token_budget 256 is now 512)" in str(error.value)
    assert read_shard(former.folders[0], content=True).recipe == former.recipe


def test_parts_of_another_recipe_are_kept_aside_on_demand(shared_pool: DevicePool, make_job: MakeJob) -> None:
    former, now = make_job(), make_job(budget=512)
    parts = {shard.rank: shard.parts for shard in run_job(shared_pool, former)}
    aside = {rank: set_aside_shard(folder, now.recipe) for rank, folder in now.folders.items()}
    shards = run_job(shared_pool, now)
    assert {shard.recipe for shard in shards} == {now.recipe}
    assert sum(shard.reused_parts for shard in shards) == 0
    for rank, folder in aside.items():
        assert folder == now.folders[rank].with_name(f"{now.folders[rank].name}.superseded-1")
        assert read_shard(folder, content=True).parts == parts[rank]
    assert {set_aside_shard(folder, now.recipe) for folder in now.folders.values()} == {None}


def test_a_candidate_that_gives_nan_is_named_and_the_other_ranks_are_finished(
    shared_pool: DevicePool, make_job: MakeJob, small_index: SequenceIndex, tmp_path: Path
) -> None:
    row, token = rare_dna_token(small_index)
    job, rank = make_job(dna_model_with(np.nan, tmp_path / "model", token)), row % 4

    with pytest.raises(EmbeddingError) as error:
        run_job(shared_pool, job)
    assert error.value.not_finite == {("dnabert_s", rank)}
    assert error.value.ranks_of("dnabert_s") == {
        rank: f"1 sequence cannot be embedded; the first is {member_of(small_index, row)}, row {row} of the "
        "index: not_finite"
    }
    for other in {0, 1, 2, 3} - {rank}:
        assert read_shard(job.folders[other], content=True).rank == other
    with pytest.raises(IntegrityError, match="found no file"):
        read_shard(job.folders[rank])


def test_a_model_that_gives_no_number_at_all_names_the_first_row_of_each_rank(
    shared_pool: DevicePool, make_job: MakeJob, small_index: SequenceIndex, tmp_path: Path
) -> None:
    model = copied_model("esm2", tmp_path / "model")
    scale_weights(model, float("nan"))
    with pytest.raises(EmbeddingError) as error:
        run_job(shared_pool, make_job(model))
    assert error.value.not_finite == {("esm2", rank) for rank in range(4)}
    for rank, reason in error.value.ranks_of("esm2").items():
        name = member_of(small_index, rank)
        assert reason.endswith(f"the first is {name}, row {rank} of the index: not_finite")


def member_of(index: SequenceIndex, row: int) -> str:
    """The name of the first member of a row, put together by hand."""
    (members,), (reads,) = index.member_batches(), index.read_batches()
    place = members.row.tolist().index(row)
    frame = ("F1", "F2", "F3", "R1", "R2", "R3")[members.frame[place]]
    return f"{reads.names[members.read[place]]}_chunk_{members.chunk[place]}{frame}"


def test_ranks_without_rows_become_empty_shards(
    shared_pool: DevicePool, make_job: MakeJob, tmp_path: Path
) -> None:
    reads = tmp_path / "one.fa"
    reads.write_bytes(b">one\nATGGCTGCTGCTGCTGCTGCTGCT\n")
    build_index(
        [ReadFile(reads)], tmp_path / "index", IndexOrigin(drop_digest="d" * 64, chunk_length=300, ranks=9)
    )
    index = SequenceIndex.open(tmp_path / "index")
    assert 0 < index.manifest.rows < 9
    job = make_job(index=index)
    shards = run_job(shared_pool, job)
    assert {shard.rank: shard.rows for shard in shards} == {
        rank: int(rank < index.manifest.rows) for rank in range(9)
    }
    assert {rank: read_shard(folder).rank for rank, folder in job.folders.items()} == {r: r for r in range(9)}
    with h5py.File(job.folders[8] / "shard.h5") as file:
        assert file["embeddings"].shape == (0, job.encoder.width)


def test_an_empty_index_needs_no_device_process(
    open_pool: Callable[..., DevicePool], make_job: MakeJob, tmp_path: Path
) -> None:
    (tmp_path / "none.fa").touch()
    files = [ReadFile(tmp_path / "none.fa")]
    build_index(files, tmp_path / "index", IndexOrigin(drop_digest="d" * 64, chunk_length=300, ranks=3))
    with open_pool() as pool:
        shards = run_job(pool, make_job(index=SequenceIndex.open(tmp_path / "index")))
    assert [(shard.rank, shard.rows, shard.parts) for shard in shards] == [(0, 0, []), (1, 0, []), (2, 0, [])]


def test_an_error_names_each_encoder_and_each_of_its_ranks_in_order() -> None:
    error = EmbeddingError(
        {("esm2", 2): "second", ("dnabert_s", 1): "first", ("esm2", 0): "first", ("esm2", 3): "second"},
        {("esm2", 2): [QuarantinedRow(row=2, reason="not_finite")]},
    )
    assert error.not_finite == {("esm2", 2)}
    assert error.ranks_of("esm2") == {0: "first", 2: "second", 3: "second"}
    assert str(error) == (
        "dnabert_s: found 1 rank that cannot be finished (rank 1: first); "
        "esm2: found 3 ranks that cannot be finished (rank 0: first; ranks 2, 3: second)"
    )
