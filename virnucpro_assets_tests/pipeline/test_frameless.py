"""Reads without a stop-free frame, end to end: kept as whole chunks and scored by their DNA, or given a reason."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tools.demo.embeddings import embed
from virnucpro_assets.checks.results import PRECISION_CHECKS, read_checks
from virnucpro_assets.checks.samples import sample_chunks
from virnucpro_assets.demo.paths import DNABERT_S_FOLDER, MODELS_FOLDER
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.models.classifier import load_classifier
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.precision_checks import compare
from virnucpro_assets.pipeline.predict import DNA_SCORES_FILE, SCORES_FILE, predict_drop
from virnucpro_assets.pipeline.report import report_drop
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.reports.drop_lines import summary_lines
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.reports.model_pages import installed_lines
from virnucpro_assets.sequences.batches import WHOLE_CHUNK
from virnucpro_assets.sequences.index_manifest import WholeChunks
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.merged_reader import merged_blocks, read_merged_at
from virnucpro_assets.storage.tables import read_tables
from virnucpro_assets_tests.frameless import coding_bases, frameless_bases, mixed_reads
from virnucpro_assets_tests.models.published_files import change_json
from virnucpro_assets_tests.passed_checks import pass_checks_of_index, pass_checks_of_predictions

FRAMELESS = {"frameless", "lower", "reverse", "long", "last"}
WIDTH = 96
"""Of the demo's DNABERT-S."""


def write_reads(path: Path, reads: dict[str, bytes]) -> Path:
    path.write_bytes(b"".join(b">%b\n%b\n" % (name.encode(), bases) for name, bases in reads.items()))
    return path


def settings_in(folder: Path, **changes: object) -> Settings:
    kept = {"devices": "cpu:1", "ranks": 2, "check_sample": 64, "score_reads_without_open_frame": True}
    return Settings(data_root=folder / "data", **kept | changes)


def under(work: DropWork, **changes: object) -> DropWork:
    return DropWork.on("d", work.settings.model_copy(update=changes), [].append)


@pytest.fixture(scope="module")
def finished_mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose data root has the finished drop `d` of the mixed reads; look at it only."""
    folder = tmp_path_factory.mktemp("mixed")
    settings = settings_in(folder)
    register_reads("d", [ReadFile(write_reads(folder / "mixed.fa", mixed_reads()))], settings)
    run_drop("d", settings, [].append)
    return folder


@pytest.fixture
def mixed(tmp_path: Path, finished_mixture: Path) -> DropWork:
    """The finished drop in a data root of the test's own."""
    shutil.copytree(finished_mixture / "data", tmp_path / "data")
    return DropWork.on("d", settings_in(tmp_path), [].append)


@pytest.fixture
def without_dna(tmp_path: Path) -> Path:
    """The demo's models but for the classifier of the DNA alone."""
    return shutil.copytree(MODELS_FOLDER, tmp_path / "models", ignore=lambda *_: ["classifier_300_dna"])


def rows_of(work: DropWork) -> np.ndarray:
    """The merged embeddings in the order of the index."""
    return read_merged_at(work.folder.path, np.arange(work.index.manifest.rows))


def table(work: DropWork, name: str) -> dict[str, list]:
    return pq.read_table(work.folder.path / name).to_pydict()


def test_a_whole_chunk_has_the_embedding_of_its_bases_and_zeros_for_its_protein(mixed: DropWork) -> None:
    index = mixed.index
    assert index.manifest.whole_chunks == WholeChunks(reads=5, members=7, rows=6)
    batch = index.rows(0, index.manifest.rows)
    rows, split = rows_of(mixed), index.manifest.rows_with_protein
    alone = np.concatenate(
        [
            embed(load_encoder(DNABERT_S_FOLDER), Ragged.from_strings([batch.nucleotides[row]]))
            for row in range(split, index.manifest.rows)
        ]
    )
    np.testing.assert_allclose(rows[split:, :WIDTH], alone, rtol=0, atol=5e-6)
    assert not rows[split:, WIDTH:].any()
    assert rows[:split, WIDTH:].any(axis=1).all()
    bases = mixed_reads()["frameless"]
    (place,) = [row for row in range(split, index.manifest.rows) if batch.nucleotides[row] == bases]
    own = embed(load_encoder(DNABERT_S_FOLDER), Ragged.from_strings([bases]))[0]
    np.testing.assert_allclose(rows[place, :WIDTH], own, rtol=0, atol=5e-6)


