"""Drops whose token budgets are measured: once for a data root, and then as frozen as a number."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.errors import DamagedFileError, InputError, IntegrityError
from virnucpro_assets.files.locks import FileLock
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.pipeline import budgets
from virnucpro_assets.pipeline.arrivals import list_drop, register_reads
from virnucpro_assets.pipeline.budget_pages import show_budgets
from virnucpro_assets.pipeline.budgets import ensure_budget, measure_budget, measured_budget, token_budget
from virnucpro_assets.pipeline.devices import open_pool
from virnucpro_assets.pipeline.embeddings import embed_drop, index_drop
from virnucpro_assets.pipeline.recipes import EncoderChoices, make_recipe
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.pipeline.work import DropWork
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings, load_settings
from virnucpro_assets.storage.drops import DropFolder
from virnucpro_assets.storage.merged import read_merged, read_merged_at
from virnucpro_assets.storage.prediction_tables import PREDICTION_RESULTS_FILE
from virnucpro_assets.storage.recipe import Recipe
from virnucpro_assets.storage.token_budgets import MeasuredBudget, SizeRate, write_budget
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.passed_checks import pass_checks_of_index

PROGRAM = """
import sys
from virnucpro_assets.pipeline import budgets
from virnucpro_assets.pipeline.devices import open_pool
from virnucpro_assets.pipeline.recipes import EncoderChoices
from virnucpro_assets.settings import load_settings

budgets.SECONDS, settings = 0.2, load_settings()
with open_pool(settings) as pool, pool.lease() as lease:
    encoder = EncoderChoices(settings)["esm2"]
    print(budgets.measure_budget(settings, encoder, lease, lambda line: print(line, file=sys.stderr)).model_dump_json())
