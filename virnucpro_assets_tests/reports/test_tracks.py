"""Tracks of contigs, from tables of calls and regions."""

from pathlib import Path

import numpy as np
import pytest

from virnucpro_assets.calling.region_tables import REGIONS_FILE, write_regions
from virnucpro_assets.reports import tracks
from virnucpro_assets.reports.tracks import Track, strongest_tracks
from virnucpro_assets.settings_groups import RegionRules
from virnucpro_assets.storage.call_tables import CHUNK_CALLS_FILE, READ_CALLS_FILE
from virnucpro_assets_tests.calling.test_region_tables import write_tables

RULES = RegionRules(smoothing_chunks=3, min_region_chunks=2, max_unscored_bases=300)
READS = {
    "short": (200, {1: 0.9}),
    "prophage": (2400, {1: 0.25, 2: 0.25, 3: 0.75, 4: 1.0, 6: 0.75, 7: 0.0, 8: 0.0}),
    "bacterium": (1200, {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}),
    "phage": (1800, {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.0, 6: 1.0}),
}


def tracks_of(folder: Path, reads: dict[str, tuple[int, dict[int, float]]], count: int = 6) -> list[Track]:
    write_tables(folder, reads)
    chunk_calls = folder / CHUNK_CALLS_FILE
    write_regions(folder / READ_CALLS_FILE, chunk_calls, folder, chunk_length=300, rules=RULES)
    return strongest_tracks(
        folder / REGIONS_FILE, chunk_calls, chunk_length=300, smoothing_chunks=3, count=count
    )


def test_the_strongest_contigs_come_with_the_scores_of_their_chunks_and_their_regions(tmp_path: Path) -> None:
    phage, prophage = tracks_of(tmp_path, READS)
    assert (phage.name, phage.length, phage.regions) == ("phage", 1800, [(0, 1800)])
    assert prophage.name == "prophage"
    assert prophage.positions == [150, 450, 750, 1050, 1650, 1950, 2250]
    assert prophage.deltas == [-0.5, -0.5, 0.5, 1, 0.5, -1, -1]
    assert prophage.smoothed == pytest.approx([-0.5, -1 / 6, 1 / 3, 2 / 3, 1 / 6, -0.5, -1], abs=1e-4)
    # Chunk 5 has no score and is as long as a region may hold.
    assert prophage.regions == [(600, 1800)]
    assert [track.name for track in tracks_of(tmp_path, READS, count=1)] == ["phage"]


def test_without_a_region_there_is_no_track(tmp_path: Path) -> None:
    assert tracks_of(tmp_path, {"short": (200, {1: 0.9})}) == []
    assert tracks_of(tmp_path, {}) == []


def test_a_long_contig_is_drawn_by_the_means_of_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracks, "MOST_POINTS", 4)
    phage, _ = tracks_of(tmp_path, READS)
    assert phage.positions == [300, 900, 1500]
    assert phage.deltas == [1, 1, 1]
    values = np.arange(9, dtype=float)
    assert tracks._thinned(values) == [1, 4, 7]
