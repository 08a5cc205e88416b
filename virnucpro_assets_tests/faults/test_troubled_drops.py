"""What sequences that cannot be embedded come to in a whole drop: named, not scored, and all others as ever."""

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from virnucpro_assets.demo.paths import DNABERT_S_FOLDER, MODELS_FOLDER
from virnucpro_assets.errors import counted
from virnucpro_assets.inference.devices import find_devices
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.models.cards import SEAL
from virnucpro_assets.models.folders import WEIGHTS_FILE, read_model_folder
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.pipeline.run import export_results, run_drop
from virnucpro_assets.sequences.index import SequenceIndex, first_members, member_name
from virnucpro_assets.sequences.ragged import Tokens
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import EncoderKind, QuarantineReason
from virnucpro_assets_tests.faults.drops import KEY, RANKS, DropPlace
from virnucpro_assets_tests.faults.faulty_device_process import Faults

pytestmark = pytest.mark.timeout(300)

Lost = dict[int, tuple[EncoderKind, QuarantineReason]]
"""The rows that cannot be embedded, each with the encoder and why."""


@dataclass(frozen=True)
class Untroubled:
    """The drop as an undisturbed run does it, and its index."""

    place: DropPlace
    index: SequenceIndex

    @cached_property
    def members(self) -> list[tuple[str, int, str]]:
        """The read, the row and the name of each candidate, in the order of the input."""
        (members,), (reads,) = self.index.member_batches(), self.index.read_batches()
        columns = (column.tolist() for column in (members.read, members.row, members.chunk, members.frame))
        return [
            (reads.names[read], row, member_name(reads.names[read], chunk, frame))
            for read, row, chunk, frame in zip(*columns, strict=True)
        ]

    def rows_of_reads(self) -> dict[str, set[int]]:
        """The rows of the candidates of each read."""
        rows: dict[str, set[int]] = {}
        for read, row, _ in self.members:
            rows.setdefault(read, set()).add(row)
        return rows

    def only_candidates(self) -> list[int]:
        """Rows that are all that some read has, ascending."""
        return sorted(row for (row, *more) in self.rows_of_reads().values() if not more)

    def protein(self, row: int) -> str:
        return bytes(self.index.rows(row, row + 1).proteins[0]).decode()


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory) -> Untroubled:
    place = DropPlace(tmp_path_factory.mktemp("untroubled"))
    code, said = place.run()
    assert code == 0, said
    return Untroubled(place, SequenceIndex.open(place.drop.index))


def dna_tokens(index: SequenceIndex) -> Tokens:
    """The tokens of every row for DNABERT-S."""
    return load_encoder(DNABERT_S_FOLDER).tokenise(index.rows(0, index.manifest.rows).nucleotides)


def rare_token(untroubled: Untroubled) -> tuple[int, list[int]]:
    """A DNA token that as few rows as possible have, all that some read has among them; and those rows."""
    index, alone, tokens = untroubled.index, set(untroubled.only_candidates()), dna_tokens(untroubled.index)
    rows_of: dict[int, set[int]] = {}
    for row in range(index.manifest.rows):
        for token in tokens.take(np.array([row])).data.tolist():
            rows_of.setdefault(token, set()).add(row)
    fitting = [(len(rows), token) for token, rows in rows_of.items() if rows & alone]
    return min(fitting)[1], sorted(rows_of[min(fitting)[1]])


def poisoned_models(folder: Path, token: int | None) -> dict[str, Any]:
    """The demo models with NaN in DNABERT-S for one token or all; the settings that name them."""
    models = shutil.copytree(MODELS_FOLDER, folder)
    weights = load_file(models / "dnabert_s" / WEIGHTS_FILE)
    (name,) = [name for name in weights if name.endswith("word_embeddings.weight")]
    weights[name][slice(None) if token is None else token] = np.nan
    save_file(weights, models / "dnabert_s" / WEIGHTS_FILE)
    card = models / "classifier_300" / "card.json"
    about = json.loads(card.read_text())
    about["encoders"]["dnabert_s"] = read_model_folder(models / "dnabert_s").digest
    del about[SEAL]
    card.write_text(json.dumps(about))
    return {"classifiers": models, "dnabert_s": models / "dnabert_s", "esm2": models / "esm2"}


def assert_drop(place: DropPlace, untroubled: Untroubled, lost: Lost) -> None:
    """The drop lacks the scores of the lost rows, names them, and all else is as it would be."""
    table = (place.folder / "out" / "quarantine.tsv").read_text().splitlines()
    header, *lines = (line.split("\t") for line in table)
    assert header == ["encoder", "rank", "row", "reason", "members", "first_member"]
    names = {row: [name for _, other, name in untroubled.members if other == row] for row in lost}
    assert sorted(lines) == sorted(
        [kind, str(row % RANKS), str(row), reason, str(len(names[row])), names[row][0]]
        for row, (kind, reason) in lost.items()
    )
    report = (place.folder / "out" / "report.html").read_text()
    assert all(names[row][0] in report for row in lost)
    assert_predictions(place, untroubled, lost)
    assert_calls(place, untroubled, lost)


