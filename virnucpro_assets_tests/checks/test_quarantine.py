"""Sequences that cannot be embedded, from the parts to the report: named, left out, never passed over."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from virnucpro_assets.checks.quarantine import record_quarantined
from virnucpro_assets.checks.results import finite_values, record_check
from virnucpro_assets.checks.samples import sample_chunks
from virnucpro_assets.defs.embeddings import _materialisation
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.drops.recipes import make_recipe
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.digests import FileRecord, check_file
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.models.cards import read_card, write_card
from virnucpro_assets.models.classifier import load_classifier
from virnucpro_assets.models.folders import WEIGHTS_FILE
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.predict import SCORES_FILE, SHORT_SCORES_FILE, predict_drop
from virnucpro_assets.pipeline.report import report_drop
from virnucpro_assets.pipeline.run import export_results
from virnucpro_assets.reports.drop_lines import summary_lines
from virnucpro_assets.reports.drop_report import QuarantinedFigures
from virnucpro_assets.sequences.index import member_counts, member_name
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.merged_reader import merged_blocks
from virnucpro_assets.storage.parts import PackCounts, PartPlan, rows_of, write_part
from virnucpro_assets.storage.provenance import Incidents, QuarantinedRow
from virnucpro_assets.storage.quarantine import read_quarantine
from virnucpro_assets.storage.shards import ShardManifest, finish_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind
from virnucpro_assets_tests.passed_checks import (
    pass_checks_of_merged,
    pass_checks_of_predictions,
    pass_checks_of_shards,
)

RANKS = 2
Quarantined = dict[EncoderKind, list[QuarantinedRow]]


def embeddings_of(work: DropWork, kind: EncoderKind) -> npt.NDArray[np.float32]:
    """Numbers that stand for the encoder's, one row for each of the index."""
    shape = (work.index.manifest.rows, work.encoders[kind].width)
    return np.random.default_rng(len(kind)).normal(size=shape).astype(np.float32)


