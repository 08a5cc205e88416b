"""A row a pair of mates is written where it is wanted, and changes nothing else."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.run import export_results
from virnucpro_assets.reports.drop_lines import summary_lines
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.pair_calls import PAIR_CALLS_FILE
from virnucpro_assets_tests.results import TABLES


def settings_of(work: DropWork, **changes: object) -> Settings:
    return work.settings.model_copy(update=changes)


@pytest.fixture(params=["setting", "option"])
def with_pairs(request: pytest.FixtureRequest, finished: DropWork) -> DropWork:
    """A finished drop whose pairs are wanted by the setting or by the option of its command."""
    if request.param == "setting":
        return DropWork.on("d", settings_of(finished, per_pair=True), finished.report)
    register_reads("d", finished.drop.read_files, finished.settings, per_pair=True)
    list_drop("d", finished.settings)
    return DropWork.on("d", finished.settings, finished.report)


def test_the_table_of_pairs_is_one_of_the_results(with_pairs: DropWork, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in export_results(with_pairs.folder, tmp_path / "out")}
    assert list(before) == TABLES
    tables = call_drop(with_pairs)
    lines = (with_pairs.folder.calls / PAIR_CALLS_FILE).read_text().splitlines()
    calls = pq.read_table(with_pairs.folder.calls / "read_calls.parquet").to_pylist()
    assert tables.counts["pairs"] == len(calls) == len(lines) - 1
    assert {line.split("\t")[0]: line.split("\t")[2] for line in lines[1:]} == {
        row["name"]: row["call"] or "" for row in calls
    }
    pairs = with_pairs.folder.calls / PAIR_CALLS_FILE
    assert f"{len(calls)} pairs in {pairs}" in list(summary_lines("d", with_pairs.settings))
    after = {path.name: path.read_bytes() for path in export_results(with_pairs.folder, tmp_path / "out")}
    assert after.pop(PAIR_CALLS_FILE).decode().splitlines() == lines
    assert after == before


def test_a_table_of_pairs_that_is_no_longer_wanted_is_removed(with_pairs: DropWork, tmp_path: Path) -> None:
    former = call_drop(with_pairs)
    export_results(with_pairs.folder, tmp_path / "out")
    assert (tmp_path / "out" / PAIR_CALLS_FILE).exists()
    register_reads("d", with_pairs.drop.read_files, with_pairs.settings)
    list_drop("d", with_pairs.settings)
    without = DropWork.on("d", settings_of(with_pairs, per_pair=False), with_pairs.report)
    assert call_drop(without).digest != former.digest
    assert not (without.folder.calls / PAIR_CALLS_FILE).exists()
    names = [path.name for path in export_results(without.folder, tmp_path / "out")]
    assert names == TABLES
    assert not (tmp_path / "out" / PAIR_CALLS_FILE).exists()
