"""What was made before from something else is refused or left out, never shown as if it were of today."""

import pytest

from virnucpro_assets.checks.results import (
    CheckResult,
    completeness,
    every_read_accounted_for,
    finite_values,
    record_check,
)
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.pipeline.precision_checks import check_precision
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import ENCODER_KINDS
from virnucpro_assets_tests.passed_checks import pass_checks_of_predictions

READS = ">one\nATGGCTGCAGGTCTGAAAGTTCGTGAC\n>two\nATGGCTGCAGGTCTGAAAGTTCGTGAA\n"


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> DropWork:
    """A small drop up to its calls, with one check of each kind that needs no device."""
    folder = tmp_path_factory.mktemp("called")
    (folder / "reads.fa").write_text(READS)
    settings = Settings(data_root=folder / "data", ranks=1, devices="cpu:1")
    register_reads("d", [ReadFile(folder / "reads.fa")], settings)
    list_drop("d", settings)
    work = DropWork.on("d", settings, [].append)
    index_drop(work)
    record_check(work.folder.checks, every_read_accounted_for(work))
    with open_pool(settings) as pool, pool.lease() as lease:
        for shard in embed_drop(work, dict.fromkeys(ENCODER_KINDS, range(1)), lease):
            record_check(work.folder.checks, finite_values(f"{shard.recipe.encoder}_embeddings", shard))
    merge_drop(work)
    record_check(work.folder.checks, completeness(work))
    predict_drop(work)
    pass_checks_of_predictions(work)
    call_drop(work)
    return work


def under(work: DropWork, **changes: object) -> DropWork:
    """The same drop under other settings."""
    return DropWork.on("d", work.settings.model_copy(update=changes), [].append)


def test_embeddings_of_other_settings_are_neither_scored_nor_checked(called: DropWork) -> None:
    now = under(called, precision="bfloat16")
    with pytest.raises(
        IntegrityError, match=r"merged\.toml: found embeddings.*precision float32 is now bfloat16"
    ):
        predict_drop(now)
    with pytest.raises(IntegrityError, match="precision float32 is now bfloat16"):
        list(check_precision(now))


def test_a_report_shows_the_settings_that_the_calls_were_made_under(called: DropWork) -> None:
    report = gather_report(under(called, precision="bfloat16", token_budget=4096))
    assert report.settings["precision"] == "float32"
    assert report.settings["token budget of a pack"] == 8192


def test_a_report_leaves_out_checks_of_former_results(called: DropWork) -> None:
    expected = [
        ("dnabert_s_embeddings", "finite_values"),
        ("esm2_embeddings", "finite_values"),
        ("merged_embeddings", "completeness"),
        ("predictions", "packed_matches_one_at_a_time"),
        ("predictions", "precision_in_use_matches_float32"),
        ("sequence_index", "every_read_accounted_for"),
    ]
    assert [(check.asset, check.name) for check in gather_report(called).checks] == expected
    for rank, asset in ((7, "esm2_embeddings"), (None, "predictions")):
        former = CheckResult(
            asset=asset, name="former", passed=False, threshold="", rank=rank, subject="f" * 64
        )
        record_check(called.folder.checks, former)
    assert [(check.asset, check.name) for check in gather_report(called).checks] == expected


def test_hits_are_not_written_from_files_that_changed(called: DropWork) -> None:
    (file,) = called.drop.read_files
    file.path.write_text(READS.replace("one", "xyz"))
    try:
        with pytest.raises(IntegrityError, match=r"reads\.fa: found SHA-256"):
            call_drop(called)
    finally:
        file.path.write_text(READS)


def test_calls_of_a_former_index_are_not_reported(called: DropWork) -> None:
    work = under(called, ranks=2)
    index_drop(work)
    with pytest.raises(IntegrityError, match=f"found calls of index {called.index.manifest.digest}"):
        gather_report(work)
    index_drop(called)