"""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measure of a fraction of a second."""
    monkeypatch.setattr(budgets, "SECONDS", 0.2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that want measured budgets, in a data root of the test's own."""
    return Settings.model_validate(
        {"data_root": tmp_path / "data", "devices": "cpu:1", "token_budget": "measured", "check_sample": 4}
    )


@pytest.fixture
def stored(settings: Settings) -> Path:
    """The record of a measured budget of 2,048 tokens for ESM-2."""
    subject = budgets.budget_subject(settings, EncoderChoices(settings)["esm2"])
    path = settings.budgets_folder / subject.file_name
    record = MeasuredBudget(
        subject=subject,
        token_budget=2048,
        device="a test",
        measured_at="2020-01-01T00:00:00+00:00",
        chunk_length=300,
        seconds=1.0,
        sizes=[SizeRate(tokens=2048, tokens_per_second=5.0), SizeRate(tokens=4096)],
    )
    write_budget(path, record)
    return path


def indexed(settings: Settings, reads: Path, report: list[str]) -> DropWork:
    register_reads("d", [ReadFile(reads)], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, report.append)
    index_drop(work)
    pass_checks_of_index(work)
    return work


def labels(folder: DropFolder) -> list[list[str]]:
    """Name and label of every candidate."""
    lines = (folder.predictions / PREDICTION_RESULTS_FILE).read_text().splitlines()
    return [line.split("\t")[:2] for line in lines]


@pytest.mark.slow
def test_a_number_makes_the_recipe_that_it_always_made(finished: DropWork) -> None:
    for kind in ENCODER_KINDS:
        index, encoder = finished.index.manifest, finished.encoders[kind]
        expected = Recipe(
            encoder=kind,
            index_digest=index.digest,
            weights_digest=encoder.digest,
            precision="float32",
            attention="dense-runs",
            token_budget=8192,
            packs_per_part=64,
            ranks=4,
        )
        assert make_recipe(finished.settings, index, encoder).digest == expected.digest
        assert read_merged(finished.folder.path).recipes[kind].digest == expected.digest
    assert not finished.settings.budgets_folder.exists()


def test_a_budget_is_a_number_or_the_word_for_a_measured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, fixed in [("65536", 65536), ("measured", None)]:
        monkeypatch.setenv("VIRNUCPRO_TOKEN_BUDGET", text)
        assert load_settings().fixed_budget == fixed
    for wrong in ("mesured", "1023", "-5", "8e3"):
        monkeypatch.setenv("VIRNUCPRO_TOKEN_BUDGET", wrong)
        with pytest.raises(
            InputError, match=f"found '{wrong}'; expected a number of at least 1024, or measured"
        ):
            load_settings()


@pytest.mark.slow
def test_a_drop_with_measured_budgets_has_the_results_of_one_with_a_number(
    settings: Settings, finished: DropWork, small_reads: Path
) -> None:
    own = settings.model_copy(update={"data_root": settings.data_root / "measured"})
    said: list[str] = []
    register_reads("d", [ReadFile(small_reads)], own)
    folder = run_drop("d", own, said.append)
    assert sum("measuring" in line for line in said) == len(ENCODER_KINDS)
    merged = read_merged(folder.path)
    for kind in ENCODER_KINDS:
        measured = measured_budget(own, EncoderChoices(own)[kind])
        assert measured is not None
        assert merged.recipes[kind].token_budget == measured.token_budget
        assert f"{kind}: packs of {measured.token_budget} tokens, {measured.note}" in said
    rows = np.arange(finished.index.manifest.rows)
    found, expected = read_merged_at(folder.path, rows), read_merged_at(finished.folder.path, rows)
    np.testing.assert_allclose(found, expected, atol=5e-6)
    assert labels(folder) == labels(finished.folder)

    again: list[str] = []
    run_drop("d", own, again.append)
    assert sum("measuring" in line for line in again) == 0


@pytest.mark.slow
def test_embeddings_go_on_with_the_budget_that_was_measured_before_they_stopped(
    settings: Settings, stored: Path, small_reads: Path
) -> None:
    said: list[str] = []
    work = indexed(settings.model_copy(update={"packs_per_part": 1}), small_reads, said)
    with open_pool(work.settings) as pool, pool.lease() as lease:
        first = next(iter(embed_drop(work, "esm2", range(4), lease)))
        rest = {shard.rank: shard for shard in embed_drop(work, "esm2", range(4), lease)}
    assert {shard.recipe.token_budget for shard in rest.values()} == {2048}
    assert rest[first.rank].reused_parts == len(first.parts)
    assert not [line for line in said if "measuring" in line]
    assert "esm2: packs of 2048 tokens, measured 2020-01-01T00:00:00+00:00 on a test; " in "\n".join(said)
    assert "2048: 5, 4096: does not fit" in "\n".join(said)


@pytest.mark.slow
def test_a_damaged_budget_is_refused_and_measured_anew_on_request(settings: Settings, stored: Path) -> None:
    encoder = EncoderChoices(settings)["esm2"]
    assert token_budget(settings, encoder) == 2048
    stored.write_text(stored.read_text().replace("token_budget = 2048", "token_budget = 4096"))
    with pytest.raises(DamagedFileError, match=r"virnucpro models budgets --again` measures anew"):
        token_budget(settings, encoder)
    with open_pool(settings) as pool, pool.lease() as lease:
        with pytest.raises(DamagedFileError, match="does not match the SHA-256"):
            ensure_budget(settings, encoder, lease, [].append)
        new = measure_budget(settings, encoder, lease, [].append, again=True)
    assert measured_budget(settings, encoder) == new
    assert new.device != "a test"


def test_what_was_not_measured_is_no_recipe(settings: Settings, small_reads: Path) -> None:
    work = indexed(settings, small_reads, [])
    with pytest.raises(
        IntegrityError, match=r"found no file; expected the token budget .* for esm2 in float32"
    ):
        make_recipe(settings, work.index.manifest, work.encoders["esm2"])


def test_the_table_of_budgets_is_measured_once_and_names_the_number_in_use(
    settings: Settings, stored: Path
) -> None:
    said: list[str] = []
    show_budgets(settings.model_copy(update={"token_budget": 4096}), said.append)
    assert [line for line in said if "measuring" in line] == [
        "dnabert_s: measuring how many tokens a pack should have, about 0 seconds at most"
    ]
    start = said.index("measured 2020-01-01T00:00:00+00:00 on a test in 1.0 s, frames of chunks of 300 bases")
    assert said[start - 1].endswith("in float32 (dense-runs): packs of 2048 tokens")
    assert said[start + 1 : start + 4] == [
        "tokens  tokens a second  MiB at most",
        "2048    5                0",
        "4096    does not fit     0",
    ]
    assert said[start + 4] == (
        "esm2 uses 4096, the number of the settings; VIRNUCPRO_TOKEN_BUDGET=measured uses 2048"
    )
    again: list[str] = []
    show_budgets(settings, again.append)
    assert not [line for line in again if "measuring" in line]
    assert not [line for line in again if "the number of the settings" in line]


def test_another_precision_has_a_budget_of_its_own(settings: Settings, stored: Path) -> None:
    encoder = EncoderChoices(settings)["esm2"]
    assert measured_budget(settings, encoder) is not None
    assert measured_budget(settings, encoder.in_precision("bfloat16")) is None


@pytest.mark.slow
def test_two_runs_at_once_measure_once_and_agree(settings: Settings) -> None:
    environment = {
        "VIRNUCPRO_DATA_ROOT": str(settings.data_root),
        "VIRNUCPRO_LOCKS_FOLDER": str(settings.locks_folder),
        "VIRNUCPRO_DEVICES": "cpu:1",
        "VIRNUCPRO_TOKEN_BUDGET": "measured",
    }
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ended
    first, second = (MeasuredBudget.model_validate_json(printed) for printed, _ in ended)
    assert first == second == measured_budget(settings, EncoderChoices(settings)["esm2"])
    assert sum("measuring" in errors for _, errors in ended) == 1


def test_who_waits_for_a_measure_gives_its_devices_back_first(settings: Settings, stored: Path) -> None:
    encoder, heard = EncoderChoices(settings)["esm2"], list[str]()
    lock = FileLock(stored.with_suffix(".lock"), "another")
    assert lock.try_acquire() is None

    class Rested(Lease):
        def rest(self) -> None:
            heard.append("rested")
            lock.release()

    with open_pool(settings) as pool, pool.lease() as lease:
        waiting = Rested(pool, lease.devices)
        assert measure_budget(settings, encoder, waiting, heard.append).token_budget == 2048
    assert heard[0] == "rested"
    assert heard[1].startswith("waiting for ")