def embed(work: DropWork, kind: EncoderKind, quarantined: list[QuarantinedRow]) -> list[ShardManifest]:
    """Write the shards of an encoder, two parts each, without the rows in `quarantined`."""
    recipe, index = make_recipe(work.settings, work.index.manifest, work.encoders[kind]), work.index.manifest
    values, shards = embeddings_of(work, kind), []
    values[[entry.row for entry in quarantined]] = np.nan
    for rank in range(RANKS):
        folder, owned = work.folder.shard(kind, rank, RANKS), len(range(rank, index.rows, RANKS))
        records = []
        for number, (start, stop) in enumerate([(0, owned // 2), (owned // 2, owned)]):
            plan = PartPlan(rank, number, start, stop)
            rows = rows_of(plan, RANKS)
            own = Incidents(quarantined=[entry for entry in quarantined if entry.row in rows])
            counts = PackCounts(packs=1, tokens=10)
            records.append(
                write_part(folder / plan.file_name, plan, recipe, values[rows], counts, incidents=own)
            )
        manifest = ShardManifest(rank=rank, rows=owned, width=values.shape[1], recipe=recipe, parts=records)
        shards.append(finish_shard(folder, manifest))
        record_quarantined(work, kind, rank, shards[-1].incidents.quarantined)
        record_check(work.folder.checks, finite_values(f"{kind}_embeddings", shards[-1]))
    return shards


@pytest.fixture
def work(tmp_path: Path, small_reads: Path) -> DropWork:
    """The small drop, indexed."""
    settings = Settings(data_root=tmp_path / "data", ranks=RANKS, devices="cpu:1")
    register_reads("d", [ReadFile(small_reads)], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, [].append)
    index_drop(work)
    return work


@pytest.fixture
def troubled(work: DropWork) -> tuple[DropWork, Quarantined]:
    """The drop with all rows of its first read and one row of its second quarantined, merged."""
    (members,) = work.index.member_batches()
    reads = np.unique(members.read)
    first = np.unique(members.row[members.read == reads[0]]).tolist()
    second = int(members.row[members.read == reads[1]][0])
    assert second not in first
    assert (members.read == reads[1]).sum() > 1
    quarantined: Quarantined = {
        "dnabert_s": [QuarantinedRow(row=second, reason="out_of_memory")],
        "esm2": [QuarantinedRow(row=row, reason="not_finite") for row in first],
    }
    for kind in ENCODER_KINDS:
        embed(work, kind, quarantined[kind])
    pass_checks_of_shards(work)
    merge_drop(work)
    pass_checks_of_merged(work)
    return work, quarantined


def names_of_members(work: DropWork) -> list[str]:
    (members,), (reads,) = work.index.member_batches(), work.index.read_batches()
    places = zip(members.read.tolist(), members.chunk.tolist(), members.frame.tolist(), strict=True)
    return [member_name(reads.names[read], chunk, frame) for read, chunk, frame in places]


def test_the_table_names_each_row_by_its_first_member(troubled: tuple[DropWork, Quarantined]) -> None:
    work, quarantined = troubled
    (members,) = work.index.member_batches()
    names, rows = names_of_members(work), members.row.tolist()
    expected = ["encoder\trank\trow\treason\tmembers\tfirst_member"]
    for kind in ENCODER_KINDS:
        for rank in range(RANKS):
            for entry in sorted(quarantined[kind], key=lambda entry: entry.row):
                if entry.row % RANKS == rank:
                    first, count = names[rows.index(entry.row)], rows.count(entry.row)
                    expected.append(f"{kind}\t{rank}\t{entry.row}\t{entry.reason}\t{count}\t{first}")
    table = (work.folder.quarantine / "quarantine.tsv").read_text()
    assert table.splitlines() == expected
    assert len(expected) == 1 + sum(map(len, quarantined.values()))
    assert {path.name for path in work.folder.quarantine.iterdir()} == {
        *(f"{kind}.rank-{e.row % RANKS:02d}-of-02.toml" for kind in ENCODER_KINDS for e in quarantined[kind]),
        "quarantine.tsv",
        "quarantine.lock",
    }


def test_each_quarantined_row_is_told_in_a_line(work: DropWork) -> None:
    (members,) = work.index.member_batches()
    names, rows = names_of_members(work), members.row.tolist()
    row, repeated = 3, int(np.argmax(np.bincount(members.row)))
    lines = record_quarantined(
        work, "esm2", 1, [QuarantinedRow(row=row, reason="kills_process")]
    ) + record_quarantined(work, "dnabert_s", 0, [QuarantinedRow(row=repeated, reason="not_finite")])
    count = rows.count(repeated)
    others = f" and {count - 1} more" if count > 1 else ""
    assert lines == [
        f"esm2 rank 1: {names[rows.index(row)]}, row 3 of the index, cannot be embedded: ends its device process",
        f"dnabert_s rank 0: {names[rows.index(repeated)]}{others}, row {repeated} of the index, cannot be "
        "embedded: NaN or Inf, in float32 too",
    ]
    assert member_counts(work.index, [repeated, row]) == {row: rows.count(row), repeated: count}


def test_a_rank_that_has_none_left_loses_its_record_and_the_last_one_the_table(work: DropWork) -> None:
    folder = work.folder.quarantine
    assert record_quarantined(work, "esm2", 0, []) == []
    assert not folder.exists()
    record_quarantined(work, "esm2", 0, [QuarantinedRow(row=0, reason="not_finite")])
    record_quarantined(work, "esm2", 1, [QuarantinedRow(row=5, reason="not_finite")])
    assert [record.rank for record in read_quarantine(folder)] == [0, 1]
    record_quarantined(work, "esm2", 0, [])
    (line,) = (folder / "quarantine.tsv").read_text().splitlines()[1:]
    assert line.startswith("esm2\t1\t5\tnot_finite\t")
    record_quarantined(work, "esm2", 1, [])
    assert [path.name for path in folder.iterdir()] == ["quarantine.lock"]


def test_records_of_a_former_index_are_removed(work: DropWork) -> None:
    record_quarantined(work, "esm2", 0, [QuarantinedRow(row=0, reason="not_finite")])
    record_quarantined(work, "esm2", 1, [QuarantinedRow(row=5, reason="not_finite")])
    now = replace(work, settings=work.settings.model_copy(update={"ranks": 3}))
    index_drop(now)
    record_quarantined(now, "esm2", 2, [QuarantinedRow(row=2, reason="out_of_memory")])
    (record,) = read_quarantine(work.folder.quarantine)
    assert (record.rank, record.ranks, record.index_digest) == (2, 3, now.index.manifest.digest)


def test_quarantined_rows_have_no_score_and_all_others_the_one_they_would_have(
    troubled: tuple[DropWork, Quarantined],
) -> None:
    work, quarantined = troubled
    (members,) = work.index.member_batches()
    tables, summary = predict_drop(work)
    scores = np.load(work.folder.predictions / SCORES_FILE, allow_pickle=False)
    left_out = sorted({entry.row for entries in quarantined.values() for entry in entries})
    assert np.flatnonzero(np.isnan(scores).all(axis=1)).tolist() == left_out
    both = np.concatenate([embeddings_of(work, kind) for kind in ENCODER_KINDS], axis=1)
    expected = load_classifier(work.settings.classifier_folder(300))[0].scores(both)
    expected[left_out] = np.nan
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)

    is_scored = ~np.isin(members.row, left_out)
    assert summary.not_scored == (~is_scored).sum() == tables.counts["not_scored"]
    assert summary.members == is_scored.sum()
    names = [name for name, scored in zip(names_of_members(work), is_scored, strict=True) if scored]
    lines = (work.folder.predictions / "prediction_results.txt").read_text().splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == names
    assert all(0 <= float(value) <= 1 for line in lines for value in line.split("\t")[2:])


def test_the_dna_alone_scores_what_only_esm2_could_not_embed(troubled: tuple[DropWork, Quarantined]) -> None:
    work, quarantined = troubled
    routed = replace(work, settings=work.settings.model_copy(update={"dna_only_below_bases": 1_000_000}))
    (members,) = work.index.member_batches()
    _, summary = predict_drop(routed)
    (lost,) = quarantined["dnabert_s"]
    assert summary.not_scored == (members.row == lost.row).sum()
    scores = np.load(work.folder.predictions / SHORT_SCORES_FILE, allow_pickle=False)
    dna = load_classifier(work.settings.classifier_folder(300, "dna"))[0]
    expected = dna.scores(embeddings_of(work, "dnabert_s"))
    expected[lost.row] = np.nan
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    table = pq.read_table(work.folder.predictions / "predictions.parquet")
    kept = members.row[members.row != lost.row]
    np.testing.assert_array_equal(table["p_virus"].to_numpy(), scores[kept, 1])
    assert set(table["route"].to_pylist()) == {"dna"}


def test_a_read_without_any_score_is_not_scored_and_one_with_some_is_called(
    troubled: tuple[DropWork, Quarantined], tmp_path: Path
) -> None:
    work, quarantined = troubled
    predict_drop(work)
    pass_checks_of_predictions(work)
    tables = call_drop(work)
    (members,), (reads,) = work.index.member_batches(), work.index.read_batches()
    left_out = [entry.row for entries in quarantined.values() for entry in entries]
    is_scored = ~np.isin(members.row, left_out)
    called = {reads.names[read] for read in np.unique(members.read[is_scored]).tolist()}
    silent = {reads.names[read] for read in np.unique(members.read).tolist()} - called
    first, second = (reads.names[read] for read in np.unique(members.read)[:2].tolist())
    assert first in silent
    assert second in called
    rows = pq.read_table(work.folder.calls / "read_calls.parquet").to_pylist()
    assert {row["name"] for row in rows if row["reason"] == "not_scored"} == silent
    assert {row["name"] for row in rows if row["call"]} == called
    assert all(row["call"] is None and row["max_score_1"] is None for row in rows if row["name"] in silent)
    assert tables.counts["not_scored_reads"] == len(silent) >= 1
    assert tables.counts["not_scored_members"] == (~is_scored).sum()
    for name, of_read in (("prediction_results_highestscore.csv", "_chunk_"), ("contig_calls.tsv", "\t")):
        ids = [line.split("\t")[0] for line in (work.folder.calls / name).read_text().splitlines()[1:]]
        assert {line.rpartition(of_read)[0] or line for line in ids} == called
    headers = [line for line in (work.folder.calls / "hits.fasta").read_text().splitlines() if line[0] == ">"]
    assert not silent & {header[1:].split()[0] for header in headers}

    report = report_drop(work)
    assert report.reasons["not_scored"] == len(silent)
    assert report.not_scored_candidates == (~is_scored).sum()
    assert report.quarantined == len(left_out)
    record = {(r.encoder, e.row): e for r in read_quarantine(work.folder.quarantine) for e in r.entries}
    (of_dna,) = quarantined["dnabert_s"]
    assert report.quarantine[0] == QuarantinedFigures(
        name=record["dnabert_s", of_dna.row].first_member,
        members=record["dnabert_s", of_dna.row].members,
        row=of_dna.row,
        encoder="dnabert_s",
        reason="does not fit the device's memory, even alone",
    )
    assert [(row.encoder, row.row) for row in report.quarantine] == [
        ("dnabert_s", of_dna.row),
        *(("esm2", entry.row) for entry in sorted(quarantined["esm2"], key=lambda entry: entry.row)),
    ]
    lines = list(summary_lines("d", work.settings))
    reads_ = "1 read" if len(silent) == 1 else f"{len(silent)} reads"
    assert f"{reads_} without a call: could not be scored" in lines
    table = work.folder.quarantine / "quarantine.tsv"
    assert f"{len(left_out)} sequences could not be embedded: {table}" in lines
    assert export_results(work.folder, tmp_path / "out")[-1].read_bytes() == table.read_bytes()
    table.unlink()
    export_results(work.folder, tmp_path / "out")
    foreign = tmp_path / "out" / "quarantine.tsv"
    assert not foreign.exists()
    foreign.write_text("of somebody else")
    before = {path: path.stat().st_ino for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match=r"quarantine\.tsv: found a file that was not written here"):
        export_results(work.folder, tmp_path / "out")
    assert {path: path.stat().st_ino for path in before} == before
    assert foreign.read_text() == "of somebody else"


def test_a_check_warns_of_quarantined_rows_and_holds_nothing_back(work: DropWork) -> None:
    shards = embed(work, "esm2", [QuarantinedRow(row=3, reason="not_finite")])
    whole, lacking = (finite_values("esm2_embeddings", shard) for shard in shards)
    width = work.encoders["esm2"].width
    assert (whole.passed, whole.blocking) == (True, True)
    assert whole.figures == {
        "rows": shards[0].rows,
        "values": shards[0].rows * width,
        "recomputed_in_float32": 0,
        "quarantined": 0,
    }
    assert (lacking.passed, lacking.blocking, lacking.rank) == (False, False, 1)
    assert lacking.figures["quarantined"] == 1


def test_a_shard_that_lacks_rows_is_another_version_and_says_so_in_its_metadata(work: DropWork) -> None:
    complete, lacking = (
        embed(work, "esm2", [])[1],
        embed(work, "esm2", [QuarantinedRow(row=3, reason="not_finite")])[1],
    )
    assert complete.digest == complete.recipe.digest
    assert lacking.recipe == complete.recipe
    assert lacking.digest != complete.digest
    more = Incidents(recomputed=[5, 7], split_packs=4, token_limit=512)
    parts = [
        lacking.parts[0].model_copy(update={"incidents": lacking.parts[0].incidents + more}),
        *lacking.parts[1:],
    ]
    event = _materialisation(work, lacking.model_copy(update={"parts": parts}), {})
    shown = {name: value.value for name, value in event.metadata.items()}
    figures = {"recomputed_in_float32": 2, "quarantined": 1, "split_packs": 4, "token_limit": 512}
    assert figures.items() <= shown.items()
    assert event.tags["dagster/data_version"] == lacking.digest
    assert not figures.keys() & _materialisation(work, complete, {}).metadata.keys()


def test_a_source_that_goes_away_after_it_was_verified_is_named(
    work: DropWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ENCODER_KINDS:
        embed(work, kind, [])
    pass_checks_of_shards(work)
    merge_drop(work)
    pass_checks_of_merged(work)
    lost = work.folder.shard("esm2", 1, RANKS) / "part-00001.h5"

    def check_and_lose(path: Path, expected: FileRecord, *, content: bool) -> None:
        check_file(path, expected, content=content)
        if path == lost and content:
            path.unlink()

    monkeypatch.setattr("virnucpro_assets.files.digests.check_file", check_and_lose)
    blocks = merged_blocks(work.folder.path, 2)
    with pytest.raises(
        IntegrityError, match=r"part-00001\.h5: found no file; expected the part that was verified"
    ):
        list(blocks)
    assert not lost.exists()


def test_a_classifier_that_gives_no_number_is_refused_with_the_row(work: DropWork, tmp_path: Path) -> None:
    for kind in ENCODER_KINDS:
        embed(work, kind, [])
    pass_checks_of_shards(work)
    merge_drop(work)
    pass_checks_of_merged(work)
    models = tmp_path / "models"
    (models / "classifier_300").mkdir(parents=True)
    for path in (MODELS_FOLDER / "classifier_300").iterdir():
        (models / "classifier_300" / path.name).write_bytes(path.read_bytes())
    weights = load_file(models / "classifier_300" / WEIGHTS_FILE)
    large = {
        name: values * np.float32(1e30) if values.dtype == np.float32 else values
        for name, values in weights.items()
    }
    save_file(large, models / "classifier_300" / WEIGHTS_FILE)
    card = read_card(models / "classifier_300")
    write_card(models / "classifier_300", card.model_copy(update={"digest": ""}))
    broken = replace(work, settings=work.settings.model_copy(update={"classifiers": models}))
    with pytest.raises(IntegrityError, match="found NaN as a score of row 0 of the index"):
        predict_drop(broken)


def test_a_sample_leaves_out_every_chunk_that_needs_a_quarantined_row(
    troubled: tuple[DropWork, Quarantined],
) -> None:
    work, quarantined = troubled
    left_out = {entry.row for entries in quarantined.values() for entry in entries}
    sample = sample_chunks(work.index, 10_000, without=left_out)
    everything = sample_chunks(work.index, 10_000)
    assert not left_out & set(sample.rows.tolist())
    with_them = set(everything.chunk[np.isin(everything.rows[everything.row], list(left_out))].tolist())
    assert set(sample.chunk.tolist()) == set(everything.chunk.tolist()) - with_them
