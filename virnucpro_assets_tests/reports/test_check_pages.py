"""The check report: what is on it of a whole drop, of one that failed, and of former results."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from virnucpro_assets.checks.results import (
    CheckError,
    CheckResult,
    not_finite,
    record_check,
    remedy,
    require_pass,
)
from virnucpro_assets.checks.rules import check_rules
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.files.manifests import read_manifest
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.reports.check_pages import (
    check_lines,
    gather_checks,
    write_check_report,
)
from virnucpro_assets.reports.check_report import CheckReport
from virnucpro_assets.reports.drop_lines import summary_lines
from virnucpro_assets.reports.drop_state import DropState, OnRecord, state_of, state_on_disk
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.shards import unfinish_shard

RANKED = [
    (f"{kind}_embeddings", name)
    for kind in ("dnabert_s", "esm2")
    for name in ("finite_values", "packing_efficiency")
]
PRECISION = ["precision_in_use_matches_float32", "float16_matches_float32", "packed_matches_one_at_a_time"]


def states(report: CheckReport) -> dict[tuple[str, str, int | None], str]:
    """The state of each check."""
    return {(check.asset, check.name, check.rank): check.state for check in report.checks}


def read_everything(work: DropWork) -> list[CheckResult]:
    """All results on record of a drop."""
    return [read_manifest(path, CheckResult) for path in sorted(work.folder.checks.glob("*.toml"))]


def test_a_finished_drop_shows_every_check_once_with_what_is_on_record(finished: DropWork) -> None:
    report = write_check_report(finished)

    expected = {
        ("sequence_index", "every_read_accounted_for", None),
        ("merged_embeddings", "completeness", None),
        *(("predictions", name, None) for name in PRECISION),
        *((asset, name, rank) for asset, name in RANKED for rank in range(4)),
    }
    assert states(report) == dict.fromkeys(expected, "passed")
    assert report.verdict == "passed"
    content = json.loads(finished.folder.check_data.read_text())
    assert content["format"] == 1
    assert content["verdict"] == "passed"
    assert content["counts"] == {"passed": 21, "failed": 0, "not run": 0}
    shown = {(c["asset"], c["name"], c["rank"]): (c["figures"], c["threshold"]) for c in content["checks"]}
    recorded = read_everything(finished)
    assert len(recorded) == len(expected)
    assert shown == {(r.asset, r.name, r.rank): (r.figures, r.threshold) for r in recorded}
    assert state_of(state_on_disk("d", finished.settings), OnRecord()) == DropState(
        "done", str(finished.folder.report), 0
    )


def test_the_page_says_the_reason_and_the_threshold_of_every_check(finished: DropWork) -> None:
    write_check_report(finished)

    page = finished.folder.check_page.read_text()
    for rule in check_rules(finished.settings):
        assert rule.reason in page
        assert rule.threshold in page
        assert rule.name.replace("_", " ") in page


def test_a_rank_with_nan_is_the_only_one_that_failed_and_is_named(finished: DropWork) -> None:
    unfinish_shard(finished.folder.shard("esm2", 2, 4))
    record_check(finished.folder.checks, not_finite("esm2_embeddings", 2, "row 6, r_chunk_1F1, holds NaN"))

    report = write_check_report(finished)

    failed = {key for key, state in states(report).items() if state == "failed"}
    assert failed == {("esm2_embeddings", "finite_values", 2)}
    assert states(report)["esm2_embeddings", "packing_efficiency", 2] == "not run"
    assert report.verdict == "failed"
    assert "row 6, r_chunk_1F1, holds NaN" in finished.folder.check_page.read_text()
    lines = list(check_lines(report))
    assert [line.split()[:4] for line in lines if line.startswith("FAILED")] == [
        ["FAILED", "finite_values", "esm2_embeddings", "2"]
    ]
    assert state_of(state_on_disk("d", finished.settings), OnRecord()) == DropState(
        "held back",
        "check finite_values of esm2_embeddings rank 2: row 6, r_chunk_1F1, holds NaN; needed no NaN and no Inf",
        5,
    )


def test_predictions_that_are_held_back_have_a_page_that_says_so(tmp_path: Path, small_reads: Path) -> None:
    settings = Settings(data_root=tmp_path, devices="cpu:1", check_sample=4, min_label_agreement=1.5)
    register_reads("d", [ReadFile(small_reads)], settings)
    with pytest.raises(CheckError):
        run_drop("d", settings, [].append)
    work = DropWork.on("d", settings, [].append)
    assert not work.folder.report.exists()

    report = write_check_report(work)

    found = states(report)
    assert [found["predictions", name, None] for name in PRECISION] == ["failed", "not run", "not run"]
    assert [check.name for check in report.held_back] == [PRECISION[0]]
    assert "The results of this drop are held back" in work.folder.check_page.read_text()


def test_a_failed_warning_holds_nothing_back(finished: DropWork) -> None:
    (warning,) = [r for r in read_everything(finished) if r.name == "packing_efficiency" and r.rank == 0][:1]
    record_check(finished.folder.checks, warning.model_copy(update={"passed": False}))

    report = gather_checks(finished)

    assert report.verdict == "warning"
    assert report.counts == {"passed": 20, "failed": 1, "not run": 0}
    assert state_of(state_on_disk("d", finished.settings), OnRecord()).state == "done"
    assert any(line.startswith("WARNING") for line in check_lines(report))


def test_a_drop_without_an_index_has_a_page_on_which_nothing_ran(tmp_path: Path) -> None:
    (tmp_path / "reads.txt").write_text("no reads\n")
    settings = Settings(data_root=tmp_path / "data", ranks=2)
    register_reads("d", [ReadFile(tmp_path / "reads.txt")], settings)
    list_drop("d", settings)

    report = write_check_report(DropWork.on("d", settings, [].append))

    assert set(states(report).values()) == {"not run"}
    assert len(report.checks) == 5 + 2 * 4
    assert report.verdict == "incomplete"


def test_a_result_of_something_made_before_does_not_count(finished: DropWork) -> None:
    (former,) = [r for r in read_everything(finished) if r.name == "completeness"]
    record_check(finished.folder.checks, former.model_copy(update={"subject": "0" * 64, "passed": False}))

    report = gather_checks(finished)

    (entry,) = [check for check in report.checks if check.name == "completeness"]
    assert (entry.state, entry.note, entry.figures) == (
        "not run",
        "the recorded result is of an earlier version of the content",
        {},
    )


PRECISE = {
    "compared": "stored rows, float16",
    "sequences": 7,
    "min_cosine": 0.99991,
    "cosine_1st_percentile": 1.0,
}
LABELS = {"candidate_label_agreement": 1.0, "chunk_label_agreement": 0.5}
FOUND: list[tuple[str, dict[str, int | float | str], str, str]] = [
    (
        PRECISION[0],
        {**PRECISE, "largest_difference": 0.002, **LABELS},
        "cosine at least 0.999, equal labels at least 0.98",
        "lowest cosine 0.99991, equal labels of candidates 1, equal labels of chunks 0.5; needed cosine at least "
        "0.999, equal labels at least 0.98",
    ),
    (
        PRECISION[2],
        {**PRECISE, "largest_difference": 2e-05, **LABELS},
        "cosine at least 0.999",
        "lowest cosine 0.99991, equal labels of candidates 1, equal labels of chunks 0.5, largest difference "
        "2e-05; needed cosine at least 0.999",
    ),
    (
        PRECISION[1],
        {"compared": "computed again, float16", "reason": "NaN or Inf in 3 embeddings of float16"},
        "finite values",
        "NaN or Inf in 3 embeddings of float16; needed finite values",
    ),
    (
        "finite_values",
        {"reason": "row 6, r_chunk_1F1, holds NaN"},
        "no NaN and no Inf",
        "row 6, r_chunk_1F1, holds NaN; needed no NaN and no Inf",
    ),
    (
        "finite_values",
        {"rows": 10, "values": 25600, "recomputed_in_float32": 0, "quarantined": 2},
        "no NaN and no Inf",
        "sequences in quarantine 2; needed no NaN and no Inf",
    ),
    (
        "packing_efficiency",
        {"efficiency": 0.8123, "tokens": 9},
        "at least 0.9",
        "efficiency 0.8123; needed at least 0.9",
    ),
    (
        "completeness",
        {"index_rows": 12000, "merged_rows": 11999, "parts": 4},
        "each row once",
        "index rows 12,000, merged rows 11,999, parts 4; needed each row once",
    ),
    (
        "every_read_accounted_for",
        {"reads": 3, "with_candidates": 1, "too_short": 1},
        "reads = reads with candidates + reads with a reason",
        "reads 3, with candidates 1, too short 1; needed reads = reads with candidates + reads with a reason",
    ),
]


@pytest.mark.parametrize(("name", "figures", "threshold", "said"), FOUND)
def test_a_failed_check_is_a_sentence_wherever_it_is_told(
    finished: DropWork, name: str, figures: dict[str, int | float | str], threshold: str, said: str
) -> None:
    (before, *_) = [result for result in read_everything(finished) if result.name == name]
    failed = before.model_copy(
        update={"passed": False, "blocking": True, "figures": figures, "threshold": threshold}
    )
    record_check(finished.folder.checks, failed)
    of = f"{name} of {failed.asset}" + ("" if failed.rank is None else f" rank {failed.rank}")

    with pytest.raises(CheckError) as error:
        require_pass("d", failed)
    assert str(error.value).startswith(
        f"check {of}: {said}. The results of drop d are held back. Look: `virnucpro checks d`; then: "
    )
    then = str(error.value).rpartition("; then: ")[2].rstrip(".")
    assert "{" not in str(error.value)
    assert f"check {of}: {said}; then: {then}" in list(summary_lines("d", finished.settings))
    assert any(
        line.startswith(f"{of}: {said}; then: {then}. ") for line in check_lines(gather_checks(finished))
    )


def test_every_check_has_something_to_do_about_it(finished: DropWork) -> None:
    for rule in check_rules(finished.settings):
        assert "virnucpro " in remedy(rule.name, "d") or rule.name == "packing_efficiency"
        assert "{" not in remedy(rule.name, "d")


def test_a_damaged_record_is_noted_and_the_page_is_made(finished: DropWork) -> None:
    path = finished.folder.checks / "merged_embeddings.completeness.toml"
    path.write_text(path.read_text().replace("completeness", "Completeness"))

    report = write_check_report(finished)

    assert states(report)["merged_embeddings", "completeness", None] == "not run"
    assert [str(path) in note for note in report.notes] == [True]
    assert report.counts == {"passed": 20, "failed": 0, "not run": 1}


def test_thresholds_of_the_settings_stand_on_the_page(finished: DropWork) -> None:
    changed = finished.settings.model_copy(update={"min_cosine": 0.875, "min_packing_efficiency": 0.625})

    rules = {rule.name: rule for rule in check_rules(changed)}

    assert rules["packing_efficiency"].threshold == "at least 0.625"
    assert "cosine at least 0.875" in rules["float16_matches_float32"].threshold
    work = replace(finished, settings=changed)
    (decided,) = {c.threshold for c in gather_checks(work).checks if c.name == "float16_matches_float32"}
    assert "cosine at least 0.999" in decided, "a result keeps the threshold that decided"


def test_the_documentation_has_every_check_with_its_settings_and_thresholds() -> None:
    settings = Settings()
    table = {
        line.split("`")[1]: line
        for line in (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text().splitlines()
        if line.startswith("| `")
    }
    thresholds = ("min_packing_efficiency", "min_cosine", "min_label_agreement", "max_packed_difference")
    for rule in check_rules(settings):
        line = table[rule.name]
        for name in set(rule.settings) & set(thresholds):
            place = line if "the same" not in line else "".join(table.values())
            assert f"`{name}`" in place, rule.name
            assert f"{getattr(settings, name):g}" in place, rule.name