def test_whole_chunks_are_scored_by_their_dna_and_frames_as_ever(mixed: DropWork) -> None:
    (members,) = mixed.index.member_batches()
    is_whole, rows = members.frame == WHOLE_CHUNK, rows_of(mixed)
    joint, _ = load_classifier(MODELS_FOLDER / "classifier_300")
    dna, _ = load_classifier(MODELS_FOLDER / "classifier_300_dna")
    expected = np.where(
        is_whole[:, None], dna.scores(rows[:, :WIDTH])[members.row], joint.scores(rows)[members.row]
    )
    found = table(mixed, "predictions/predictions.parquet")
    np.testing.assert_allclose(found["p_virus"], expected[:, 1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["p_others"], expected[:, 0], rtol=0, atol=1e-6)
    assert [route == "dna" for route in found["route"]] == is_whole.tolist()
    of_dna = [name for name, whole in zip(found["id"], is_whole, strict=True) if whole]
    assert of_dna == [
        "frameless_chunk_1N0",
        "lower_chunk_1N0",
        "reverse_chunk_1N0",
        "long_chunk_1N0",
        "long_chunk_2N0",
        "long_chunk_3N0",
        "last_chunk_1N0",
    ]
    lines = (mixed.folder.predictions / "prediction_results.txt").read_text().splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == found["id"]


def test_no_classifier_that_reads_proteins_says_anything_of_a_whole_chunk(mixed: DropWork) -> None:
    split = mixed.index.manifest.rows_with_protein
    usual, of_dna = (
        np.load(mixed.folder.predictions / name, allow_pickle=False)
        for name in (SCORES_FILE, DNA_SCORES_FILE)
    )
    assert np.isnan(usual[split:]).all()
    assert np.isfinite(usual[:split]).all()
    assert np.isfinite(of_dna).all()


def test_the_tables_name_the_route_of_each_read_and_a_reason_only_where_there_is_no_call(
    mixed: DropWork,
) -> None:
    reads = table(mixed, "calls/read_calls.parquet")
    routes = dict(zip(reads["name"], reads["route"], strict=True))
    assert routes == {
        name: None if name == "unknown" else "dna" if name in FRAMELESS else "joint" for name in mixed_reads()
    }
    assert dict(zip(reads["name"], reads["reason"], strict=True)) == {
        name: "no_codon" if name == "unknown" else None for name in mixed_reads()
    }
    scored = dict(zip(reads["name"], reads["scored_chunks"], strict=True))
    assert {name: scored[name] for name in ("half", "long", "last", "lower")} == {
        "half": 1,
        "long": 3,
        "last": 1,
        "lower": 1,
    }
    predictions = table(mixed, "predictions/predictions.parquet")
    of_long = [
        score
        for name, score in zip(predictions["id"], predictions["p_virus"], strict=True)
        if name.startswith("long_")
    ]
    assert reads["max_score_1"][reads["name"].index("long")] == max(of_long)
    chunks = table(mixed, "calls/chunk_calls.parquet")
    assert [name for name, route in zip(chunks["id"], chunks["route"], strict=True) if route == "dna"] == [
        f"{name}_chunk_{chunk}"
        for name, count in [("frameless", 1), ("lower", 1), ("reverse", 1), ("long", 3), ("last", 1)]
        for chunk in range(1, count + 1)
    ]


def test_the_report_counts_them_and_names_their_classifier(mixed: DropWork) -> None:
    report = report_drop(mixed)
    assert (report.reads_without_open_frame, report.whole_chunks, report.routes) == (
        5,
        7,
        {"joint": 3, "dna": 5},
    )
    assert [model.role for model in report.models][2:] == ["classifier", "frameless classifier"]
    assert report.protein_lengths is not None
    assert report.protein_lengths.total == mixed.index.manifest.rows_with_protein
    lines = list(summary_lines("d", mixed.settings))
    frames = report.candidates - 7
    assert lines[1] == (
        f"9 reads, {frames} stop-free frames and 7 whole chunks of 5 reads without any, "
        f"{report.unique_candidates} distinct"
    )
    assert "scored by joint: 3 reads, dna: 5 reads" in lines
    assert [line for line in lines if "without a call" in line] == [
        "1 read without a call: no codon of A, C, G and T only"
    ]
    page = mixed.folder.report.read_text()
    assert "and 7 whole chunks of 5 reads that have no such frame" in page
    assert (
        "Reads without an open frame, and short ones if the settings say so, are scored by a classifier"
        in page
    )


def test_short_reads_and_frameless_ones_go_to_the_same_classifier(mixed: DropWork) -> None:
    before = table(mixed, "predictions/predictions.parquet")
    work = under(mixed, dna_only_below_bases=200)
    tables, _ = predict_drop(work)
    assert {"short classifier", "short_below"} <= set(tables.inputs)
    assert "frameless classifier" not in tables.inputs
    pass_checks_of_predictions(work)
    call_drop(work)
    reads = table(work, "calls/read_calls.parquet")
    of_dna = {name for name, route in zip(reads["name"], reads["route"], strict=True) if route == "dna"}
    assert of_dna == FRAMELESS | {"framed", "again"}
    after = table(work, "predictions/predictions.parquet")
    for name, score, former in zip(after["id"], after["p_virus"], before["p_virus"], strict=True):
        assert (score == former) == (not name.startswith(("framed", "again"))), name


def test_the_precision_checks_leave_out_the_proteins_that_are_none(mixed: DropWork) -> None:
    tables = read_tables(mixed.folder.predictions)
    results = {
        result.name: result for result in read_checks(mixed.folder.checks, {"predictions": tables.digest})
    }
    assert [results[name].passed for name in PRECISION_CHECKS] == [True] * 3
    manifest = mixed.index.manifest
    sample = sample_chunks(mixed.index, 64)
    assert len(sample.rows) == manifest.rows
    rows = rows_of(mixed)
    figures = compare(mixed, sample, rows, rows).figures
    assert figures["sequences"] == manifest.rows + manifest.rows_with_protein
    assert figures["min_cosine"] == pytest.approx(1.0, abs=1e-12)
    split = manifest.rows_with_protein
    other = rows.copy()
    other[split:, :WIDTH] = -rows[split:, :WIDTH]
    assert compare(mixed, sample, other, rows).min_cosine == pytest.approx(-1.0, abs=1e-12)
    # Labels of the joint classifier would differ here, but these are not for it.
    other[split:, :WIDTH] = 10 * np.random.default_rng(1).standard_normal((len(rows) - split, WIDTH))
    shares = {}
    for name, columns in (("classifier_300", slice(None)), ("classifier_300_dna", slice(WIDTH))):
        classifier, _ = load_classifier(MODELS_FOLDER / name)
        before, after = (classifier.scores(of[:, columns]) for of in (rows, other))
        shares[name] = ((before[:, 1] > before[:, 0]) == (after[:, 1] > after[:, 0])).mean()
    assert shares["classifier_300"] < shares["classifier_300_dna"]
    found = compare(mixed, sample, other, rows).candidate_agreement
    assert found == pytest.approx(shares["classifier_300_dna"])


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        (
            None,
            "setting score_reads_without_open_frame: found reads without an open frame to score, but no classifier in",
        ),
        ("protein", "found a classifier that uses protein; expected one that uses dna only"),
    ],
)
def test_without_a_classifier_of_the_dna_nothing_is_embedded(
    tmp_path: Path, without_dna: Path, card: str | None, complaint: str
) -> None:
    if card:
        shutil.copytree(MODELS_FOLDER / "classifier_300_dna", without_dna / "classifier_300_dna")
        change_json(without_dna / "classifier_300_dna" / "card.json", inputs=card)
    settings = settings_in(tmp_path, classifiers=without_dna)
    register_reads("d", [ReadFile(write_reads(tmp_path / "mixed.fa", mixed_reads()))], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    with open_pool(settings) as pool, pool.lease() as lease, pytest.raises(InputError, match=complaint):
        list(embed_drop(work, {"dnabert_s": [0]}, lease))
    assert not list(work.folder.path.rglob("part-*"))


def test_what_an_index_holds_is_scored_so_also_after_the_switch_was_turned(
    mixed: DropWork, without_dna: Path
) -> None:
    before = table(mixed, "predictions/predictions.parquet")
    off = under(mixed, score_reads_without_open_frame=False)
    predict_drop(off)
    assert table(off, "predictions/predictions.parquet") == before
    with pytest.raises(InputError, match=r"Train one .* and materialise sequence_index again"):
        predict_drop(under(mixed, score_reads_without_open_frame=False, classifiers=without_dna))
    lines: list[str] = []
    again = index_drop(DropWork.on("d", off.settings, lines.append))
    assert lines[0].startswith("the index was made from something else (frameless kept is now None)")
    assert (again.reasons["no_stop_free_frame"], again.whole_chunks) == (5, None)


@pytest.mark.slow
def test_a_drop_without_frameless_reads_keeps_every_result_when_the_switch_is_turned(tmp_path: Path) -> None:
    framed = {f"r{number}": coding_bases(70, number) for number in range(4)}
    settings = settings_in(tmp_path, score_reads_without_open_frame=False)
    register_reads("d", [ReadFile(write_reads(tmp_path / "framed.fa", framed))], settings)
    run_drop("d", settings, [].append)
    work = DropWork.on("d", settings, [].append)
    before, manifest = read_tables(work.folder.calls), work.index.manifest
    on = settings.model_copy(update={"score_reads_without_open_frame": True})
    run_drop("d", on, [].append)
    work = DropWork.on("d", on, [].append)
    assert work.index.manifest.frameless == "kept"
    assert work.index.manifest.digest == manifest.digest
    assert read_tables(work.folder.calls).model_dump() == before.model_dump()
    assert gather_report(work).routes == {}


@pytest.mark.slow
def test_a_drop_of_frameless_reads_alone_is_scored_by_the_dna_alone(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, ranks=3)
    reads = {f"r{number}": frameless_bases(150, number) for number in range(5)}
    register_reads("d", [ReadFile(write_reads(tmp_path / "reads.fa", reads))], settings)
    run_drop("d", settings, [].append)
    work = DropWork.on("d", settings, [].append)
    rows = np.concatenate([embeddings for _, embeddings in merged_blocks(work.folder.path)])
    assert rows.shape[0] == 5
    assert not rows[:, WIDTH:].any()
    found = table(work, "calls/read_calls.parquet")
    assert found["route"] == ["dna"] * 5
    assert None not in found["call"]


def test_the_classifier_for_them_is_listed_among_those_in_use(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert any(
        line.startswith("classifier for reads without an open frame, chunks of 300")
        for line in installed_lines(settings)
    )
    both = settings.model_copy(update={"dna_only_below_bases": 300})
    assert any(
        "classifier for reads below 300 and reads without an open frame" in line
        for line in installed_lines(both)
    )