def assert_predictions(place: DropPlace, untroubled: Untroubled, lost: Lost) -> None:
    """One line a candidate, without those of the lost rows, with the scores that they always have."""
    found, expected = (
        [line.split("\t") for line in other.tables()["prediction_results.txt"].decode().splitlines()[1:]]
        for other in (place, untroubled.place)
    )
    rows = [row for _, row, _ in untroubled.members]
    kept = [line for line, row in zip(expected, rows, strict=True) if row not in lost]
    assert [line[:2] for line in found] == [line[:2] for line in kept]
    scores, expected_scores = (np.array([line[2:] for line in lines], float) for lines in (found, kept))
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-6)


def assert_calls(place: DropPlace, untroubled: Untroubled, lost: Lost) -> None:
    """Reads that lost every candidate are not scored, those that lost none have the call of an undisturbed run."""
    calls, expected = (
        {row["name"]: row for row in pq.read_table(other.drop.calls / "read_calls.parquet").to_pylist()}
        for other in (place, untroubled.place)
    )
    rows_of = untroubled.rows_of_reads()
    silent = {name for name, rows in rows_of.items() if rows <= lost.keys()}
    assert {name for name, row in calls.items() if row["reason"] == "not_scored"} == silent != set()
    assert {name for name, row in calls.items() if row["call"]} == rows_of.keys() - silent
    assert calls.keys() == expected.keys()
    for name, row in expected.items():
        if not rows_of.get(name, set()) & lost.keys():
            # A q-value is a mean over all reads that are at least as sure, so it differs where others have no score.
            assert_close(*({**of, "q_value": None} for of in (calls[name], row)))


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal but for the last digits of scores."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, abs=1e-6), name
        else:
            assert found[name] == value, name


@pytest.mark.slow
def test_a_sequence_that_gives_nan_fails_the_run_or_is_not_scored_as_the_policy_says(
    tmp_path: Path, untroubled: Untroubled
) -> None:
    token, rows = rare_token(untroubled)
    models, place = poisoned_models(tmp_path / "models", token), DropPlace(tmp_path / "place")
    assert 0 < len(rows) < untroubled.index.manifest.rows

    code, said = place.run(**models)
    assert code == 1
    names = first_members(untroubled.index, rows)
    for rank in {row % RANKS for row in rows}:
        first, *more = (row for row in rows if row % RANKS == rank)
        assert (
            f"rank {rank}: {counted(1 + len(more), 'sequence')} cannot be embedded; the first is {names[first]}, row "
            f"{first} of the index: not_finite"
        ) in said[-1]
    assert not place.drop.predictions.exists()

    code, said = place.run(**models, quarantine="not_scored")
    assert code == 0, said
    assert_drop(place, untroubled, dict.fromkeys(rows, ("dnabert_s", "not_finite")))


@pytest.mark.slow
def test_weights_that_give_nan_score_no_read(tmp_path: Path, untroubled: Untroubled) -> None:
    models, place = poisoned_models(tmp_path / "models", None), DropPlace(tmp_path / "place")
    code, said = place.run(**models, quarantine="not_scored")
    assert code == 0, said
    rows = range(untroubled.index.manifest.rows)
    assert_calls(place, untroubled, dict.fromkeys(rows, ("dnabert_s", "not_finite")))
    assert place.tables()["prediction_results.txt"].splitlines() == [
        b"Sequence_ID\tPrediction\tscore1\tscore2"
    ]
    assert place.tables()["hits.fasta"] == b""
    table = (place.folder / "out" / "quarantine.tsv").read_text().splitlines()
    assert sorted(int(line.split("\t")[2]) for line in table[1:]) == list(rows)


@pytest.mark.slow
def test_sequences_that_kill_their_process_or_do_not_fit_are_not_scored(
    tmp_path: Path, untroubled: Untroubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = dna_tokens(untroubled.index).lengths
    memory = int(lengths.max()) - 1
    too_large = np.flatnonzero(lengths > memory).tolist()
    fatal = next(row for row in reversed(untroubled.only_candidates()) if row not in too_large)
    lost: Lost = {
        **dict.fromkeys(too_large, ("dnabert_s", "out_of_memory")),
        fatal: ("esm2", "kills_process"),
    }
    faults = Faults(crashing=[untroubled.protein(fatal)], memory_tokens=memory)

    def open_faulty_pool(settings: Settings) -> DevicePool:
        options = PoolOptions(settings.device_locks, program=faults.program)
        return DevicePool(find_devices(settings.devices), options)

    monkeypatch.setattr("virnucpro_assets.pipeline.run.open_pool", open_faulty_pool)
    place = DropPlace(tmp_path / "place")
    for name, value in place.environment(quarantine="not_scored").items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    register_reads(KEY, [ReadFile(place.reads)], settings)
    export_results(run_drop(KEY, settings, [].append), place.folder / "out")
    assert_drop(place, untroubled, lost)
