"""Which drops wait too long for their predictions, and since when they wait."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from virnucpro_assets.drops.stage_records import StageRecord
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.intake.open_deliveries import record_scan
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.maintenance.cleanup import clean_up
from virnucpro_assets.maintenance.overdue import overdue_drops
from virnucpro_assets.reports.drop_state import missing_drops
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.drops import DropManifest
from virnucpro_assets.storage.tables import TablesManifest
from virnucpro_assets_tests.arriving import Arrivals

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def listed(root: Path, drop: str, when: datetime | None, **changes: float) -> tuple[Settings, DropFolder]:
    """A drop whose files were first listed at a time; its own files say that they are of the future."""
    settings = Settings(data_root=root / "data", **changes)
    reads = root / f"{drop}.fa"
    reads.write_text(">a\nATGGCTGCA\n")
    register_reads(drop, [ReadFile(reads)], settings)
    manifest = list_drop(drop, settings)
    folder = DropFolder(settings.data_root / drop / manifest.generation)
    write_manifest(folder.manifest, manifest.model_copy(update={"listed_at": when}))
    return settings, folder


def test_a_drop_is_overdue_after_the_hours_of_the_settings(tmp_path: Path) -> None:
    settings, _ = listed(tmp_path, "d", hours_ago(36.5))
    listed(tmp_path, "young", hours_ago(35.5))

    assert overdue_drops(settings, NOW) == {"d": pytest.approx(36.5)}
    assert overdue_drops(settings.model_copy(update={"overdue_hours": 40}), NOW) == {}
    assert overdue_drops(settings.model_copy(update={"overdue_hours": 0}), NOW) == {}


def test_a_drop_with_predictions_is_never_overdue_however_old(tmp_path: Path) -> None:
    settings, folder = listed(tmp_path, "d", hours_ago(10_000))
    write_manifest(folder.predictions / "manifest.toml", TablesManifest(inputs={}))

    assert overdue_drops(settings, NOW) == {}


def test_listing_the_same_files_again_does_not_set_the_clock_back(tmp_path: Path) -> None:
    settings, folder = listed(tmp_path, "d", hours_ago(50))

    list_drop("d", settings)

    assert read_manifest(folder.manifest, DropManifest).listed_at == hours_ago(50)
    assert list(overdue_drops(settings, NOW)) == ["d"]


def test_changed_files_begin_to_wait_anew(tmp_path: Path) -> None:
    settings, former = listed(tmp_path, "d", hours_ago(50))
    (tmp_path / "d.fa").write_text(">a\nATGGCTGCATTT\n")

    manifest = list_drop("d", settings)

    assert manifest.generation != former.path.name
    assert manifest.listed_at is not None
    assert overdue_drops(settings, manifest.listed_at + timedelta(hours=35)) == {}


def test_where_no_record_says_a_time_the_time_of_the_file_counts(tmp_path: Path) -> None:
    settings, folder = listed(tmp_path, "old", None)
    os.utime(folder.manifest, (0, hours_ago(37).timestamp()))
    register_reads("registered", [ReadFile(tmp_path / "old.fa")], settings)
    source = settings.data_root / "registered" / "source.toml"
    os.utime(source, (0, hours_ago(38).timestamp()))

    assert overdue_drops(settings, NOW) == {"old": pytest.approx(37), "registered": pytest.approx(38)}


def test_a_delivery_that_nobody_took_is_overdue_too(tmp_path: Path) -> None:
    arrivals = Arrivals.under(tmp_path)
    arrivals.write("d/reads.fa")
    found = arrivals.wait()
    assert [one.state for one in found.deliveries] == ["ready"]
    record_scan(found, arrivals.settings, arrivals.now)

    then = datetime.fromtimestamp(arrivals.now, UTC)
    assert overdue_drops(arrivals.settings, then + timedelta(hours=35)) == {}
    assert overdue_drops(arrivals.settings, then + timedelta(hours=37)) == {"d": pytest.approx(37)}


def test_a_drop_whose_data_are_cleaned_up_is_neither_overdue_nor_missing_nor_a_new_delivery(
    tmp_path: Path,
) -> None:
    arrivals = Arrivals.under(tmp_path)
    arrivals.write("d/reads.fa")
    arrivals.take(arrivals.wait())
    assert arrivals.states() == {"d/": "known"}
    folder = arrivals.store.current("d")[1]
    ended = StageRecord(name="calls", seconds=1, ended_at=hours_ago(24 * 100))
    write_manifest(folder.stages / "calls.toml", ended)
    write_manifest(folder.calls / "manifest.toml", TablesManifest(inputs={}, counts={"reads": 1}))
    settings = arrivals.settings.model_copy(update={"keep_drops_days": 90})
    assert list(missing_drops(settings, {})) == ["d"]

    outcome = clean_up(settings, delete=True, now=NOW)

    assert [found.kind for found in outcome.candidates] == ["data"]
    assert not folder.calls.exists()
    assert overdue_drops(settings, NOW) == {}
    assert missing_drops(settings, {}) == {}
    assert arrivals.states() == {"d/": "known"}
