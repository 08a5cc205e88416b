"""The original's way from embeddings to predictions, restated to be measured against, gives our predictions."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import back
from virnucpro_assets.storage.prediction_tables import PREDICTION_RESULTS_FILE


def test_both_ways_write_the_same_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back, "ROWS_OF_FILE", 30)
    monkeypatch.setattr(back, "ROWS_OF_PART", 8)
    monkeypatch.setattr(back, "WIDTHS", {"dnabert_s": 6, "esm2": 10})
    back.lay_out(tmp_path, 70)
    ours, original = back.with_our_way(tmp_path, 70), back.with_the_original_way(tmp_path, 70)
    np.testing.assert_allclose(ours, original, atol=1e-6)
    assert ours.std() > 0.001
    found, expected = (
        [line.split("\t") for line in (tmp_path / name).read_text().splitlines()]
        for name in (PREDICTION_RESULTS_FILE, f"original_{PREDICTION_RESULTS_FILE}")
    )
    assert found[0] == expected[0]
    assert [line[:2] for line in found] == [line[:2] for line in expected]
    np.testing.assert_allclose(np.array([line[2:] for line in found[1:]], np.float32), ours, rtol=0, atol=0)
