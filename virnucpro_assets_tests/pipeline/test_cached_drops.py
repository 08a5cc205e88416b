"""Whole drops with the embedding cache: what they record, what the checks compute, what stays refused."""

from pathlib import Path

import pytest

from virnucpro_assets.drops.stage_records import read_stages
from virnucpro_assets.drops.work import DropWork, fitting_merged
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

pytestmark = pytest.mark.slow


def test_a_second_drop_of_the_same_reads_says_what_it_took_from_the_cache(
    tmp_path: Path, small_reads: Path
) -> None:
    settings = Settings(
        data_root=tmp_path / "data", devices="cpu:1", check_sample=4, embedding_cache_gib=0.5, ranks=2
    )
    shares, results = [], []
    for key, ranks in (("monday", 2), ("tuesday", 2), ("other-ranks", 1)):
        now = settings.model_copy(update={"ranks": ranks})
        register_reads(key, [ReadFile(small_reads)], now)
        run_drop(key, now, [].append)
        work = DropWork.on(key, now, [].append)
        stages = read_stages(work.folder.stages)
        shares.append([stages[kind].figures["cached_share"] for kind in ("dnabert_s", "esm2")])
        results.append((work.folder.predictions / "prediction_results.txt").read_text())
        assert stages["precision_checks"].figures["sequences"] > 0
        assert "of them from the cache" in (work.folder.path / "report.html").read_text()
        assert '"cached_rows"' in work.folder.telemetry.read_text()
    assert shares[0][0] < 0.1
    assert shares[1:] == [[1.0, 1.0], [1.0, 1.0]]
    assert results[0] == results[1] == results[2]
    assert DropStore(settings.data_root).keys() == ["monday", "other-ranks", "tuesday"]

    without = DropWork.on("tuesday", settings.model_copy(update={"embedding_cache_gib": 0}), [].append)
    with pytest.raises(IntegrityError, match="cached True is now False"):
        fitting_merged(without)


def test_without_the_setting_nothing_speaks_of_a_cache(finished: DropWork) -> None:
    assert not finished.settings.cache_folder.exists()
    for path in finished.folder.path.rglob("*"):
        if path.suffix in {".toml", ".jsonl"}:
            assert "cached" not in path.read_text(), path
    assert "from the cache" not in (finished.folder.path / "report.html").read_text()
